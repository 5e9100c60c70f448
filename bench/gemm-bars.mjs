// The bars of matrix products in docs/speed.md: see bars.mjs.

import { reached } from "./bars.mjs";
import { median } from "./measure.mjs";

const ORT = ["ort MatMul", "ort Gemm"];
const BUILDS = ["relaxed", "baseline"];

const percent = (x) => `${(100 * x).toFixed(0)} %`;
const times = (x) => `${x.toPrecision(3)}x`;
const speed = (x) => x.toFixed(1);

/** Records of 128x128 blocks and float32 x without many subnormal codes, unless something else is wanted. */
function select(records, wanted) {
  const all = { scheme: "128x128", operands: "W8A32", cold: false, subnormals: undefined, ...wanted };
  return records.filter((record) => Object.entries(all).every(([key, value]) => record[key] === value));
}

/** The least of what `figure` makes of each product that `isMeant`; undefined where one is missing. */
const lowest =
  (contestant, isMeant, figure, wanted = {}) =>
  (records) => {
    const figures = select(records, { contestant, ...wanted })
      .filter(isMeant)
      .map((record) => figure(record, records));
    return figures.length === 0 || figures.includes(undefined) ? undefined : Math.min(...figures);
  };

/** How many times as fast as the fastest of these peers; undefined where none was measured. */
export const against =
  (peers) =>
  ({ timesFaster = {} }) => {
    const ratios = peers.flatMap((name) => timesFaster[name] ?? []);
    return ratios.length === 0 ? undefined : Math.min(...ratios);
  };

/** What is kept of the speed of 128x128 blocks, or of weights without subnormal codes. */
const ofBeside = ({ ofBeside }) => ofBeside;

const is =
  (...shape) =>
  ({ n, k }) =>
    shape.includes(`${n}x${k}`);
const isSquare = is("2048x2048");
const isTall = (record) => isSquare(record) && record.m >= 64;
const few = (record) => isSquare(record) && record.m >= 2 && record.m <= 8;

/** At 3.7 GHz, two fused multiply-adds of four lanes a cycle. */
const PEAK_AT_37 = 3.7 * 2 * 4 * 2;

/** 10^9 weights a second, as if the clock were 3.7 GHz: the peak that was measured beside it tells what it was. */
function weights({ m, n, k, seconds }, records) {
  const [fused] = select(records, { contestant: "relaxed", m, n, k });
  return fused && ((n * k) / seconds / 1e9) * (PEAK_AT_37 / fused.peak);
}

/** What products set out to reach: the floor of a good implementation, and the goal. */
const BARS = [
  ...BUILDS.map((build) => ({
    work: `M >= 64, 2048x2048, ${build}: of the measured peak of ${build === "relaxed" ? "fused multiply-adds" : "multiplications beside additions"}`,
    ...(build === "relaxed" ? { floor: 0.85, goal: 0.92 } : { floor: 0.8, goal: 0.88 }),
    show: percent,
    reached: lowest(build, isTall, ({ ofPeak }) => ofPeak),
  })),
  {
    work: "M >= 64, 2048x2048, against onnxruntime-web in float32",
    ...{ floor: 1.55, goal: 1.75, show: times },
    reached: lowest("relaxed", isTall, against(ORT)),
  },
  {
    work: "M = 16, 2048x2048, against the same",
    ...{ floor: 1.35, goal: 1.6, show: times },
    reached: lowest("relaxed", (record) => isSquare(record) && record.m === 16, against(ORT)),
  },
  {
    work: "M = 2 to 8, 2048x2048, against the same",
    ...{ floor: 1, goal: 1.5, show: times },
    reached: lowest("relaxed", few, against(ORT)),
  },
  ...BUILDS.map((build) => ({
    work: `M = 1, 2048x2048, ${build}: 10^9 weights a second at 3.7 GHz`,
    ...(build === "relaxed" ? { floor: 13, goal: 17 } : { floor: 10, goal: 13 }),
    show: speed,
    reached: lowest(build, (record) => isSquare(record) && record.m === 1, weights),
  })),
  {
    work: "M = 1, 4096x4096, weights in no cache: of the rate at which memory is read",
    ...{ floor: 0.4, goal: 0.6, show: percent },
    reached: lowest(
      "relaxed",
      () => true,
      ({ ofRead }) => ofRead,
      { cold: true },
    ),
  },
  {
    work: "M = 1, 4096x4096, weights in no cache, two threads: of the rate at which one thread reads",
    ...{ floor: 0.8, goal: 0.95, show: percent },
    reached: lowest(
      "two threads",
      () => true,
      ({ ofRead }) => ofRead,
      { cold: true },
    ),
  },
  {
    work: "M = 1, 4096x4096, against onnxruntime-web in float32",
    ...{ floor: 2.2, goal: 3, show: times },
    reached: lowest("relaxed", (record) => record.m === 1 && is("4096x4096")(record), against(ORT)),
  },
  {
    work: "M = 1, other sizes, against the same",
    ...{ floor: 1.25, goal: 1.8, show: times },
    reached: lowest("relaxed", (record) => record.m === 1 && !is("4096x4096")(record), against(ORT)),
  },
  {
    work: "M = 1, against onnxruntime-web with 8-bit weights",
    ...{ floor: 20, goal: 40, show: times },
    reached: lowest("relaxed", ({ m }) => m === 1, against(["ort MatMulNBits"])),
  },
  {
    work: "1x32 blocks, M >= 16: of the speed of 128x128",
    ...{ floor: 0.95, goal: 0.99, show: percent },
    reached: lowest("relaxed", (record) => isSquare(record) && record.m >= 16, ofBeside, { scheme: "1x32" }),
  },
  {
    work: "1x32 blocks, M = 1: of the speed of 128x128",
    ...{ floor: 0.8, goal: 0.92, show: percent },
    reached: lowest("relaxed", (record) => isSquare(record) && record.m === 1, ofBeside, { scheme: "1x32" }),
  },
  {
    work: "two threads, M >= 64, 2048x2048: of one",
    ...{ floor: 1.8, goal: 1.95, show: times },
    reached: lowest("two threads", isTall, ({ ratio }) => ratio),
  },
  {
    work: "two threads, M = 1, 4096x4096: of one",
    ...{ floor: 1.6, goal: 1.9, show: times },
    reached: lowest(
      "two threads",
      ({ m }) => m === 1,
      ({ ratio }) => ratio,
    ),
  },
];

/** The share of the peak of fused multiply-adds at which onnxruntime-web is for many rows of x. */
export function peerOfPeak(records) {
  const ours = select(records, { contestant: "relaxed" }).filter(isTall);
  return median(ours.map((record) => record.ofPeak / against(ORT)(record)));
}

/** Each bar with what the records say, those of two threads among them. */
export function reachedBars(records) {
  return BARS.map((bar) => reached(bar, records));
}
