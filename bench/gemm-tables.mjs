import { readFileSync, writeFileSync } from "node:fs";
import { markdownTable } from "markdown-table";
import { against, peerOfPeak, reachedBars } from "./gemm-bars.mjs";
import { machineOf, resultsOf } from "./machine.mjs";
import { median } from "./measure.mjs";
import { barTable } from "./tables.mjs";

const START = "<!-- bench-gemm:start -->";
const END = "<!-- bench-gemm:end -->";
const PLOT = "bench/gemm.svg";

const BUILDS = ["relaxed", "baseline"];
const PEERS = ["ort MatMul", "ort Gemm", "ort MatMulNBits", "tfjs", "js"];

/** Records of one product, by contestant, but for those with many subnormal codes. */
function byWork(records) {
  const works = new Map();
  for (const record of records.filter(({ subnormals }) => !subnormals)) {
    const { m, n, k, scheme, operands, cold, contestant } = record;
    const key = JSON.stringify({ m, n, k, scheme, operands, cold });
    works.set(key, { ...works.get(key), [contestant]: record });
  }
  return [...works].map(([key, of]) => ({ work: JSON.parse(key), of }));
}

const percent = (x) => `${(100 * x).toFixed(0)} %`;
const times = (x) => `${x.toFixed(x < 9.5 ? 1 : 0)}x`;

function speeds(of, key = "gigaFlops") {
  return BUILDS.filter((build) => of[build])
    .map((build) => (key === "gigaFlops" ? of[build][key].toFixed(0) : percent(of[build][key])))
    .join(" / ");
}

/** How many times faster the better build is than a peer; of ONNX Runtime's two operators in float32 the better one counts. */
function timesFaster(of, names) {
  const found = against(names)(of[BUILDS.find((build) => of[build])]);
  return found === undefined ? "" : times(found);
}

function peerTable(works) {
  const body = works
    .filter(({ of }) => PEERS.some((name) => of[name]))
    .map(({ work: { m, n, k }, of }) => [
      `${n}x${k}`,
      m,
      speeds(of),
      speeds(of, "ofPeak"),
      speeds(of, "ofRead"),
      timesFaster(of, ["ort MatMul", "ort Gemm"]),
      timesFaster(of, ["ort MatMulNBits"]),
      timesFaster(of, ["tfjs"]),
      timesFaster(of, ["js"]),
    ]);
  const header = [
    "weights",
    "M",
    "GFLOP/s",
    "of peak",
    "of reading",
    "ORT float32",
    "ORT 8 bits",
    "tfjs float32",
    "plain JS",
  ];
  return markdownTable([header, ...body], { align: ["l", "r", "r", "r", "r", "r", "r", "r", "r"] });
}

function schemeTable(works) {
  const rows = new Map();
  for (const { work, of } of works) {
    const name = `${work.n}x${work.k}, M ${work.m}`;
    rows.set(name, { ...rows.get(name), [`${work.scheme} ${work.operands}`]: speeds(of) });
  }
  const columns = ["128x128 W8A32", "128x128 W8A8", "1x32 W8A32", "1x32 W8A8"];
  const whole = [...rows].filter(([, row]) => columns.every((column) => row[column]));
  const body = whole.map(([name, row]) => [name, ...columns.map((column) => row[column])]);
  return markdownTable([["GFLOP/s", ...columns], ...body], { align: ["l", "r", "r", "r", "r"] });
}

/** What is kept of the speed where weights have subnormal codes. */
function subnormalTable(records) {
  const found = records.filter(({ subnormals }) => subnormals);
  const shares = [...new Set(found.map(({ subnormals }) => subnormals))];
  const body = [...new Set(found.map(({ m }) => m))].map((m) => [
    `M ${m}`,
    ...shares.map((share) =>
      BUILDS.flatMap((build) =>
        found.filter((one) => one.contestant === build && one.m === m && one.subnormals === share),
      )
        .map(({ ofBeside }) => percent(ofBeside))
        .join(" / "),
    ),
  ]);
  const header = ["subnormal codes", ...shares.map((share) => `${100 * share} %`)];
  return markdownTable([header, ...body], { align: ["l", "r", "r", "r"] });
}

/** What the peak without fusing is of that with, if both were measured. */
function peakText(records) {
  const [fused, separate] = BUILDS.map((build) =>
    median(records.filter(({ contestant }) => contestant === build).map(({ peak }) => peak)),
  );
  if (fused === undefined || separate === undefined) return "";
  return ` The peak of multiplications beside additions is ${percent(separate / fused)} of that of fused multiply-adds, ${fused.toFixed(0)} GFLOP/s.`;
}

/** Speed over M for the first shape, one line a contestant. */
async function plot(works) {
  const vega = await import("vega");
  const { compile } = await import("vega-lite");
  const { n, k } = works[0].work;
  const shown = works.filter(
    ({ work, of }) => work.n === n && work.k === k && PEERS.some((name) => of[name]),
  );
  const lines = shown.flatMap(({ work: { m }, of }) =>
    Object.values(of).map(({ contestant, gigaFlops }) => ({ M: m, contestant, "GFLOP/s": gigaFlops })),
  );
  const { spec } = compile({
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    title: `x [M, ${k}] . w [${n}, ${k}]^T on one core`,
    width: 560,
    height: 300,
    background: "white",
    data: { values: lines },
    mark: { type: "line", point: true },
    encoding: {
      x: { field: "M", type: "quantitative", scale: { type: "log", base: 2 } },
      y: { field: "GFLOP/s", type: "quantitative" },
      color: { field: "contestant", type: "nominal", title: null, sort: [...BUILDS, ...PEERS] },
    },
  });
  return new vega.View(vega.parse(spec), { renderer: "none" }).toSVG();
}

function section(results) {
  const [{ origin, records }] = results;
  const { machine, runtime } = origin;
  const works = byWork(records);
  const builds = BUILDS.filter((name) => records.some(({ contestant }) => contestant === name)).join(" / ");
  const peer = peerOfPeak(records);
  return `One core, of two for two threads; ${machine.os}, ${runtime.name} ${runtime.version}. Machines: ${results.map((one, i) => `(${i + 1}) ${machineOf(one)}`).join("; ")}.
Through the API with packed weights and \`out\` reused, medians of interleaved rounds, of ratios too, in one process (two threads: in one of their own). Two numbers are those of the ${builds} build;
"of peak" is of the multiply-adds that each build can do, "of reading" of the rate at which bytes are read from where the weights are, both measured
beside it.${peakText(records)}
Blocks of 128x128, x in float32, and how many times faster than peers in WebAssembly with one thread: onnxruntime-web
(the better of MatMul and Gemm in float32; MatMulNBits with 8 bits), tfjs, and plain JavaScript.

${barTable(results.map(({ records, threads }, i) => ({ title: `reached (${i + 1})`, bars: reachedBars([...records, ...threads]) })))}

For M >= 64 onnxruntime-web is at ${percent(peer)} of the peak of fused multiply-adds of machine (1), so that the peak itself would be ${times(1 / peer)} as fast.
A single row takes twelve vector operations for sixteen weights: at 3.7 GHz that is at most 14.8 * 10^9 weights a second on the three vector units of an Intel core, and 19.7 on the four of AMD's.
All that follows was measured on machine (1).

${peerTable(works)}

![Speed over the number of rows](${PLOT})

By scheme; W8A8 includes decoding x.

${schemeTable(works)}

How much of its speed a product keeps where so many of the codes are subnormal, 2048x2048, against none. Of rows with less than one in 64 they are set aside when weights are packed; rows with more are decoded by table.

${subnormalTable(records)}

Native code with AVX-512 was about 2.5 times as fast where data are in a cache, and the same where they come from memory, on a Zen 5 core; products that
round x to 8-bit integers as well, as ggml's do, about 1.2 times as fast for a single row.
`;
}

/** Puts the tables of bench/results/gemm-*.json into docs/speed.md, those of this machine first, and draws the plot. */
export async function updateReadme(root, cpu) {
  const results = resultsOf("gemm", root, cpu);
  writeFileSync(new URL(PLOT, root), await plot(byWork(results[0].records)));
  const readme = new URL("docs/speed.md", root);
  const text = readFileSync(readme, "utf8");
  const start = text.indexOf(START);
  const end = text.indexOf(END);
  if (start < 0 || end < start) return false;
  writeFileSync(readme, `${text.slice(0, start + START.length)}\n${section(results)}${text.slice(end)}`);
  return true;
}
