/** What a conversion did to the values of a tensor: sums and extremes that add up over its strips. */
export interface Precision {
  /** Values compared. */
  readonly count: number;
  /** Sum of the squares of the values. */
  readonly signal: number;
  /** Sum of the squares of the errors. */
  readonly noise: number;
  /** Largest magnitude of a value. */
  readonly amax: number;
  /** Largest magnitude of an error. */
  readonly maxError: number;
  /** Largest error divided by its value, over values that are not 0. A value that became 0 counts as 1. */
  readonly maxRelative: number;
  /** Values beyond the largest one their block can hold, cut down to it. */
  readonly saturated: number;
  /** Values that were not 0 and became 0. */
  readonly flushed: number;
}

/** The precision of no values at all. */
export const NOTHING: Precision = {
  count: 0,
  signal: 0,
  noise: 0,
  amax: 0,
  maxError: 0,
  maxRelative: 0,
  saturated: 0,
  flushed: 0,
};

/**
 * Compares values with what became of them; sums in float64, in order.
 * @param codes with `largest`, the code of the largest magnitude, tells saturated values from rounded ones;
 *   without codes none is counted
 */
export function measure(
  values: Float32Array,
  became: Float32Array,
  codes?: Uint8Array,
  largest?: number,
): Precision {
  let signal = 0;
  let noise = 0;
  let amax = 0;
  let maxError = 0;
  let maxRelative = 0;
  let saturated = 0;
  let flushed = 0;
  for (let i = 0; i < values.length; i++) {
    const x = values[i]!;
    const y = became[i]!;
    const magnitude = Math.abs(x);
    const error = Math.abs(x - y);
    signal += x * x;
    noise += error * error;
    if (magnitude > amax) amax = magnitude;
    if (error > maxError) maxError = error;
    // One division only where it can matter.
    if (error > maxRelative * magnitude) maxRelative = error / magnitude;
    if (y === 0 && x !== 0) flushed++;
    if (codes !== undefined && (codes[i]! & 0x7f) === largest && magnitude > Math.abs(y)) saturated++;
  }
  return { count: values.length, signal, noise, amax, maxError, maxRelative, saturated, flushed };
}

/** The precision of two parts together. */
export function add(a: Precision, b: Precision): Precision {
  return {
    count: a.count + b.count,
    signal: a.signal + b.signal,
    noise: a.noise + b.noise,
    amax: Math.max(a.amax, b.amax),
    maxError: Math.max(a.maxError, b.maxError),
    maxRelative: Math.max(a.maxRelative, b.maxRelative),
    saturated: a.saturated + b.saturated,
    flushed: a.flushed + b.flushed,
  };
}

/** Signal to quantisation noise in decibels: 10 log10(signal / noise). Infinity where nothing was lost. */
export function sqnr(precision: Precision): number {
  return precision.noise === 0 ? Infinity : 10 * Math.log10(precision.signal / precision.noise);
}
