// What many machines would make of DeepSeek-V3.1, on paper: node bench/simulation.mjs [--rate GB/s] [--seed N]
// The plan is the real one; machines, network and accidents are simulated.

import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

/** Numbers from 0 to 1, the same for the same seed. */
function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
}

/**
 * Bytes a second that each job gets of the storage: as much as its worker moves, where that is less than an equal share of what is left.
 * @param {number[]} rates of the workers that have a job
 * @param {number} storage bytes a second
 * @returns {number[]}
 */
export function shareStorage(rates, storage) {
  const given = new Array(rates.length).fill(0);
  let left = storage;
  const slowestFirst = rates.map((_, i) => i).sort((a, b) => rates[a] - rates[b]);
  slowestFirst.forEach((i, done) => {
    given[i] = Math.min(rates[i], left / (rates.length - done));
    left -= given[i];
  });
  return given;
}

/**
 * @typedef {object} Machines
 * @property {number} workers
 * @property {number} rate bytes a second that a worker reads and writes, together
 * @property {number} [storage] bytes a second that all of them together read and write; no limit if left out
 * @property {{ every: number, factor: number }} [slow] one worker of so many is so many times slower
 * @property {number} [meanLife] seconds until a worker dies, on average; it never does if left out
 * @property {number} [replacedAfter] seconds until another one stands in its place
 * @property {number} [stalledAfter] seconds until the job of a dead worker is given to another one
 * @property {number} [seed]
 */

/**
 * Lets workers do jobs. Each takes the first job of its list when it has none; a job whose worker died begins anew.
 * @param {number[][]} lists bytes of jobs, in the order in which they are taken: one list for all workers, as a queue is, or one for each
 * @param {Machines} machines
 * @returns {{ seconds: number, deaths: number, again: number, busy: number }} how long it takes; workers that died; jobs that were begun again; workers at work, on average
 */
export function simulate(lists, machines) {
  const { workers: count, rate, storage = Infinity, slow, meanLife = Infinity, seed = 1 } = machines;
  const { replacedAfter = 60, stalledAfter = 30 } = machines;
  const random = randomOf(seed);
  const life = () => -meanLife * Math.log(random());
  const waiting = lists.map((jobs) => [...jobs]);
  const workers = Array.from({ length: count }, (_, i) => ({
    list: waiting[i % lists.length],
    rate: slow !== undefined && i % slow.every === slow.every - 1 ? rate / slow.factor : rate,
    /** Bytes of the job, and those that are left; none where it has no job. */
    job: null,
    left: 0,
    diesAt: life(),
    backAt: null,
  }));
  /** Jobs of dead workers, which nobody has missed yet. */
  let lost = [];
  let unfinished = lists.flat().length;
  const result = { seconds: 0, deaths: 0, again: 0, busy: 0 };
  for (let now = 0; unfinished > 0; ) {
    for (const worker of workers) {
      if (worker.job !== null || worker.backAt !== null || worker.list.length === 0) continue;
      worker.job = worker.list.shift();
      worker.left = worker.job;
    }
    const active = workers.filter(({ job }) => job !== null);
    const rates = shareStorage(
      active.map((worker) => worker.rate),
      storage,
    );
    const next = Math.min(
      ...active.map(({ left }, i) => now + left / rates[i]),
      ...workers.map(({ diesAt, backAt }) => backAt ?? diesAt),
      ...lost.map(({ at }) => at),
    );
    active.forEach((worker, i) => {
      worker.left = now + worker.left / rates[i] <= next ? 0 : worker.left - rates[i] * (next - now);
    });
    result.busy += active.length * (next - now);
    now = next;
    for (const worker of active) {
      if (worker.left > 0) continue;
      worker.job = null;
      unfinished--;
    }
    for (const { job, list } of lost.filter(({ at }) => at <= now)) list.unshift(job);
    lost = lost.filter(({ at }) => at > now);
    for (const worker of workers) {
      if (worker.backAt !== null) {
        if (worker.backAt > now) continue;
        worker.backAt = null;
        worker.diesAt = now + life();
      } else if (worker.diesAt <= now) {
        result.deaths++;
        if (worker.job !== null) {
          result.again++;
          lost.push({ job: worker.job, list: worker.list, at: now + stalledAfter });
        }
        worker.job = null;
        worker.backAt = now + replacedAfter;
      }
    }
    result.seconds = now;
  }
  result.busy /= result.seconds || 1;
  return result;
}

/** Bytes that an output file reads and writes. */
function trafficOf({ size, steps }) {
  const places = steps.flatMap((step) =>
    step.kind === "copy" ? [step.from] : [step.conversion.from.codes, step.conversion.from.scales],
  );
  return size + places.reduce((sum, { start, end }) => sum + end - start, 0);
}

async function main() {
  const { values } = parseArgs({
    options: { rate: { type: "string", default: "0.4" }, seed: { type: "string", default: "1" } },
  });
  const { markdownTable } = await import("markdown-table");
  const { openCheckpoint, planDequantize } = await import("../dist/checkpoint/index.js");
  const { filesOfPart } = await import("../dist/jobs/parts.js");
  const { deepseekFiles } = await import("./deepseek.mjs");
  const { checkpoint } = await openCheckpoint(deepseekFiles());
  const started = performance.now();
  const { files, tensors } = planDequantize(checkpoint, { dtype: "bf16" });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const total = (sizes) => (sizes.reduce((a, b) => a + b, 0) / 1e9).toFixed(0);
  const sizes = files.map(({ size }) => size);
  const traffic = files.map(trafficOf);
  console.log(
    `${tensors.length} weights in ${files.length} files planned in ${seconds} s: ${total(sizes)} GB to write, ${total(traffic)} GB to read and write,`,
  );
  console.log(
    `largest file ${(Math.max(...sizes) / 1e9).toFixed(1)} GB. A worker moves ${values.rate} GB/s. Seconds:\n`,
  );

  const base = { rate: Number(values.rate) * 1e9, seed: Number(values.seed) };
  const queue = [[...traffic].sort((a, b) => b - a)];
  const parts = (of) =>
    Array.from({ length: of }, (_, i) =>
      filesOfPart(files, { part: i + 1, of }).map((file) => trafficOf(file)),
    );
  const slow = { every: 20, factor: 4 };
  const scenarios = [
    ["queue, storage 1.25 GB/s", () => queue, { storage: 1.25e9 }],
    ["queue, storage 12.5 GB/s", () => queue, { storage: 12.5e9 }],
    ["queue, storage without limit", () => queue, {}],
    ["one worker of 20 four times slower", () => queue, { slow }],
    ["the same, without a queue (`--part`)", parts, { slow }],
    ["each worker dies every 20 minutes", () => queue, { meanLife: 1200 }],
  ];
  const counts = [1, 10, 100, 163, 1000];
  const rows = scenarios.map(([name, listsOf, machines]) => [
    name,
    ...counts.map((workers) => {
      const { seconds, again } = simulate(listsOf(workers), { ...base, ...machines, workers });
      return `${seconds.toFixed(0)}${again === 0 ? "" : ` (${again} again)`}`;
    }),
  ]);
  console.log(markdownTable([["workers", ...counts.map(String)], ...rows]));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main();
