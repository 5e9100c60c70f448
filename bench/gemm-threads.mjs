// node bench/gemm-threads.mjs [rounds]: how many times faster two threads are than one, each through its API with packed weights.
// Wall time, side by side; the records are printed as JSON.
import { load, schemes } from "../dist/index.js";
import { values } from "./data.mjs";
import { median } from "./measure.mjs";

/** The bars: 1.8 times for M of 64 and more, 1.6 times for one row. */
const WORKS = [
  { m: 1, n: 4096, k: 4096 },
  { m: 64, n: 2048, k: 2048 },
  { m: 256, n: 2048, k: 2048 },
];
const SAMPLE_MILLISECONDS = 150;
/** A core that had nothing to do takes some calls until it is at its speed again. */
const WARM_MILLISECONDS = 50;

async function sample(run, calls) {
  const start = performance.now();
  for (let i = 0; i < calls; i++) await run();
  return (performance.now() - start) / calls;
}

async function ratioOf(one, two, { m, n, k }, rounds) {
  const w = one.quantize(values("normal", "f32", n * k), [n, k], schemes.deepseekWeight);
  const packed = [one.pack(w), await two.pack(w)];
  const x = { values: values("normal", "f32", m * k), shape: [m, k] };
  const out = new Float32Array(m * n);
  const runs = [() => one.gemm(x, packed[0], { out }), () => two.gemm(x, packed[1], { out })];
  for (const run of runs) await sample(run, 10);
  const once = await sample(runs[0], 3);
  const [warm, calls] = [WARM_MILLISECONDS, SAMPLE_MILLISECONDS].map((ms) => Math.ceil(ms / once));
  const times = [[], []];
  for (let round = 0; round < rounds; round++) {
    for (const i of round % 2 ? [1, 0] : [0, 1]) {
      await sample(runs[i], warm);
      times[i].push(await sample(runs[i], calls));
    }
  }
  packed[0].free();
  await packed[1].free();
  const [alone, shared] = times.map(median);
  return { m, n, k, milliseconds: alone, ofTwo: shared, ratio: alone / shared };
}

/** A record for each product; about twenty seconds. */
async function threadRecords(rounds) {
  const one = await load();
  const two = await load({ threads: 2 });
  const records = [];
  for (const work of WORKS) {
    const record = await ratioOf(one, two, work, rounds);
    records.push(record);
    const { m, n, k, ratio } = record;
    console.error(`two threads, M ${m}, ${n}x${k}: ${ratio.toFixed(2)} times one`);
  }
  await two.close();
  return records;
}

console.log(JSON.stringify(await threadRecords(Number(process.argv[2] ?? 15))));
