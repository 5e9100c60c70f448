// Tests of the web page in real browsers. Installs what it needs, builds the page, runs everything:
// node test/web/run.mjs [word]      only tests whose name holds the word, or fits it as a regular expression
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BROWSERS, installDebian } from "../support/debian.mjs";

const here = fileURLToPath(new URL("./", import.meta.url));
const root = fileURLToPath(new URL("../../", import.meta.url));

function install() {
  installDebian(BROWSERS);
  if (!existsSync(join(here, "node_modules"))) {
    execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
      cwd: here,
      stdio: "inherit",
    });
  }
  if (!existsSync(join(root, "dist/cli/main.js")))
    execFileSync("npm", ["run", "build"], { cwd: root, stdio: "inherit" });
  execFileSync("node", [join(root, ".config/bundle.mjs"), "web"], { stdio: "inherit" });
}

install();

const { serve } = await import("../../.config/serve.mjs");
const load = (names) => Promise.all(names.map((name) => import(`./${name}.mjs`)));
const suites = await load([
  "flow",
  "far",
  "saving",
  "failures",
  "opening",
  "kept",
  "causes",
  "odd",
  "panel",
  "attention",
  "warnings",
  "mixed",
  "tree",
  "plots",
  "large-text",
  "page",
  "every-state",
  "playground",
  "train",
  "cached",
  "run-view",
  "compare",
  "cards",
  "report",
  "webkit",
]);
/** What measures time or memory: run when nothing else does. */
const measured = await load(["slow", "large"]);

const { closeBrowsers, startBrowser } = await import("./browser.mjs");

const word = new RegExp(process.argv[2] ?? "");
const folder = mkdtempSync(join(tmpdir(), "blockscale-web-"));
const server = await serve(0);
const url = `http://localhost:${server.address().port}/`;
let [passed, failed] = [0, 0];
const repeated = [];

/** One attempt, at most as long as it may take. */
async function attempt(seconds, body) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${seconds} s`)), seconds * 1000);
  });
  try {
    await Promise.race([body(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What is said of an error: of a page that holds ninety thousand names, not all of them. */
function told(error) {
  const text = String(error.stack ?? error);
  return text.length <= 4000 ? text : `${text.slice(0, 2000)}\n…\n${text.slice(-2000)}`;
}

/**
 * Runs one test. Browsers on a busy machine fail now and then for no reason of
 * ours: a second attempt counts, and is told.
 */
async function run(name, seconds, body) {
  const start = performance.now();
  const took = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
  try {
    try {
      await attempt(seconds, body);
    } catch (error) {
      console.log(`again   ${name}\n${told(error)}`);
      repeated.push(name);
      await attempt(seconds, body);
    }
    passed++;
    console.log(`ok      ${name} (${took()})`);
  } catch (error) {
    failed++;
    console.log(`FAILED  ${name}\n${told(error)}`);
  }
}

/** Runs one after the other all tests that are for these browsers, with files of their own. */
async function runIn(wanted, suites) {
  const own = mkdtempSync(join(folder, "tests-"));
  for (const browser of wanted) if (browser !== "webkit") await startBrowser(browser);
  for (const { tests } of suites) {
    for (const { name, browsers = ["chromium", "firefox"], seconds = 60, body } of tests) {
      for (const browser of browsers.filter((one) => wanted.includes(one))) {
        const title = `${browser}: ${name}`;
        if (word.test(title)) await run(title, seconds, () => body({ browser, url, folder: own, root }));
      }
    }
  }
}

process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

/** Says how it went, and ends. */
function finish() {
  if (repeated.length > 0)
    console.log(`Only at the second attempt, or not even then:\n${repeated.join("\n")}`);
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}

// Asked to end, playwright closes all browsers and nothing else: every test after that would fail.
for (const signal of ["SIGTERM", "SIGHUP"]) {
  process.once(signal, () => {
    console.log(`FAILED  all that had not run before ${signal}`);
    failed++;
    finish();
  });
}

try {
  // Each browser keeps about one processor busy: side by side they take little longer than the slower one.
  await Promise.all([runIn(["chromium", "webkit"], suites), runIn(["firefox"], suites)]);
  // What their last pages still do would be measured too.
  await closeBrowsers();
  await runIn(["chromium"], measured);
  await runIn(["firefox"], measured);
} finally {
  await closeBrowsers();
  server.closeAllConnections();
  server.close();
}
finish();
