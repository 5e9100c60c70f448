/** Scores of single predictions, computed in float64 from the logits of a model and of its original. */

/** The scores of one predicted token: of a model, and of its original. */
export interface TokenScore {
  /** Natural logarithm of the probability that the original gave to the actual token. */
  readonly base: number;
  /** Natural logarithm of the probability that the evaluated model gave to the actual token. */
  readonly other: number;
  /** KL divergence of the two predictions in nats: sum of p (log p - log q), p the original's. */
  readonly divergence: number;
  /** Whether both find the same token most probable. */
  readonly sameTop: boolean;
}

/** What the logits of a part of the vocabulary say of one model's prediction. */
interface PartPrediction {
  /** log(sum(exp(logits))). */
  readonly sum: number;
  /** The largest logit, and the first token that has it. */
  readonly top: number;
  readonly topToken: number;
  /** The logit of the actual token, where it is in the part. */
  readonly actual: number | undefined;
}

/** The score of a prediction by a part of the vocabulary. */
export interface PartialScore {
  readonly base: PartPrediction;
  readonly other: PartPrediction;
  /** KL divergence of the predictions of a token, given that it is in the part. */
  readonly divergence: number;
}

/**
 * Scores one prediction.
 * @param base logits [vocab] of the original
 * @param other logits [vocab] of the model that is evaluated
 * @param token the actual token, from 0 to vocab - 1
 */
export function scoreToken(base: Float32Array, other: Float32Array, token: number): TokenScore {
  return scoreOf(scorePartially(base, other, token, 0));
}

/**
 * Scores one prediction by a part of the vocabulary.
 * @param base logits [part] of the original
 * @param other logits [part] of the model that is evaluated
 * @param token the actual token, in the part or not
 * @param first the first token of the part
 */
export function scorePartially(
  base: Float32Array,
  other: Float32Array,
  token: number,
  first: number,
): PartialScore {
  const ofBase = predictionOf(base, token, first);
  const ofOther = predictionOf(other, token, first);
  let divergence = 0;
  for (let i = 0; i < base.length; i++) {
    const logP = base[i]! - ofBase.sum;
    const p = Math.exp(logP);
    if (p > 0) divergence += p * (logP - (other[i]! - ofOther.sum));
  }
  // Rounding can leave a sum just below 0 where both predictions are the same.
  return { base: ofBase, other: ofOther, divergence: Math.max(0, divergence) };
}

/**
 * Joins the scores by two neighbouring parts of the vocabulary, `a` before `b`. By the chain rule, the KL
 * divergence is that between the probabilities of the two parts, plus the divergence within each part times
 * the original's probability of that part.
 */
export function joinPartialScores(a: PartialScore, b: PartialScore): PartialScore {
  const base = joinPredictions(a.base, b.base);
  const other = joinPredictions(a.other, b.other);
  let divergence = 0;
  for (const part of [a, b]) {
    const logP = part.base.sum - base.sum;
    const p = Math.exp(logP);
    if (p > 0) divergence += p * (logP - (part.other.sum - other.sum) + part.divergence);
  }
  return { base, other, divergence: Math.max(0, divergence) };
}

/** The score of a prediction by all of the vocabulary. */
export function scoreOf({ base, other, divergence }: PartialScore): TokenScore {
  return {
    base: (base.actual ?? Number.NaN) - base.sum,
    other: (other.actual ?? Number.NaN) - other.sum,
    divergence,
    sameTop: base.topToken === other.topToken,
  };
}

/** Summarises logits. The largest one is subtracted before the exponential, so that nothing overflows. */
function predictionOf(logits: Float32Array, token: number, first: number): PartPrediction {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  const top = logits[best]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - top);
  return { sum: top + Math.log(sum), top, topToken: first + best, actual: logits[token - first] };
}

function joinPredictions(a: PartPrediction, b: PartPrediction): PartPrediction {
  const most = Math.max(a.sum, b.sum);
  const { top, topToken } = b.top > a.top ? b : a;
  return {
    sum: most + Math.log(Math.exp(a.sum - most) + Math.exp(b.sum - most)),
    top,
    topToken,
    actual: a.actual ?? b.actual,
  };
}
