import { checkArray, checkTensor, checkValues, type RawValues } from "../tensor/checks.ts";
import { FORMAT_ID, type FormatId, VALUE_TYPE_ID } from "../tensor/formats.ts";
import type { BlockScaled, Values, ValueType } from "../tensor/tensor.ts";
import type { Arena } from "../wasm/arena.ts";
import type { Kernels } from "../wasm/kernels.ts";
import { chunksOf, gather, placesBytes, putChunk, ROW_CHUNK } from "./chunks.ts";

/**
 * What became of values: sums and extremes, which add up over the parts of a tensor. All of them are finite.
 */
export interface Precision {
  /** Values compared. */
  readonly count: number;
  /** Sum of the squares of the values. */
  readonly signal: number;
  /** Sum of the squares of the errors. */
  readonly noise: number;
  /** Sum of the squares of what the values became, and of the products of both: for the cosine. */
  readonly energy: number;
  readonly product: number;
  /** Largest magnitude of a value. */
  readonly amax: number;
  /** Largest magnitude of an error. */
  readonly maxError: number;
  /** Largest error divided by its value, over values that are not 0. A value that became 0 counts as 1. */
  readonly maxRelative: number;
  /** Values that were not 0 and became 0. */
  readonly flushed: number;
  /** Values beyond the largest one their block can hold, cut down to it. Counted where codes are known. */
  readonly saturated: number;
  /**
   * Values that are NaN or Inf before or after, and not the same both times. They count for nothing else
   * here; nor do those that stayed NaN or Inf, of which nothing was lost.
   */
  readonly nonFinite: number;
}

/** The precision of no values at all. */
export const NOTHING: Precision = {
  count: 0,
  signal: 0,
  noise: 0,
  energy: 0,
  product: 0,
  amax: 0,
  maxError: 0,
  maxRelative: 0,
  flushed: 0,
  saturated: 0,
  nonFinite: 0,
};

/** The precision of two parts together. */
export function add(a: Precision, b: Precision): Precision {
  return {
    count: a.count + b.count,
    signal: a.signal + b.signal,
    noise: a.noise + b.noise,
    energy: a.energy + b.energy,
    product: a.product + b.product,
    amax: Math.max(a.amax, b.amax),
    maxError: Math.max(a.maxError, b.maxError),
    maxRelative: Math.max(a.maxRelative, b.maxRelative),
    flushed: a.flushed + b.flushed,
    saturated: a.saturated + b.saturated,
    nonFinite: a.nonFinite + b.nonFinite,
  };
}

/**
 * Signal to quantisation noise in decibels: 10 log10(signal / noise). Infinity where nothing was lost,
 * -Infinity where a value became NaN or Inf, or was.
 */
export function sqnr({ signal, noise, nonFinite }: Precision): number {
  if (nonFinite > 0) return -Infinity;
  return noise === 0 ? Infinity : 10 * Math.log10(signal / noise);
}

/**
 * Cosine of the angle between the values and what they became, as vectors, NaN and Inf left
 * out; 1 where both are 0, and 0 where one is.
 */
export function cosine({ signal, energy, product }: Precision): number {
  if (signal === 0 || energy === 0) return signal === energy ? 1 : 0;
  return product / Math.sqrt(signal * energy);
}

/** Float64 numbers that the kernel adds to. */
const SUMS = 9;

/** Compares values with a tensor or an array in linear memory; see Engine.compare. */
export function comparePrecision(
  kernels: Kernels,
  arena: Arena,
  values: Values,
  became: BlockScaled | Float32Array,
): Precision {
  return ArrayBuffer.isView(became)
    ? compareArrays(kernels, arena, checkValues("compare: values", values), became as Float32Array)
    : compareTensor(kernels, arena, values, became);
}

function compareArrays(kernels: Kernels, arena: Arena, values: RawValues, became: Float32Array): Precision {
  const { type, data } = values;
  const n = data.length;
  checkArray("compare: became", became, "Float32Array", n);
  let precision = NOTHING;
  for (let i = 0; i < n; i += ROW_CHUNK) {
    const length = Math.min(ROW_CHUNK, n - i);
    const sizes = [8 * SUMS, data.BYTES_PER_ELEMENT * length, 4 * length] as const;
    arena.frame(sizes, (sums, x, y) => {
      stage(arena.buffer, x, data, { start: i, rows: 1, cols: length, stride: length });
      new Float32Array(arena.buffer, y, length).set(became.subarray(i, i + length));
      precision = add(precision, run(kernels, arena, FORMAT_ID.e4m3, type, [sums, x, y, 0], length));
    });
  }
  return precision;
}

function compareTensor(kernels: Kernels, arena: Arena, values: Values, tensor: BlockScaled): Precision {
  const checked = checkTensor("compare", tensor);
  const { format, grid } = checked;
  const { type, data } = checkValues("compare: values", values, grid.elements);
  let precision = NOTHING;
  for (const chunk of chunksOf(grid)) {
    const n = chunk.rows * chunk.cols;
    const sizes = [8 * SUMS, data.BYTES_PER_ELEMENT * n, 4 * n, ...placesBytes(chunk, checked)] as const;
    arena.frame(sizes, (sums, x, y, ...places) => {
      const { buffer } = arena;
      const [matrix, codes] = places;
      stage(buffer, x, data, chunk);
      putChunk(buffer, places, chunk, checked);
      kernels.dequantize(matrix, VALUE_TYPE_ID.f32, y);
      precision = add(precision, run(kernels, arena, FORMAT_ID[format], type, [sums, x, y, codes], n));
    });
  }
  return precision;
}

function stage(
  buffer: ArrayBuffer,
  at: number,
  data: Float32Array | Uint16Array,
  part: Parameters<typeof gather>[2],
): void {
  const n = part.rows * part.cols;
  gather(
    data.BYTES_PER_ELEMENT === 4 ? new Float32Array(buffer, at, n) : new Uint16Array(buffer, at, n),
    data,
    part,
  );
}

function run(
  kernels: Kernels,
  arena: Arena,
  format: FormatId,
  type: ValueType,
  [sums, values, became, codes]: [number, number, number, number],
  n: number,
): Precision {
  const measure = (nonFinite: number): Precision => {
    const found = new Float64Array(arena.buffer, sums, SUMS).fill(0);
    kernels.compare(format, VALUE_TYPE_ID[type], sums, values, became, codes, n);
    const [signal, noise, energy, product, amax, maxError, maxRelative, flushed, saturated] =
      found as unknown as [number, number, number, number, number, number, number, number, number];
    return {
      count: n,
      signal,
      noise,
      energy,
      product,
      amax,
      maxError,
      maxRelative,
      flushed,
      saturated,
      nonFinite,
    };
  };
  const precision = measure(0);
  // The square of a difference of two finite float32 is far from the largest float64.
  return precision.noise < Infinity
    ? precision
    : measure(clearNonFinite(arena.buffer, type, values, became, n));
}

/** Bits of Inf. */
const INFINITY_BITS: Readonly<Record<ValueType, number>> = { f32: 0x7f800000, bf16: 0x7f80, f16: 0x7c00 };

/**
 * Puts zeros, which count for nothing, in place of every pair with a NaN or Inf.
 * @returns how many of the pairs were not the same twice
 */
function clearNonFinite(
  buffer: ArrayBuffer,
  type: ValueType,
  values: number,
  became: number,
  n: number,
): number {
  const x = type === "f32" ? new Uint32Array(buffer, values, n) : new Uint16Array(buffer, values, n);
  const y = new Uint32Array(buffer, became, n);
  let different = 0;
  for (let i = 0; i < n; i++) {
    const before = specialOf(x[i]!, INFINITY_BITS[type]);
    const after = specialOf(y[i]!, INFINITY_BITS.f32);
    if (before === 0 && after === 0) continue;
    if (!Object.is(before, after)) different++;
    x[i] = 0;
    y[i] = 0;
  }
  return different;
}

/** NaN, Inf or -Inf where bits say so; 0 for everything finite. */
function specialOf(bits: number, infinity: number): number {
  if ((bits & infinity) !== infinity) return 0;
  const sign = infinity > 0xffff ? 0x80000000 : 0x8000;
  return bits === infinity ? Infinity : bits === infinity + sign ? -Infinity : NaN;
}
