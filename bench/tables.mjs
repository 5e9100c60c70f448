import { readFileSync, writeFileSync } from "node:fs";
import { markdownTable } from "markdown-table";
import { reachedBars } from "./bars.mjs";
import { SIZES } from "./works.mjs";

const START = "<!-- bench:start -->";
const END = "<!-- bench:end -->";

const sizeName = (bytes) => Object.entries(SIZES).find(([, size]) => size === bytes)[0];

const percent = (x) => (x < 0.095 ? `${(100 * x).toFixed(1)} %` : `${(100 * x).toFixed(0)} %`);
const times = (x) => (x < 9.5 ? `${x.toFixed(1)}x` : `${x.toFixed(0)}x`);

const workName = ({ verb, type, block }) =>
  [verb, verb === "dequantize" || verb === "decode" ? "to" : "from", type, block].filter(Boolean).join(" ");

/** Records on normal data, gathered by work and size. */
function rowsOf(records) {
  const rows = new Map();
  for (const record of records.filter(({ data }) => data === "normal")) {
    const key = `${workName(record)}|${record.bytes}`;
    if (!rows.has(key)) rows.set(key, { work: workName(record), bytes: record.bytes, of: {} });
    rows.get(key).of[record.contestant] = record;
  }
  return [...rows.values()];
}

function kernelTable(records) {
  const rows = rowsOf(records);
  const builds = ["relaxed", "baseline"].filter((build) => rows[0].of[`kernel ${build}`]);
  const header = [
    "kernel alone",
    "values",
    ...builds.map((b) => `${b}, Gel/s`),
    "of memory.copy",
    "of the limit",
  ];
  const body = rows.map(({ work, bytes, of }) => {
    const best = of[`kernel ${builds[0]}`];
    const speeds = builds.map((build) => of[`kernel ${build}`].gigaElements.toFixed(1));
    return [work, sizeName(bytes), ...speeds, percent(best.ofCopy), percent(best.ofLimit)];
  });
  return markdownTable([header, ...body], { align: ["l", "r"] });
}

function apiTable(records) {
  const header = [
    "through the API",
    "values",
    "Gel/s",
    "of memory.copy",
    "vs blockscale/js",
    "vs plain JavaScript",
  ];
  const body = rowsOf(records)
    .filter(({ of }) => of["js table"])
    .map(({ work, bytes, of }) => {
      const api = Object.values(of).find(({ contestant }) => contestant.startsWith("api"));
      const against = (name) => times(of[name].seconds / api.seconds);
      return [
        work,
        sizeName(bytes),
        api.gigaElements.toFixed(1),
        percent(api.ofCopy),
        against("js table"),
        against("js arithmetic"),
      ];
    });
  return markdownTable([header, ...body], { align: ["l", "r"] });
}

function barTable(records) {
  const header = ["bar", "floor", "goal", "reached"];
  const body = reachedBars(records).map(({ work, floor, goal, reached, verdict }) => [
    work,
    floor,
    goal,
    verdict === "below" ? `${reached} (below)` : reached,
  ]);
  return markdownTable([header, ...body]);
}

/** The text between the markers. */
export function tables({ origin, records }) {
  const { machine, runtime, build, time } = origin;
  return `One core of ${machine.cpu}, ${machine.os}, ${runtime.name} ${runtime.version}, commit ${build.commit}, ${time.slice(0, 10)}.
Medians of interleaved rounds in one process; normal values, E4M3, UE8M0 scales. Gel/s: 10^9 elements a second. The limit: the same
loads and stores without arithmetic. The API's time has its copies in it, \`out\` reused. \`blockscale/js\` looks codes up in
tables; plain JavaScript decodes by a table and encodes by integer arithmetic.

${barTable(records)}

${kernelTable(records)}

${apiTable(records)}
`;
}

/** Puts the tables of bench/results/latest.json into the README, if it has a place for them. */
export function updateReadme(root) {
  const latest = JSON.parse(readFileSync(new URL("bench/results/latest.json", root), "utf8"));
  const readme = new URL("README.md", root);
  let text = "";
  try {
    text = readFileSync(readme, "utf8");
  } catch {}
  const start = text.indexOf(START);
  const end = text.indexOf(END);
  if (start < 0 || end < start) return false;
  writeFileSync(readme, `${text.slice(0, start + START.length)}\n${tables(latest)}${text.slice(end)}`);
  return true;
}
