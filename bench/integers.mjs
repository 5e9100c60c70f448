// Products of integers beside the float path: node bench/integers.mjs [--quick]; part of `npm run bench`. Writes
// bench/results/integers-MACHINE.json and the table of docs/speed.md. The builds with relaxed SIMD need Node 22 or newer; the peer is of bench/package.json.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { load, schemes } from "../dist/index.js";
import { values } from "./data.mjs";
import { BYTES, FLOAT, hasAvxVnni, PLANES, section } from "./integers-text.mjs";
import { origin, slug } from "./machine.mjs";
import { interleave, interleaveAwaited, median, medianRatio } from "./measure.mjs";
import { COLD_BYTES, PEAK_OPERATIONS, PEAK_TURNS, read, roofsOf } from "./roofs.mjs";

const root = new URL("../", import.meta.url);
const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    // For the process that this script starts itself, with V8's flag: it prints its records as JSON.
    plain: { type: "boolean", default: false },
  },
});
const ROUNDS = options.quick ? 5 : 15;

const START = "<!-- bench-integers:start -->";
const END = "<!-- bench-integers:end -->";

const WORKS = [
  { m: 1, n: 1024, k: 1024 },
  { m: 1, n: 3072, k: 2048 },
  { m: 1, n: 4096, k: 4096, cold: true },
  { m: 2, n: 2048, k: 2048 },
  { m: 4, n: 2048, k: 2048 },
  { m: 8, n: 2048, k: 2048 },
  { m: 64, n: 2048, k: 2048 },
  { m: 256, n: 2048, k: 2048 },
];

/** Of these, those that are measured without AVX-VNNI too. */
const PLAIN_WORKS = [WORKS[0], WORKS[6]];

/** How weights are packed, by the way they are kept. */
const PACK = {
  "FP8, float32 x": (engine, w, shape) => engine.pack(engine.quantize(w, shape, schemes.deepseekWeight)),
  "FP8 in two planes": (engine, w, shape) =>
    engine.pack(engine.quantize(w, shape, schemes.deepseekWeight), { activations: "int8" }),
  int7: (engine, w, shape) => engine.pack({ values: w, shape }, { weights: "int7" }),
  MXFP4: (engine, w, shape) => engine.pack(engine.quantize(w, shape, schemes.mxfp4), { activations: "int8" }),
};

/** The sizes of a row against 4-bit weights of onnxruntime-web, both hot. */
const FOUR_BITS = [
  [1024, 1024],
  [3072, 2048],
];

/** Rows of x against weights in float32 of onnxruntime-web. */
const MANY_ROWS = [64, 256];

async function engineOf(variant) {
  try {
    const engine = await load({ variant });
    engine.activations({ values: new Float32Array(1), shape: [1, 1] }).free();
    return engine;
  } catch (error) {
    console.error(`${variant}: not on this host (${error.message.split("\n")[0]})`);
    return undefined;
  }
}

function measure(engine, variant, roofs, { m, n, k, cold = false }) {
  const w = values("normal", "f32", n * k);
  const x = { values: values("normal", "f32", m * k), shape: [m, k] };
  const out = new Float32Array(m * n);
  const all = [];
  const contestants = Object.fromEntries(
    Object.entries(PACK).map(([way, pack]) => {
      const count = cold ? Math.ceil(COLD_BYTES / (n * k * BYTES[way])) : 1;
      const packed = Array.from({ length: count }, () => pack(engine, w, [n, k]));
      all.push(...packed);
      let turn = 0;
      return [way, () => engine.gemm(x, packed[turn++ % count], { out })];
    }),
  );
  const peak = () => roofs[variant].peak(PEAK_TURNS, 1);
  const readBytes = cold ? COLD_BYTES : n * k;
  const seconds = interleave({ ...contestants, peak, read: () => read(roofs, readBytes) }, ROUNDS);
  for (const packed of all) packed.free();
  const operations = 2 * m * n * k;
  return Object.keys(PACK).map((way) => ({
    variant,
    m,
    n,
    k,
    cold,
    way,
    gigaFlops: operations / median(seconds[way]) / 1e9,
    ofPeak: (operations / (PEAK_TURNS * PEAK_OPERATIONS)) * medianRatio(seconds.peak, seconds[way]),
    ofRead: ((n * k * BYTES[way]) / readBytes) * medianRatio(seconds.read, seconds[way]),
    ofFloat: medianRatio(seconds[FLOAT], seconds[way]),
  }));
}

/** Both have rounded the weights to few bits, each in its way. */
function checkNear(a, b) {
  const largest = a.reduce((most, y) => Math.max(most, Math.abs(y)), 0);
  const wrong = a.findIndex((y, i) => !(Math.abs(y - b[i]) < largest / 4));
  if (wrong >= 0) throw new Error(`peer: ${a[wrong]} and ${b[wrong]} at ${wrong}`);
}

/** How many times as fast as the better of some peers, by build: products of the same x with the same values w. */
async function besidePeers(engines, way, [m, n, k], peersOf) {
  const [w, x, out] = [
    values("normal", "f32", n * k),
    values("normal", "f32", m * k),
    new Float32Array(m * n),
  ];
  const peers = await peersOf(x, w, [m, n, k]);
  const packed = Object.entries(engines).map(([variant, engine]) => [
    variant,
    engine,
    PACK[way](engine, w, [n, k]),
  ]);
  const contestants = Object.fromEntries(
    packed.map(([variant, engine, p]) => [
      variant,
      () => engine.gemm({ values: x, shape: [m, k] }, p, { out, activations: "int8" }),
    ]),
  );
  checkNear(await peers[0].run(), Object.values(contestants)[0]());
  const theirs = Object.fromEntries(peers.map(({ run }, i) => [`peer ${i}`, run]));
  const seconds = await interleaveAwaited({ ...contestants, ...theirs }, ROUNDS, 0.02);
  for (const [, , p] of packed) p.free();
  for (const peer of peers) await peer.free();
  return packed.map(([variant]) => {
    const ratios = Object.keys(theirs).map((peer) => medianRatio(seconds[peer], seconds[variant]));
    return { variant, m, n, k, timesFaster: Math.min(...ratios) };
  });
}

/** A row of MXFP4 against four bits of onnxruntime-web, and two planes against its float32. */
async function peersBeside(engines) {
  if (!existsSync(new URL("node_modules/onnxruntime-web", import.meta.url))) {
    console.log("no peer: npm install --prefix bench");
    return { fourBits: [], float: [] };
  }
  const { floatsOf, fourBitsOf } = await import("./peers/ort.mjs");
  const [fourBits, float] = [[], []];
  const [better] = Object.keys(engines);
  for (const [n, k] of FOUR_BITS)
    fourBits.push(...(await besidePeers(engines, "MXFP4", [1, n, k], fourBitsOf)));
  for (const m of MANY_ROWS)
    float.push(...(await besidePeers({ [better]: engines[better] }, PLANES, [m, 2048, 2048], floatsOf)));
  for (const { variant, m, n, k, timesFaster } of [...fourBits, ...float])
    console.log(`${variant}, ${n}x${k}, M ${m}: ${timesFaster.toFixed(2)} times onnxruntime-web`);
  return { fourBits, float };
}

/** The better build on a processor without AVX-VNNI: what V8 does if it is told that there is none. */
function measurePlain() {
  if (!hasAvxVnni()) return [];
  const args = ["--no-enable-avx-vnni", fileURLToPath(import.meta.url), "--plain"];
  const found = execFileSync(process.execPath, options.quick ? [...args, "--quick"] : args, {
    encoding: "utf8",
  });
  return JSON.parse(found);
}

const log = ({ m, cold, way, gigaFlops, ofPeak, ofRead, ofFloat }) =>
  console.log(
    `  M ${m}${cold ? " cold" : ""} ${way.padEnd(18)} ${gigaFlops.toFixed(1).padStart(6)} GFLOP/s, ${BYTES[way]} bytes a weight, ${ofPeak.toFixed(2)} of peak, ${ofRead.toFixed(2)} of reading, ${ofFloat.toFixed(2)}x`,
  );

const variants = ["relaxed", "baseline"];
const roofs = roofsOf(variants);
const engines = {};
for (const variant of variants) {
  const engine = await engineOf(variant);
  if (engine !== undefined) engines[variant] = engine;
}
if (options.plain) {
  const [[variant, engine]] = Object.entries(engines);
  console.log(JSON.stringify(PLAIN_WORKS.flatMap((work) => measure(engine, variant, roofs, work))));
  process.exit();
}
const records = [];
for (const [variant, engine] of Object.entries(engines)) {
  console.log(`${variant}: "auto" is ${engine.fasterActivations}`);
  for (const work of WORKS) {
    const made = measure(engine, variant, roofs, work);
    records.push(...made);
    for (const record of made) log(record);
  }
}
const plain = measurePlain();
if (plain.length) console.log("without AVX-VNNI:");
for (const record of plain) log(record);
const result = { origin: origin(root), records, plain, ...(await peersBeside(engines)) };
if (!options.quick) {
  const round = (_key, value) =>
    typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
  const file = new URL(`bench/results/integers-${slug(result.origin.machine.cpu)}.json`, root);
  writeFileSync(file, `${JSON.stringify(result, round, 1)}\n`);
  const page = new URL("docs/speed.md", root);
  const text = readFileSync(page, "utf8");
  const start = text.indexOf(START) + START.length;
  writeFileSync(page, `${text.slice(0, start)}\n${section(result)}${text.slice(text.indexOf(END))}`);
}
// onnxruntime-web leaves something running.
process.exit();
