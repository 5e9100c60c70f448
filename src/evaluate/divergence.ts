/**
 * The distance between the predictions of a model and of its original: the figures that llama.cpp's
 * `llama-perplexity --kl-divergence` prints, over the scores of all tokens.
 */
import type { TokenScore } from "./scores.ts";

/** A figure with its standard error. */
export interface Estimate {
  readonly value: number;
  readonly error: number;
}

/** Figures over all predicted tokens. Divergences are in nats, differences of probability from -1 to 1. */
export interface Divergence {
  readonly tokens: number;
  readonly perplexityBase: number;
  readonly perplexity: number;
  /** perplexity / perplexityBase, and its natural logarithm. */
  readonly perplexityRatio: number;
  readonly lnPerplexityRatio: number;
  /** perplexity - perplexityBase. */
  readonly perplexityDifference: number;
  /** Correlation of the logarithms of both probabilities over the tokens. */
  readonly correlation: number;
  /** Mean, largest and quantiles: `kld999` is what 99.9 % of the tokens do not exceed, `kld01` 0.1 %. */
  readonly kldMean: number;
  readonly kldMax: number;
  readonly kld999: number;
  readonly kld99: number;
  readonly kld95: number;
  readonly kld90: number;
  readonly kldMedian: number;
  readonly kld10: number;
  readonly kld5: number;
  readonly kld1: number;
  readonly kld01: number;
  readonly kldMin: number;
  /** Share of tokens where both find the same token most probable. */
  readonly sameTop: number;
  /** Probability of the actual token: the evaluated model's minus the original's. */
  readonly meanDeltaP: number;
  readonly rmsDeltaP: number;
  readonly maxDeltaP: number;
  readonly deltaP999: number;
  readonly deltaP99: number;
  readonly deltaP95: number;
  readonly deltaP90: number;
  readonly deltaP75: number;
  readonly medianDeltaP: number;
  readonly deltaP25: number;
  readonly deltaP10: number;
  readonly deltaP5: number;
  readonly deltaP1: number;
  readonly deltaP01: number;
  readonly minDeltaP: number;
  /** Standard errors of the means above, by the same names. */
  readonly errors: Readonly<
    Record<
      | "perplexityBase"
      | "perplexity"
      | "perplexityRatio"
      | "lnPerplexityRatio"
      | "perplexityDifference"
      | "kldMean"
      | "sameTop"
      | "meanDeltaP"
      | "rmsDeltaP",
      number
    >
  >;
}

/** The figures over all scores. Their order changes nothing but the last bits of float64 sums. */
export function summarizeScores(scores: readonly TokenScore[]): Divergence {
  const perplexities = perplexitiesOf(scores);
  const divergences = scores.map((score) => score.divergence);
  const mean = estimate(divergences);
  const same = estimate(scores.map(({ sameTop }) => (sameTop ? 1 : 0)));
  const deltas = scores.map((score) => Math.exp(score.other) - Math.exp(score.base));
  const delta = estimate(deltas);
  const square = estimate(deltas.map((d) => d * d));
  const rms = Math.sqrt(square.value);
  return {
    tokens: scores.length,
    ...perplexities.figures,
    correlation: correlation(scores),
    kldMean: mean.value,
    ...spreadOfDivergences(divergences),
    sameTop: same.value,
    meanDeltaP: delta.value,
    rmsDeltaP: rms,
    ...spreadOfDeltas(deltas),
    errors: {
      ...perplexities.errors,
      kldMean: mean.error,
      sameTop: same.error,
      meanDeltaP: delta.error,
      // The error of sqrt(a) is half of that of a over the root.
      rmsDeltaP: rms === 0 ? 0 : square.error / (2 * rms),
    },
  };
}

/** Both perplexities, their ratio and difference, and the standard errors of all. */
function perplexitiesOf(scores: readonly TokenScore[]) {
  const base = estimate(scores.map((score) => -score.base));
  const other = estimate(scores.map((score) => -score.other));
  const ratio = estimate(scores.map((score) => score.base - score.other));
  const perplexityBase = Math.exp(base.value);
  const perplexity = Math.exp(other.value);
  const perplexityRatio = Math.exp(ratio.value);
  // Both perplexities are of the same text: their covariance follows from the error of their ratio.
  const covariance = (base.error ** 2 + other.error ** 2 - ratio.error ** 2) / 2;
  const varianceOfDifference =
    (perplexity * other.error) ** 2 +
    (perplexityBase * base.error) ** 2 -
    2 * perplexity * perplexityBase * covariance;
  return {
    figures: {
      perplexityBase,
      perplexity,
      perplexityRatio,
      lnPerplexityRatio: ratio.value,
      perplexityDifference: perplexity - perplexityBase,
    },
    // The error of exp(a) is exp(a) times that of a.
    errors: {
      perplexityBase: perplexityBase * base.error,
      perplexity: perplexity * other.error,
      perplexityRatio: perplexityRatio * ratio.error,
      lnPerplexityRatio: ratio.error,
      perplexityDifference: Math.sqrt(Math.max(0, varianceOfDifference)),
    },
  };
}

/** The largest divergence, quantiles, and the smallest one. */
function spreadOfDivergences(divergences: readonly number[]) {
  const kld = quantilesOf(divergences);
  return {
    kldMax: kld(1),
    kld999: kld(0.999),
    kld99: kld(0.99),
    kld95: kld(0.95),
    kld90: kld(0.9),
    kldMedian: kld(0.5),
    kld10: kld(0.1),
    kld5: kld(0.05),
    kld1: kld(0.01),
    kld01: kld(0.001),
    kldMin: kld(0),
  };
}

/** The largest difference of probability, quantiles, and the smallest one. */
function spreadOfDeltas(deltas: readonly number[]) {
  const dp = quantilesOf(deltas);
  return {
    maxDeltaP: dp(1),
    deltaP999: dp(0.999),
    deltaP99: dp(0.99),
    deltaP95: dp(0.95),
    deltaP90: dp(0.9),
    deltaP75: dp(0.75),
    medianDeltaP: dp(0.5),
    deltaP25: dp(0.25),
    deltaP10: dp(0.1),
    deltaP5: dp(0.05),
    deltaP1: dp(0.01),
    deltaP01: dp(0.001),
    minDeltaP: dp(0),
  };
}

/** The mean of values, and its standard error. */
export function estimate(values: readonly number[]): Estimate {
  const n = values.length;
  const value = values.reduce((sum, x) => sum + x, 0) / n;
  if (n < 2) return { value, error: Number.NaN };
  const variance = values.reduce((sum, x) => sum + (x - value) ** 2, 0) / (n - 1);
  return { value, error: Math.sqrt(variance / n) };
}

/**
 * The value that a share of the values does not exceed, interpolated between
 * neighbours as NumPy and torch do by default.
 */
function quantilesOf(values: readonly number[]): (share: number) => number {
  const sorted = Float64Array.from(values).sort();
  return (share) => {
    const at = share * (sorted.length - 1);
    const low = sorted[Math.floor(at)] ?? Number.NaN;
    const high = sorted[Math.ceil(at)] ?? Number.NaN;
    return low + (high - low) * (at - Math.floor(at));
  };
}

function correlation(scores: readonly TokenScore[]): number {
  const base = estimate(scores.map((score) => score.base)).value;
  const other = estimate(scores.map((score) => score.other)).value;
  let [both, ofBase, ofOther] = [0, 0, 0];
  for (const score of scores) {
    both += (score.base - base) * (score.other - other);
    ofBase += (score.base - base) ** 2;
    ofOther += (score.other - other) ** 2;
  }
  return both / Math.sqrt(ofBase * ofOther);
}
