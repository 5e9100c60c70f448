// npm run bench [-- --quick]: measures every verb, writes bench/results/casts-MACHINE.json, and the tables of docs/speed.md.
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

const root = new URL("../", import.meta.url);
const results = new URL("results/", import.meta.url);

const { values: options } = parseArgs({
  options: { quick: { type: "boolean", default: false }, only: { type: "string" } },
});

const asc = new URL("node_modules/assemblyscript/bin/asc.js", root).pathname;
execFileSync(
  process.execPath,
  // biome-ignore format: a command line
  [asc, "bench/assembly/limits.ts", "-o", "build/limits.wasm", "-O3", "--noAssert", "--runtime", "stub", "--importMemory", "--enable", "simd", "--use", "abort="],
  { cwd: root, stdio: "inherit" },
);

const { contestantsOf, releaseAll } = await import("./contestants.mjs");
const { origin, slug } = await import("./machine.mjs");
const { interleave, median, medianRatio } = await import("./measure.mjs");
const { elementsOf, groups, SIZES, trafficOf } = await import("./workloads.mjs");

const where = origin(root);
const rounds = (bytes) => (options.quick ? 5 : bytes > 2 ** 27 ? 9 : 21);

/** What a group's timings say, a record per work and contestant. */
function recordsOf(works, seconds) {
  return works.flatMap((work, i) =>
    Object.entries(seconds)
      .filter(([key]) => key.startsWith(`${i} `))
      .map(([key, times]) => {
        const ratio = (other) => medianRatio(seconds[other], times);
        const typical = median(times);
        return {
          ...work,
          contestant: key.slice(key.indexOf(" ") + 1),
          rounds: times.length,
          seconds: typical,
          fastest: Math.min(...times),
          slowest: Math.max(...times),
          gigaElements: elementsOf(work) / typical / 1e9,
          gigaBytes: trafficOf(work) / typical / 1e9,
          ofCopy: ratio(`${i} copy`),
          ofLimit: ratio(`${i} limit`),
          // In a group, against the same contestant on the first work's data.
          ofFirst: i === 0 ? undefined : ratio(`0 ${key.slice(key.indexOf(" ") + 1)}`),
        };
      }),
  );
}

// V8 compiles a function that is called often; one that only loops long may stay in lesser code for seconds.
const kinds = new Map(
  groups(options.quick)
    .flat()
    .sort((a, b) => a.withJs - b.withJs)
    .map((work) => [`${work.verb} ${work.type} ${work.block}`, work]),
);
for (const work of kinds.values()) {
  releaseAll();
  const contestants = contestantsOf({ ...work, bytes: SIZES["256 KiB"], data: "normal" });
  for (const run of Object.values(contestants)) for (let i = 0; i < 200; i++) run();
}

mkdirSync(results, { recursive: true });
const log = new URL(`${where.time.replace(/[:.]/g, "-")}.jsonl`, results);
const records = [];
for (const works of groups(options.quick)) {
  const label = works.map(({ verb, type, block, bytes, data }) =>
    [verb, type, block, `${bytes / 1024} KiB`, data].filter(Boolean).join(" "),
  );
  if (options.only && !label.some((text) => text.includes(options.only))) continue;
  const contestants = {};
  releaseAll();
  works.forEach((work, i) => {
    for (const [name, run] of Object.entries(contestantsOf(work))) contestants[`${i} ${name}`] = run;
  });
  const seconds = interleave(contestants, rounds(works[0].bytes), options.quick ? 0.05 : undefined);
  const made = recordsOf(works, seconds);
  for (const record of made) appendFileSync(log, `${JSON.stringify({ ...where, ...record })}\n`);
  records.push(...made);
  for (const text of label) console.log(text);
  for (const { contestant, data, gigaElements, gigaBytes, ofCopy } of made) {
    console.log(
      `  ${contestant.padEnd(16)} ${data.padEnd(10)} ${gigaElements.toFixed(2).padStart(7)} Gel/s ` +
        `${gigaBytes.toFixed(1).padStart(7)} GB/s ${(100 * ofCopy).toFixed(1).padStart(6)} % of copy`,
    );
  }
}

const { reachedBars } = await import("./bars.mjs");
const { updateReadme } = await import("./tables.mjs");
console.log();
for (const { verdict, reached, floor, goal, work } of reachedBars(records)) {
  console.log(`${verdict.padEnd(6)} ${reached.padStart(12)}  (floor ${floor}, goal ${goal})  ${work}`);
}
if (!options.quick && !options.only) {
  const file = new URL(`casts-${slug(where.machine.cpu)}.json`, results);
  writeFileSync(file, `${JSON.stringify({ origin: where, records: records.map(rounded) }, null, 2)}\n`);
  if (updateReadme(root, where.machine.cpu)) console.log("docs/speed.md: tables updated");
}

/** Four digits are more than the measurement has. */
function rounded(record) {
  return Object.fromEntries(
    Object.entries(record).map(([key, value]) => [
      key,
      typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value,
    ]),
  );
}
