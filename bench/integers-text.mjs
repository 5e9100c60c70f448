// What bench/integers.mjs has measured, as the table and sentences of docs/speed.md.
import { readFileSync } from "node:fs";
import { markdownTable } from "markdown-table";

/** Bytes of a weight, by the name of a way to keep it. */
export const BYTES = { "FP8, float32 x": 1, "FP8 in two planes": 1, int7: 1.125, MXFP4: 0.5625 };

export const [FLOAT, PLANES] = Object.keys(BYTES);

const percent = (share) => `${(100 * share).toFixed(0)} %`;
const times = (ratio) => ratio.toFixed(2);

/** What is measured of one build and one matrix, by the way. */
function byWork(records) {
  const works = new Map();
  for (const record of records) {
    const { variant, m, n, k, cold } = record;
    const key = JSON.stringify([variant, m, n, k, cold]);
    works.set(key, { ...works.get(key), [record.way]: record });
  }
  return [...works.values()];
}

function cellOf({ way, m, gigaFlops, ofPeak, ofRead, ofFloat }) {
  const share = m === 1 ? `${percent(ofRead)} of reading` : `${times(ofPeak)} of peak`;
  return `${gigaFlops.toFixed(0)} (${way === FLOAT ? "" : `${times(ofFloat)}x, `}${share})`;
}

function table(records) {
  const names = Object.keys(BYTES);
  const body = byWork(records).map((of) => {
    const { variant, m, n, k, cold } = of[FLOAT];
    return [variant, `${n}x${k}${cold ? ", from memory" : ""}`, m, ...names.map((way) => cellOf(of[way]))];
  });
  return markdownTable([["build", "weights", "M", ...names], ...body], {
    align: ["l", "l", "r", "r", "r", "r", "r"],
  });
}

/** The record of so many rows and a way, of the better build. */
const recordOf = (records, m, way, cold = false) =>
  records.find((r) => r.variant === records[0].variant && r.m === m && r.cold === cold && r.way === way);

/** Rows a second of four and eight rows of x against two, in the float path, and what they can be at most. */
function fewRows(records) {
  const [two, four, eight] = [2, 4, 8].map((m) => recordOf(records, m, FLOAT));
  const most = (share) => times(share / two.ofPeak);
  const than = ({ gigaFlops }) => times(gigaFlops / two.gigaFlops);
  return `In the float path, four rows of x at a time are ${than(four)} times as many a second as two, eight ${than(eight)} times (${two.variant}).
Two are at ${times(two.ofPeak)} of the peak, so that the peak itself would be ${most(1)} times as many.`;
}

/** How near to the rate of reading one row from memory is, and how many times the float path that can be at most. */
function coldRow(records) {
  const float = recordOf(records, 1, FLOAT, true);
  const of = (way) => {
    const { ofRead, ofFloat } = recordOf(records, 1, way, true);
    const most = 1 / (BYTES[way] * float.ofRead);
    return `${way}, ${BYTES[way]} bytes a weight, at ${percent(ofRead)}: ${times(ofFloat)} times the float path, of ${times(most)} that it would be at the whole rate`;
  };
  return `One row from memory: the float path, a byte a weight, reads at ${percent(float.ofRead)} of the rate of reading; ${of("int7")}; ${of("MXFP4")}.`;
}

function fourBitsSentence(found) {
  if (found.length === 0) return "";
  const parts = found.map(
    ({ variant, n, k, timesFaster }) => `${timesFaster.toFixed(1)} times (${n}x${k}, ${variant})`,
  );
  return `\nA row of MXFP4 against onnxruntime-web's MatMulNBits with 4 bits, one thread: ${parts.join(", ")} as fast.\n`;
}

function floatSentence(found) {
  if (found.length === 0) return "";
  const parts = found.map(({ m, timesFaster }) => `${times(timesFaster)} times for ${m} rows`);
  return `\nFP8 in two planes against onnxruntime-web in float32 (the better of MatMul and Gemm), 2048x2048, one thread: ${parts.join(", ")}.\n`;
}

/** What other CPUs do. */
function withoutDots(records) {
  if (records.length === 0) return "";
  const parts = records
    .filter(({ way }) => way === "int7")
    .map(
      ({ m, ofFloat }) =>
        `${times(ofFloat)} times the float path for ${m === 1 ? "one row in a cache" : `${m} rows`}`,
    );
  return `\nThe same without AVX-VNNI (V8's \`--no-enable-avx-vnni\`): int7 is ${parts.join(", ")}.\n`;
}

/** Whether an x86 processor names the instruction; undefined elsewhere, where only the ratio tells. */
export function hasAvxVnni() {
  try {
    const info = readFileSync("/proc/cpuinfo", "utf8");
    return /^flags/m.test(info) ? /\bavx_vnni\b/.test(info) : undefined;
  } catch {
    return undefined;
  }
}

function instruction() {
  const has = hasAvxVnni();
  if (has === undefined) return "";
  return has
    ? " It has AVX-VNNI: a dot of four bytes is one instruction (V8 of Node 24 uses it, that of Node 22 does not)."
    : " It has no AVX-VNNI (the AVX-512 form alone does not count): a dot of four bytes takes three instructions, and two planes cannot win.";
}

/** The section between the markers. */
export function section({ origin, records, plain, fourBits, float }) {
  const { machine, runtime, build, time } = origin;
  return `One core of ${machine.cpu}; ${runtime.name} ${runtime.version}, commit ${build.commit}, ${time.slice(0, 10)}.${instruction()}
GFLOP/s through the API, rounding x included, and in brackets: against the float path; of the peak of float32 multiply-adds of the build, or for one row of the rate at which bytes are read.

${table(records)}

${fewRows(records)}

${coldRow(records)}
${floatSentence(float)}${fourBitsSentence(fourBits)}${withoutDots(plain)}`;
}
