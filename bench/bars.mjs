// The bars of docs/speed.md: what is asked for, as floor and goal, and what the newest results reach.

import { SIZES } from "./workloads.mjs";

const L2 = SIZES["256 KiB"];
const L3 = SIZES["8 MiB"];
const MEMORY = SIZES["256 MiB"];

/** The record of a work and contestant; `kernel` and `api` stand for the best build measured. */
function find(records, contestant, wanted) {
  const matches = records.filter(
    (record) =>
      record.contestant.startsWith(contestant) &&
      (record.isPaired ?? false) === (wanted.isPaired ?? false) &&
      Object.entries({ data: "normal", ...wanted }).every(([key, value]) => record[key] === value),
  );
  return matches.sort((a, b) => a.seconds - b.seconds)[0];
}

const ofCopy = (contestant, wanted) => (records) => find(records, contestant, wanted)?.ofCopy;

const timesFaster = (contestant, than, wanted) => (records) => {
  const [ours, theirs] = [find(records, contestant, wanted), find(records, than, wanted)];
  return ours && theirs && theirs.seconds / ours.seconds;
};

const lowest =
  (...parts) =>
  (records) => {
    const numbers = parts.map((part) => part(records));
    return numbers.includes(undefined) ? undefined : Math.min(...numbers);
  };

const dequantize = (type, bytes) => ({ verb: "dequantize", type, block: "1x128", bytes });
const quantize = (block, bytes) => ({ verb: "quantize", type: "f32", block, bytes });
const subnormal = (verb) => (records) =>
  find(records, "kernel", { verb, data: "subnormal", isPaired: true })?.ofFirst;

const percent = (x) => `${(100 * x).toFixed(0)} %`;
const times = (x) => `${x.toFixed(1)}x`;

/** What this package sets out to reach: the floor of a good implementation, and the goal. */
export const BARS = [
  {
    work: "dequantise to f32 or bf16, 1x128, 256 MiB: kernel, of memory.copy of the same bytes",
    ...{ floor: 0.75, goal: 0.95, show: percent },
    reached: lowest(
      ofCopy("kernel", dequantize("f32", MEMORY)),
      ofCopy("kernel", dequantize("bf16", MEMORY)),
    ),
  },
  {
    work: "the same, 8 MiB",
    ...{ floor: 0.38, goal: 0.6, show: percent },
    reached: lowest(ofCopy("kernel", dequantize("f32", L3)), ofCopy("kernel", dequantize("bf16", L3))),
  },
  {
    work: "the same, 256 KiB",
    ...{ floor: 0.15, goal: 0.25, show: percent },
    reached: lowest(ofCopy("kernel", dequantize("f32", L2)), ofCopy("kernel", dequantize("bf16", L2))),
  },
  {
    work: "dequantise to f32, 1x128, 8 MiB: API, of memory.copy",
    ...{ floor: 0.2, goal: 0.35, show: percent },
    reached: ofCopy("api", dequantize("f32", L3)),
  },
  {
    work: "the same, against plain JavaScript (a table and a multiplication)",
    ...{ floor: 6, goal: 10, show: times },
    reached: timesFaster("api", "js arithmetic", dequantize("f32", L3)),
  },
  {
    work: "the same, the result kept in the engine's memory",
    ...{ floor: 6, goal: 10, show: times },
    reached: timesFaster("resident", "js arithmetic", dequantize("f32", L3)),
  },
  {
    work: "quantise f32, 1x32 and 1x128, 256 MiB: kernel, of memory.copy of the same bytes",
    ...{ floor: 0.45, goal: 0.65, show: percent },
    reached: lowest(ofCopy("kernel", quantize("1x32", MEMORY)), ofCopy("kernel", quantize("1x128", MEMORY))),
  },
  {
    work: "the same, 8 MiB",
    ...{ floor: 0.2, goal: 0.3, show: percent },
    reached: lowest(ofCopy("kernel", quantize("1x32", L3)), ofCopy("kernel", quantize("1x128", L3))),
  },
  {
    work: "quantise f32, 1x32 and 1x128, 8 MiB: API, against plain JavaScript (integer arithmetic)",
    ...{ floor: 10, goal: 18, show: times },
    reached: lowest(
      timesFaster("api", "js arithmetic", quantize("1x32", L3)),
      timesFaster("api", "js arithmetic", quantize("1x128", L3)),
    ),
  },
  {
    work: "1 % subnormal codes against none, 8 MiB, 1x128: kernel, speed kept, both ways",
    ...{ floor: 0.95, goal: 1, show: percent },
    reached: lowest(subnormal("quantize"), subnormal("dequantize")),
  },
];

/** A bar with what the records say. */
export function reached({ work, floor, goal, show, reached: measure }, records) {
  const ratio = measure(records);
  return {
    work,
    floor: show(floor),
    goal: show(goal),
    reached: ratio === undefined ? "not measured" : show(ratio),
    verdict: ratio === undefined ? "-" : ratio >= goal ? "goal" : ratio >= floor ? "floor" : "below",
  };
}

/** Each bar of casts and quantisation with what the records say. */
export function reachedBars(records) {
  return BARS.map((bar) => reached(bar, records));
}
