// npm run test:runtimes [-- --write] [NAME...]: packs, installs and runs blockscale in every runtime, or in those named.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BROWSERS, installDebian } from "../support/debian.mjs";
import { HERE, installPackages, ROOT, temporaryFolder } from "./workspace.mjs";

// Drivers import what is installed here.
await installPackages(HERE);
const { createRuntimeProject } = await import("./project.mjs");
const { checkPackage } = await import("./package.mjs");
const { processes } = await import("./drivers/processes.mjs");
const { workerd } = await import("./drivers/workerd.mjs");
const { vocabulary } = await import("./drivers/vocabulary.mjs");
const { edge } = await import("./drivers/edge.mjs");
const { browsers } = await import("./drivers/browsers.mjs");

const names = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const isWanted = ({ name }) => names.length === 0 || names.includes(name);

/** A driver that fails as a whole is a result too. */
async function attempt({ name, drive }, project) {
  const started = Date.now();
  const results = await drive(project).catch((error) => [
    { runtime: name, version: "", place: "", build: "", problems: [error.message] },
  ]);
  for (const result of results) {
    console.log(lineOf(result));
    for (const problem of result.problems) console.log(`      ${problem}`);
  }
  console.log(`      ${((Date.now() - started) / 1000).toFixed(1)} s`);
  return results;
}

function lineOf({ runtime, version, place, build, problems }) {
  const verdict = problems.length === 0 ? "ok  " : "FAIL";
  return `${verdict}  ${runtime.padEnd(12)}  ${version.padEnd(14)}  ${place.padEnd(36)}  ${build}`;
}

const START = "<!-- runtimes:start -->";
const END = "<!-- runtimes:end -->";

/**
 * The table of docs/runtimes.md: a line per runtime, with the places that ran and the build that was chosen.
 */
function tableOf(results) {
  const rows = new Map();
  for (const { runtime, version, place, build } of results.filter(
    ({ runtime }) => !["package", "vocabulary"].includes(runtime),
  )) {
    if (
      place.startsWith("snippet") ||
      place.startsWith("example") ||
      place === "command line" ||
      place.includes("refused")
    )
      continue;
    // What a policy blocks is no place, and of those where threads run the plain ones say enough.
    if (place.startsWith("threads, ") && place !== "threads, web worker") continue;
    const key = `| ${runtime} | ${version} |`;
    const row = rows.get(key) ?? { places: [], builds: new Set() };
    row.places.push(place === "threads, web worker" ? "threads in a web worker" : place);
    row.builds.add(build);
    rows.set(key, row);
  }
  const lines = [...rows].map(
    ([key, { places, builds }]) => `${key} ${places.join(", ")} | ${[...builds].join(", ")} |`,
  );
  return ["| runtime | version | where | build |", "|---|---|---|---|", ...lines].join("\n");
}

async function writeReadme(results) {
  const path = join(ROOT, "docs/runtimes.md");
  const text = await readFile(path, "utf8");
  const [start, end] = [text.indexOf(START), text.indexOf(END)];
  if (start < 0 || end < start)
    throw new Error(`docs/runtimes.md: expected ${START} and ${END} around the table`);
  const table = `${START}\n${tableOf(results)}\n${END}`;
  await writeFile(path, text.slice(0, start) + table + text.slice(end + END.length));
}

const folder = await temporaryFolder();
try {
  const drivers = [checkPackage, vocabulary, ...processes, workerd, edge, ...browsers].filter(isWanted);
  if (browsers.some((browser) => drivers.includes(browser))) installDebian(BROWSERS);
  const project = await createRuntimeProject(folder.path);
  const results = [];
  for (const driver of drivers) results.push(...(await attempt(driver, project)));
  const failed = results.filter(({ problems }) => problems.length > 0).length;
  if (process.argv.includes("--write") && failed === 0) await writeReadme(results);
  console.log(`\n${results.length - failed} passed, ${failed} failed`);
  process.exitCode = failed === 0 && results.length > 0 ? 0 : 1;
} catch (error) {
  console.error(error.message);
  console.log("\n0 passed, 1 failed");
  process.exitCode = 1;
} finally {
  await folder.remove();
}
