// Products of integers beside the float path: node bench/integers.mjs [--quick]; part of `npm run bench`. Writes
// bench/results/integers-MACHINE.json and the table of docs/speed.md. The builds with relaxed SIMD need Node 22 or newer; the peer is of bench/package.json.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { markdownTable } from "markdown-table";
import { load, schemes } from "../dist/index.js";
import { values } from "./data.mjs";
import { origin, slug } from "./machine.mjs";
import { interleave, interleaveAwaited, median, medianRatio } from "./measure.mjs";
import { COLD_BYTES, PEAK_OPERATIONS, PEAK_TURNS, read, roofsOf } from "./roofs.mjs";

const root = new URL("../", import.meta.url);
const { values: options } = parseArgs({ options: { quick: { type: "boolean", default: false } } });
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

/** Ways to keep weights, by name, and the bytes of one. */
const WAYS = {
  "FP8, float32 x": {
    bytes: 1,
    pack: (engine, w, shape) => engine.pack(engine.quantize(w, shape, schemes.deepseekWeight)),
  },
  "FP8 in two planes": {
    bytes: 1,
    pack: (engine, w, shape) =>
      engine.pack(engine.quantize(w, shape, schemes.deepseekWeight), { activations: "int8" }),
  },
  int7: { bytes: 1.125, pack: (engine, w, shape) => engine.pack({ values: w, shape }, { weights: "int7" }) },
  MXFP4: {
    bytes: 0.5625,
    pack: (engine, w, shape) =>
      engine.pack(engine.quantize(w, shape, schemes.mxfp4), { activations: "int8" }),
  },
};
const FLOAT = Object.keys(WAYS)[0];

/** The sizes of a row against 4-bit weights of onnxruntime-web, both hot. */
const FOUR_BITS = [
  [1024, 1024],
  [3072, 2048],
];

async function engineOf(variant) {
  try {
    const engine = await load({ variant });
    engine.activations({ values: new Float32Array(1), shape: [1, 1] }).free();
    return engine;
  } catch (error) {
    console.log(`${variant}: not on this host (${error.message.split("\n")[0]})`);
    return undefined;
  }
}

function measure(engine, variant, roofs, { m, n, k, cold = false }) {
  const w = values("normal", "f32", n * k);
  const x = { values: values("normal", "f32", m * k), shape: [m, k] };
  const out = new Float32Array(m * n);
  const all = [];
  const contestants = Object.fromEntries(
    Object.entries(WAYS).map(([name, { bytes, pack }]) => {
      const count = cold ? Math.ceil(COLD_BYTES / (n * k * bytes)) : 1;
      const packed = Array.from({ length: count }, () => pack(engine, w, [n, k]));
      all.push(...packed);
      let turn = 0;
      return [name, () => engine.gemm(x, packed[turn++ % count], { out })];
    }),
  );
  const peak = () => roofs[variant].peak(PEAK_TURNS, 1);
  const readBytes = cold ? COLD_BYTES : n * k;
  const seconds = interleave({ ...contestants, peak, read: () => read(roofs, readBytes) }, ROUNDS);
  for (const packed of all) packed.free();
  const operations = 2 * m * n * k;
  return Object.entries(WAYS).map(([way, { bytes }]) => ({
    variant,
    m,
    n,
    k,
    cold,
    way,
    gigaFlops: operations / median(seconds[way]) / 1e9,
    ofPeak: (operations / (PEAK_TURNS * PEAK_OPERATIONS)) * medianRatio(seconds.peak, seconds[way]),
    ofRead: ((n * k * bytes) / readBytes) * medianRatio(seconds.read, seconds[way]),
    ofFloat: medianRatio(seconds[FLOAT], seconds[way]),
  }));
}

/** Both have rounded the weights to four bits, each in its way. */
function checkNear(a, b) {
  const largest = a.reduce((most, y) => Math.max(most, Math.abs(y)), 0);
  const wrong = a.findIndex((y, i) => !(Math.abs(y - b[i]) < largest / 4));
  if (wrong >= 0) throw new Error(`4 bits: ${a[wrong]} and ${b[wrong]} at ${wrong}`);
}

/** How many times as fast a row of MXFP4 is as one of onnxruntime-web's MatMulNBits with 4 bits, by build and size. */
async function besideFourBits(engines) {
  if (!existsSync(new URL("node_modules/onnxruntime-web", import.meta.url))) {
    console.log("no peer: npm install --prefix bench");
    return [];
  }
  const { fourBitsOf } = await import("./peers/ort.mjs");
  const found = [];
  for (const [n, k] of FOUR_BITS) {
    const [w, x, out] = [values("normal", "f32", n * k), values("normal", "f32", k), new Float32Array(n)];
    const peer = await fourBitsOf(x, w, [1, n, k]);
    const packed = Object.entries(engines).map(([variant, engine]) => [
      variant,
      engine,
      WAYS.MXFP4.pack(engine, w, [n, k]),
    ]);
    const contestants = Object.fromEntries(
      packed.map(([variant, engine, four]) => [
        variant,
        () => engine.gemm({ values: x, shape: [1, k] }, four, { out }),
      ]),
    );
    checkNear(await peer.run(), Object.values(contestants)[0]());
    const seconds = await interleaveAwaited({ ...contestants, peer: peer.run }, ROUNDS, 0.02);
    for (const [variant, , four] of packed) {
      const timesFaster = medianRatio(seconds.peer, seconds[variant]);
      found.push({ variant, n, k, timesFaster });
      console.log(
        `${variant}, MXFP4, ${n}x${k}: ${timesFaster.toFixed(1)} times onnxruntime-web with 4 bits`,
      );
      four.free();
    }
    await peer.free();
  }
  return found;
}

/** That as a sentence. */
function fourBitsSentence(found) {
  if (found.length === 0) return "";
  const parts = found.map(
    ({ variant, n, k, timesFaster }) => `${timesFaster.toFixed(1)} times (${n}x${k}, ${variant})`,
  );
  return `\nA row of MXFP4 against onnxruntime-web's MatMulNBits with 4 bits, one thread: ${parts.join(", ")} as fast.\n`;
}

function table(records) {
  const names = Object.keys(WAYS);
  const variants = [...new Set(records.map(({ variant }) => variant))];
  const body = variants.flatMap((variant) =>
    WORKS.map(({ m, n, k, cold = false }) => {
      const of = (way) =>
        records.find(
          (r) => r.variant === variant && r.m === m && r.n === n && r.cold === cold && r.way === way,
        );
      const cells = names.map((way) => {
        const { gigaFlops, ofPeak, ofRead, ofFloat } = of(way);
        const share = m === 1 ? `${(100 * ofRead).toFixed(0)} % of reading` : `${ofPeak.toFixed(2)} of peak`;
        return `${gigaFlops.toFixed(0)} (${way === FLOAT ? "" : `${ofFloat.toFixed(2)}x, `}${share})`;
      });
      return [variant, `${n}x${k}${cold ? ", from memory" : ""}`, m, ...cells];
    }),
  );
  return markdownTable([["build", "weights", "M", ...names], ...body], {
    align: ["l", "l", "r", "r", "r", "r", "r"],
  });
}

/** The float path's record of so many rows, of the better build. */
const floatOf = (records, m, cold = false) =>
  records.find((r) => r.variant === records[0].variant && r.m === m && r.cold === cold && r.way === FLOAT);

/** Rows a second of four and eight rows of x against two, in the float path, and what they can be at most. */
function fewRows(records) {
  const [two, four, eight] = [2, 4, 8].map((m) => floatOf(records, m));
  const times = ({ gigaFlops }) => (gigaFlops / two.gigaFlops).toFixed(2);
  const most = (share) => (share / two.ofPeak).toFixed(2);
  return `In the float path, four rows of x at a time are ${times(four)} times as many a second as two, eight ${times(eight)} times (${two.variant}).
Two are at ${two.ofPeak.toFixed(2)} of the peak, so that the peak itself would be ${most(1)} times as many; four that share what is decoded, a fifth of what the multipliers do, ${most(0.8)} times.`;
}

/** How many times the float path a row from memory can be at most: as fast as its bytes are read. */
function coldRow(records) {
  const { ofRead } = floatOf(records, 1, true);
  const most = (way) => (1 / (WAYS[way].bytes * ofRead)).toFixed(2);
  return `From memory, where the float path reads at ${(100 * ofRead).toFixed(0)} % of the rate of reading, a row of int7 at all of it would be ${most("int7")} times as fast, one of MXFP4 ${most("MXFP4")} times.`;
}

/** x86 names the instruction; elsewhere only the ratio tells. */
function instruction() {
  try {
    const info = readFileSync("/proc/cpuinfo", "utf8");
    if (!/^flags/m.test(info)) return "";
    return /\bavx_vnni\b/.test(info)
      ? " It has AVX-VNNI: a dot of four bytes is one instruction."
      : " It has no AVX-VNNI (the AVX-512 form alone does not count): a dot of four bytes takes three instructions, and two planes cannot win.";
  } catch {
    return "";
  }
}

const variants = ["relaxed", "baseline"];
const roofs = roofsOf(variants);
const records = [];
const engines = {};
for (const variant of variants) {
  const engine = await engineOf(variant);
  if (engine === undefined) continue;
  engines[variant] = engine;
  console.log(`${variant}: "auto" is ${engine.fasterActivations}`);
  for (const work of WORKS) {
    const made = measure(engine, variant, roofs, work);
    records.push(...made);
    for (const { m, cold, way, gigaFlops, ofPeak, ofRead, ofFloat } of made)
      console.log(
        `  M ${m}${cold ? " cold" : ""} ${way.padEnd(18)} ${gigaFlops.toFixed(1).padStart(6)} GFLOP/s, ${ofPeak.toFixed(2)} of peak, ${ofRead.toFixed(2)} of reading, ${ofFloat.toFixed(2)}x`,
      );
  }
}
const fourBits = await besideFourBits(engines);
const where = origin(root);
if (!options.quick) {
  const round = (_key, value) =>
    typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
  const file = new URL(`bench/results/integers-${slug(where.machine.cpu)}.json`, root);
  writeFileSync(file, `${JSON.stringify({ origin: where, records, fourBits }, round, 1)}\n`);
  const page = new URL("docs/speed.md", root);
  const text = readFileSync(page, "utf8");
  const { machine, runtime, build, time } = where;
  const section = `One core of ${machine.cpu}; ${runtime.name} ${runtime.version}, commit ${build.commit}, ${time.slice(0, 10)}.${instruction()}
GFLOP/s through the API, rounding x included, and in brackets: against the float path; of the peak of float32 multiply-adds of the build, or for one row of the rate at which bytes are read.

${table(records)}

${fewRows(records)}

${coldRow(records)}
${fourBitsSentence(fourBits)}`;
  writeFileSync(
    page,
    `${text.slice(0, text.indexOf(START) + START.length)}\n${section}${text.slice(text.indexOf(END))}`,
  );
}
// onnxruntime-web leaves something running.
process.exit();
