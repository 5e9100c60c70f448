import { readFileSync, writeFileSync } from "node:fs";
import { markdownTable } from "markdown-table";
import { reachedBars } from "./bars.mjs";
import { machineOf, resultsOf } from "./machine.mjs";
import { SIZES } from "./workloads.mjs";

const START = "<!-- bench:start -->";
const END = "<!-- bench:end -->";

const percent = (x) => (x < 0.095 ? `${(100 * x).toFixed(1)} %` : `${(100 * x).toFixed(0)} %`);
const times = (x) => (x < 9.5 ? `${x.toFixed(1)}x` : `${x.toFixed(0)}x`);

const workName = ({ verb, type, block }) =>
  [verb, verb === "dequantize" || verb === "decode" ? "to" : "from", type, block].filter(Boolean).join(" ");

/** One row a work, one column a size; `cell` turns a work's records, by contestant, into text. */
function bySize(records, title, cell) {
  const rows = new Map();
  for (const record of records.filter(({ data, isPaired }) => data === "normal" && !isPaired)) {
    const row = rows.get(workName(record)) ?? new Map();
    rows.set(workName(record), row);
    const contestants = row.get(record.bytes) ?? {};
    row.set(record.bytes, contestants);
    contestants[record.contestant.replace(/^api .*/, "api")] = record;
  }
  const body = [...rows].map(([work, row]) => [
    work,
    ...Object.values(SIZES).map((bytes) => (row.has(bytes) ? cell(row.get(bytes)) : "")),
  ]);
  return markdownTable([[title, ...Object.keys(SIZES)], ...body], { align: ["l", "r", "r", "r"] });
}

const BUILDS = ["relaxed", "baseline"];

const kernelTable = (records) =>
  bySize(records, "kernel alone", (of) => {
    const builds = BUILDS.map((build) => of[`kernel ${build}`]).filter(Boolean);
    const speeds = builds.map(({ gigaElements }) => gigaElements.toFixed(1)).join(" / ");
    return `${speeds} (${percent(builds[0].ofCopy)}, ${percent(builds[0].ofLimit)})`;
  });

const apiTable = (records) =>
  bySize(records, "through the API", (of) => {
    if (!of["js table"]) return "";
    const against = (name) => times(of[name].seconds / of.api.seconds);
    return `${of.api.gigaElements.toFixed(1)} (${percent(of.api.ofCopy)}, ${against("js table")}, ${against("js arithmetic")})`;
  });

/** What is left of the kernels' speed when data are random instead of normal: the least of all verbs. */
function onRandom(records) {
  const kept = records
    .filter(({ data, contestant }) => data === "random" && contestant.startsWith("kernel"))
    .map(({ ofFirst }) => ofFirst);
  return kept.length ? percent(Math.min(...kept)) : "an unmeasured part";
}

/** Bars and what was reached, a column for each machine. */
export function barTable(columns) {
  const [{ bars }] = columns;
  const header = ["bar", "floor", "goal", ...columns.map(({ title }) => title)];
  const body = bars.map(({ work, floor, goal }, i) => [
    work,
    floor,
    goal,
    ...columns.map(({ bars }) => `${bars[i].reached}${bars[i].verdict === "below" ? " (below)" : ""}`),
  ]);
  return markdownTable([header, ...body]);
}

/** The text between the markers. */
function section(results) {
  const [{ origin, records }] = results;
  const { machine, runtime } = origin;
  const builds = BUILDS.filter((name) => records.some(({ contestant }) => contestant === `kernel ${name}`));
  return `One core; ${machine.os}, ${runtime.name} ${runtime.version}; E4M3, UE8M0 scales. Machines: ${results.map((one, i) => `(${i + 1}) ${machineOf(one)}`).join("; ")}.
Medians of interleaved rounds in one process, by \`npm run bench\`. Bars are what this package sets out to reach; sizes are those of the values.

${barTable(results.map(({ records }, i) => ({ title: `reached (${i + 1})`, bars: reachedBars(records) })))}

All that follows was measured on machine (1): 10^9 elements a second${builds.length > 1 ? ` of the ${builds.join(" / ")} build` : ""}, and in brackets the speed against memory.copy of the same bytes, and against the same loads and stores without arithmetic.
Normal values; on random codes and values the kernels keep ${onRandom(records)} of it at worst.

${kernelTable(records)}

Copies in and out are part of the time, \`out\` is reused. In brackets: against memory.copy; against \`blockscale/js\`; against plain JavaScript
as one would write it with care (a table to decode, integer arithmetic to encode).

${apiTable(records)}
`;
}

/** Puts the tables of bench/results/casts-*.json into docs/speed.md, if it has a place for them. */
export function updateReadme(root, cpu) {
  const results = resultsOf("casts", root, cpu);
  const readme = new URL("docs/speed.md", root);
  let text = "";
  try {
    text = readFileSync(readme, "utf8");
  } catch {}
  const start = text.indexOf(START);
  const end = text.indexOf(END);
  if (start < 0 || end < start) return false;
  writeFileSync(readme, `${text.slice(0, start + START.length)}\n${section(results)}${text.slice(end)}`);
  return true;
}
