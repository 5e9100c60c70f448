import { kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";

/**
 * How far the results of a cast are from the values: sums and extremes, which add up over the parts of a
 * tensor. All of them are finite.
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
export const EMPTY_PRECISION: Precision = {
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
export function addPrecisions(a: Precision, b: Precision): Precision {
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
export function sqnr(precision: Precision): number {
  const { signal, noise, nonFinite } = checkPrecision("sqnr", precision);
  if (nonFinite > 0) return -Infinity;
  return noise === 0 ? Infinity : 10 * Math.log10(signal / noise);
}

/**
 * Cosine of the angle between the values and what they became, as vectors, NaN and Inf left
 * out; 1 where both are 0, and 0 where one is.
 */
export function cosine(precision: Precision): number {
  const { signal, energy, product } = checkPrecision("cosine", precision);
  if (signal === 0 || energy === 0) return signal === energy ? 1 : 0;
  return product / Math.sqrt(signal * energy);
}

/** @throws BlockscaleError `option`: not what `compare` gives */
function checkPrecision(where: string, precision: Precision): Precision {
  if (typeof precision?.signal === "number") return precision;
  throw new BlockscaleError("option", {
    where: `${where}: precision`,
    expected: "the record that compare() returned",
    got: kindOf(precision),
    fix: "Pass engine.compare(values, result).",
  });
}
