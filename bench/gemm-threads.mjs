// node bench/gemm-threads.mjs [rounds]: how many times faster two threads are than one, each through its API with packed weights,
// and how far that is from reading the same bytes in one thread.
// Wall time, side by side; the records are printed as JSON.
import { load, schemes } from "../dist/index.js";
import { values } from "./data.mjs";
import { median, medianRatio } from "./measure.mjs";
import { COLD_BYTES, read, roofsOf } from "./roofs.mjs";

const WORKS = [
  { m: 1, n: 4096, k: 4096 },
  { m: 1, n: 4096, k: 4096, cold: true },
  { m: 64, n: 2048, k: 2048 },
  { m: 256, n: 2048, k: 2048 },
];
const SAMPLE_MILLISECONDS = 150;
/** Two threads and the messages between them take a second until all of it is compiled as well as it will be. */
const COMPILE_MILLISECONDS = 1000;
/** A core that had nothing to do takes some calls until it is at its speed again. */
const WARM_MILLISECONDS = 50;

async function sample(run, calls) {
  const start = performance.now();
  for (let i = 0; i < calls; i++) await run();
  return (performance.now() - start) / calls;
}

/** One thread, two, and the reading of as many bytes by one, in turn. */
async function ratioOf(one, two, roofs, { m, n, k, cold = false }, rounds) {
  const w = one.quantize(values("normal", "f32", n * k), [n, k], schemes.deepseekWeight);
  const copies = cold ? COLD_BYTES / (n * k) : 1;
  const packed = [[], []];
  for (let i = 0; i < copies; i++) {
    packed[0].push(one.pack(w));
    packed[1].push(await two.pack(w));
  }
  let turn = 0;
  const x = { values: values("normal", "f32", m * k), shape: [m, k] };
  const out = new Float32Array(m * n);
  const runs = [
    ...[one, two].map((engine, i) => () => engine.gemm(x, packed[i][turn++ % copies], { out })),
    () => read(roofs, n * k * copies),
  ];
  const once = await sample(runs[0], 10);
  const [first, warm, calls] = [COMPILE_MILLISECONDS, WARM_MILLISECONDS, SAMPLE_MILLISECONDS].map((ms) =>
    Math.ceil(ms / once),
  );
  for (const run of runs.slice(0, 2)) await sample(run, first);
  const times = [[], [], []];
  for (let round = 0; round < rounds; round++) {
    for (const i of round % 2 ? [2, 1, 0] : [0, 1, 2]) {
      // Reading takes all of the weights at once.
      const share = i === 2 ? copies : 1;
      await sample(runs[i], Math.ceil(warm / share));
      times[i].push((await sample(runs[i], Math.ceil(calls / share))) / share);
    }
  }
  for (const weights of packed.flat()) await weights.free();
  const [alone, shared, reading] = times;
  return {
    ...{ m, n, k, scheme: "128x128", operands: "W8A32", cold, contestant: "two threads" },
    seconds: median(shared) / 1000,
    ratio: medianRatio(alone, shared),
    ...(cold && { ofRead: medianRatio(reading, shared) }),
  };
}

/** A record for each product; about half a minute. */
async function threadRecords(rounds) {
  const one = await load();
  const two = await load({ threads: 2 });
  const roofs = roofsOf([one.variant]);
  const records = [];
  for (const work of WORKS) {
    const record = await ratioOf(one, two, roofs, work, rounds);
    records.push(record);
    const { m, n, k, cold, ratio, ofRead } = record;
    const more = cold ? `, cold, ${(100 * ofRead).toFixed(0)} % of the read rate` : "";
    console.error(`two threads, M ${m}, ${n}x${k}${more}: ${ratio.toFixed(2)} times one`);
  }
  await two.close();
  return records;
}

console.log(JSON.stringify(await threadRecords(Number(process.argv[2] ?? 15))));
