// Products: node bench/gemm.mjs [--quick]; part of `npm run bench`. The peers are those of bench/package.json:
// npm install --prefix bench. Writes bench/results/gemm-MACHINE.json, and the tables and the plot of docs/speed.md.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { load, schemes } from "../dist/index.js";
import { codesWithSubnormals, values } from "./data.mjs";
import { reachedBars } from "./gemm-bars.mjs";
import { origin, slug } from "./machine.mjs";
import { interleaveAwaited, median, medianRatio } from "./measure.mjs";
import { COLD_BYTES, PEAK_OPERATIONS, PEAK_TURNS, read, roofsOf } from "./roofs.mjs";

const root = new URL("../", import.meta.url);
const { values: options } = parseArgs({ options: { quick: { type: "boolean", default: false } } });

const SHAPES = [
  [2048, 2048],
  [7168, 2048],
  [576, 7168],
];
const ROWS = options.quick ? [1, 4, 16, 64, 256] : [1, 2, 4, 8, 16, 64, 256, 512];
/** What all schemes and W8A8 are measured with; the peers meet 128x128 with float32 alone. */
const FEW_ROWS = [1, 16, 256];
/** Shares of subnormal codes, which many processors multiply slowly. */
const SUBNORMALS = [0.001, 0.01, 0.05];
const SCHEMES = { "128x128": schemes.deepseekWeight, "1x32": schemes.mxfp8 };
const ROUNDS = options.quick ? 5 : 15;
const SAMPLE_SECONDS = options.quick ? 0.01 : 0.02;

async function enginesOf() {
  const engines = {};
  for (const variant of ["relaxed", "baseline"]) {
    try {
      engines[variant] = await load({ variant });
    } catch {
      console.log(`${variant}: not on this host`);
    }
  }
  return engines;
}

const engines = await enginesOf();
const roofs = roofsOf(Object.keys(engines));
const peers = existsSync(new URL("node_modules/onnxruntime-web", import.meta.url))
  ? await import("./gemm-peers.mjs")
  : undefined;
if (!peers) console.log("no peers: npm install --prefix bench");

/**
 * What is measured: every scheme and kind of operands at every shape, one row against the most weights, hot and cold, and weights
 * with subnormal codes.
 */
function* works() {
  for (const [n, k] of options.quick ? SHAPES.slice(0, 1) : SHAPES) {
    for (const scheme of Object.keys(SCHEMES)) {
      for (const operands of ["W8A32", "W8A8"]) {
        const withPeers = scheme === "128x128" && operands === "W8A32";
        for (const m of withPeers ? ROWS : FEW_ROWS)
          yield { m, n, k, scheme, operands, cold: false, withPeers };
      }
    }
  }
  for (const cold of [false, true]) {
    yield { m: 1, n: 4096, k: 4096, scheme: "128x128", operands: "W8A32", cold, withPeers: !cold };
  }
  const [n, k] = SHAPES[0];
  for (const m of FEW_ROWS) {
    for (const subnormals of SUBNORMALS)
      yield { m, n, k, scheme: "128x128", operands: "W8A32", cold: false, subnormals, withPeers: false };
  }
}

/** What is measured beside products to compare them with, and has no record of its own. */
const isReference = (name) => /^peak|^read|^beside/.test(name);

/** What a product is compared with but for peers: without subnormal codes, or in blocks of 128x128. */
function besideOf({ n, k, scheme, operands, subnormals }, w, engine) {
  if (subnormals) return engine.quantize(values("clean", "f32", n * k), [n, k], SCHEMES[scheme]);
  if (scheme !== "128x128" && operands === "W8A32") return engine.quantize(w, [n, k], SCHEMES["128x128"]);
  return undefined;
}

/** Engines, roofs and peers on one product. */
async function contestantsOf(work) {
  const { m, n, k, scheme, operands, cold, subnormals = 0, withPeers } = work;
  const w = values("normal", "f32", n * k);
  const x = values("normal", "f32", m * k);
  const some = Object.values(engines)[0];
  const tensor = some.quantize(w, [n, k], SCHEMES[scheme]);
  if (subnormals) tensor.codes.set(codesWithSubnormals(tensor.codes, subnormals));
  const beside = besideOf(work, w, some);
  const left =
    operands === "W8A8"
      ? some.quantize(x, [m, k], scheme === "1x32" ? schemes.mxfp8 : schemes.deepseekActivation)
      : { values: x, shape: [m, k] };
  const out = new Float32Array(m * n);
  const contestants = {};
  const releases = [];
  const multiplyBy = (engine, record) => {
    const packed = Array.from({ length: cold ? COLD_BYTES / (n * k) : 1 }, () => engine.pack(record));
    releases.push(() => {
      for (const weights of packed) weights.free();
    });
    let turn = 0;
    return () => engine.gemm(left, packed[turn++ % packed.length], { out });
  };
  for (const [variant, engine] of Object.entries(engines)) {
    contestants[variant] = multiplyBy(engine, tensor);
    contestants[`peak ${variant}`] = () => roofs[variant].peak(PEAK_TURNS, 1);
    if (beside) contestants[`beside ${variant}`] = multiplyBy(engine, beside);
  }
  contestants.read = () => read(roofs, cold ? COLD_BYTES : n * k);
  if (withPeers && peers) {
    const all = await peers.peersOf(x, some.dequantize(tensor), tensor, [m, n, k], m <= 16);
    for (const [name, { run, free }] of Object.entries(all)) {
      contestants[name] = run;
      releases.push(free);
    }
    await verify(contestants, out);
  }
  return { contestants, release: () => Promise.all(releases.map((free) => free())) };
}

/** All of them multiply the same numbers. MatMulNBits has rounded the weights again. */
async function verify(contestants, out) {
  const first = Object.keys(contestants)[0];
  await contestants[first]();
  const want = out.slice();
  const size = want.reduce((most, y) => Math.max(most, Math.abs(y)), 0);
  for (const [name, run] of Object.entries(contestants)) {
    if (isReference(name)) continue;
    const got = await run();
    const limit = name === "ort MatMulNBits" ? 0.05 * size : 1e-4 * size;
    const wrong = got.findIndex((y, i) => !(Math.abs(y - want[i]) <= limit));
    if (wrong >= 0) throw new Error(`${name} disagrees at ${wrong}: ${got[wrong]} and ${want[wrong]}`);
  }
}

function recordsOf(work, seconds) {
  const { m, n, k, cold } = work;
  const operations = 2 * m * n * k;
  const peakOperations = PEAK_TURNS * PEAK_OPERATIONS;
  const contestants = Object.keys(seconds).filter((name) => !isReference(name));
  return contestants.map((contestant) => {
    const times = seconds[contestant];
    const isOurs = contestant in engines;
    // Of the peak of the build's own kind of multiply-add, fused or not; of the better build's with peers.
    const peak = seconds[`peak ${isOurs ? contestant : Object.keys(engines)[0]}`];
    const beside = seconds[`beside ${contestant}`];
    const peers = isOurs ? contestants.filter((name) => !(name in engines)) : [];
    return {
      ...work,
      contestant,
      seconds: median(times),
      gigaFlops: operations / median(times) / 1e9,
      ofPeak: (operations / peakOperations) * medianRatio(peak, times),
      ofRead: ((n * k) / (cold ? COLD_BYTES : n * k)) * medianRatio(seconds.read, times),
      ...(isOurs && { peak: peakOperations / median(peak) / 1e9 }),
      ...(beside && { ofBeside: medianRatio(beside, times) }),
      ...(peers.length > 0 && {
        timesFaster: Object.fromEntries(peers.map((name) => [name, medianRatio(seconds[name], times)])),
      }),
    };
  });
}

const records = [];
for (const { withPeers, ...work } of works()) {
  const { contestants, release } = await contestantsOf({ ...work, withPeers });
  const made = recordsOf(work, await interleaveAwaited(contestants, ROUNDS, SAMPLE_SECONDS));
  await release();
  records.push(...made);
  console.log(
    `M ${work.m}, ${work.n}x${work.k}, ${work.scheme}, ${work.operands}${work.cold ? ", cold" : ""}${work.subnormals ? `, ${100 * work.subnormals} % subnormal` : ""}`,
  );
  for (const { contestant, gigaFlops, ofPeak, ofRead, ofBeside } of made) {
    console.log(
      `  ${contestant.padEnd(16)} ${gigaFlops.toFixed(1).padStart(6)} GFLOP/s ${(100 * ofPeak).toFixed(0).padStart(4)} % of peak ${(100 * ofRead).toFixed(0).padStart(4)} % of read${ofBeside ? ` ${(100 * ofBeside).toFixed(0).padStart(4)} % of the one beside` : ""}`,
    );
  }
}
// In a process of its own: the peers of this one leave threads behind that wait for work.
const threads = JSON.parse(
  execFileSync(process.execPath, ["bench/gemm-threads.mjs", options.quick ? "5" : "15"], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  }),
);
for (const { verdict, reached, floor, goal, work } of reachedBars([...records, ...threads])) {
  console.log(`${verdict.padEnd(6)} ${reached.padStart(12)}  (floor ${floor}, goal ${goal})  ${work}`);
}
const results = new URL("results/", import.meta.url);
mkdirSync(results, { recursive: true });
const round = (_key, value) =>
  typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
const where = origin(root);
const file = new URL(options.quick ? "quick.json" : `gemm-${slug(where.machine.cpu)}.json`, results);
writeFileSync(file, `${JSON.stringify({ origin: where, records, threads }, round, 1)}\n`);
if (!options.quick) {
  const { updateReadme } = await import("./gemm-tables.mjs");
  if (await updateReadme(root, where.machine.cpu))
    console.log("docs/speed.md: table and plot of products updated");
}
// onnxruntime-web leaves something running.
process.exit();
