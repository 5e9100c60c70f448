import { BlockscaleError } from "../tensor/errors.ts";
import { type Divergence, summarizeScores } from "./divergence.ts";
import { scoreToken, type TokenScore } from "./scores.ts";

/**
 * A model to evaluate: anything that computes logits [tokens - first, vocab] of
 * a new context, from token `first` on.
 */
export interface Predictor {
  logits(ids: Int32Array, first: number): Promise<Float32Array>;
}

export interface EvaluateOptions {
  /** Tokens of a chunk; the model sees each chunk as a context of its own. 512 if left out. */
  readonly context?: number;
  /**
   * The original to compare with. Left out, the model is compared with itself:
   * then only its perplexity has a meaning.
   */
  readonly reference?: Predictor;
  readonly signal?: AbortSignal;
  /** Called after each chunk. */
  onProgress?(chunks: { readonly done: number; readonly total: number }): void;
}

/** A predicted token, where it was, and what both models said. */
export interface ScoredToken extends TokenScore {
  /** Index in `ids`. */
  readonly index: number;
}

export interface Evaluation extends Divergence {
  readonly context: number;
  readonly scores: readonly ScoredToken[];
}

/**
 * Perplexity of a model on `ids`, and its divergence from a reference:
 * the figures of what `scoreChunks` gives.
 * @throws BlockscaleError `option`: a context that is no even number from 2, or fewer ids than one context
 */
export async function evaluate(
  model: Predictor,
  ids: Int32Array,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  return evaluationOf(options.context ?? 512, await scoreChunks(model, ids, options));
}

/** The figures of scores, in the order of the text: the same digits, wherever they were computed. */
export function evaluationOf(context: number, scores: readonly ScoredToken[]): Evaluation {
  return { context, ...summarizeScores(scores), scores };
}

/**
 * Scores of the predicted tokens. The ids are cut into chunks of `context` tokens, of which the last may be
 * short and is left out; of each chunk the tokens at positions context / 2 to context - 1 are predicted and
 * counted, as llama.cpp's `llama-perplexity` does, so that every prediction has some context before it.
 * @throws BlockscaleError `option`: a context that is no even number from 2, or fewer ids than one context
 */
export async function scoreChunks(
  model: Predictor,
  ids: Int32Array,
  options: EvaluateOptions = {},
): Promise<ScoredToken[]> {
  const context = checkContext(options.context ?? 512, ids.length);
  const total = Math.floor(ids.length / context);
  const scores: ScoredToken[] = [];
  for (let done = 0; done < total; done++) {
    options.signal?.throwIfAborted();
    const start = done * context;
    const chunk = ids.subarray(start, start + context);
    // The prediction of a token is in the row before its own.
    const first = context / 2 - 1;
    const other = await model.logits(chunk, first);
    const base = options.reference ? await options.reference.logits(chunk, first) : other;
    scores.push(...scoresOf(base, other, chunk, start));
    options.onProgress?.({ done: done + 1, total });
  }
  return scores;
}

/** Row i of the logits predicts token ids.length / 2 + i. */
function scoresOf(base: Float32Array, other: Float32Array, ids: Int32Array, start: number): ScoredToken[] {
  const rows = ids.length / 2 + 1;
  const vocab = other.length / rows;
  refuseOtherVocabulary(base.length / rows, vocab);
  const row = (logits: Float32Array, t: number): Float32Array => logits.subarray(t * vocab, (t + 1) * vocab);
  return Array.from({ length: ids.length / 2 }, (_, i) => {
    const position = ids.length / 2 + i;
    return scoredAt(start + position, scoreToken(row(base, i), row(other, i), ids[position]!));
  });
}

/**
 * The score of the token at an index of the ids.
 * @throws BlockscaleError `option`: it is not finite
 */
export function scoredAt(index: number, score: TokenScore): ScoredToken {
  if (!Number.isFinite(score.other + score.base + score.divergence)) throw notFinite(index);
  return { ...score, index };
}

/** The tokens at which the models differ most, the largest divergence first. */
export function worstTokens(scores: readonly ScoredToken[], count: number): ScoredToken[] {
  return [...scores].sort((a, b) => b.divergence - a.divergence).slice(0, count);
}

/**
 * @param ids how many there are
 * @throws BlockscaleError `option`: a context that is no even number from 2, or fewer ids than one context
 */
export function checkContext(context: number, ids: number): number {
  if (!Number.isInteger(context) || context < 2 || context % 2 !== 0) {
    throw new BlockscaleError("option", {
      where: "evaluate: context",
      expected: "an even number of tokens, at least 2",
      got: String(context),
      fix: "512 is what other tools use.",
    });
  }
  if (ids >= context) return context;
  throw new BlockscaleError("option", {
    where: "evaluate: ids",
    expected: `at least one context of ${context} tokens`,
    got: `${ids}`,
    fix: "Give a longer text, or a smaller context.",
  });
}

/** @throws BlockscaleError `shape`: predictions of two vocabularies cannot be compared */
export function refuseOtherVocabulary(base: number, other: number): void {
  if (base === other) return;
  throw new BlockscaleError("shape", {
    where: "evaluate",
    expected: "two models of the same vocabulary",
    got: `${base} tokens in the reference and ${other} in the model`,
    fix: "Compare a model with the original that it was made from.",
  });
}

function notFinite(index: number): BlockscaleError {
  return new BlockscaleError("option", {
    where: `evaluate: token ${index}`,
    expected: "finite logits, and a probability above 0 for every token that comes",
    got: "NaN, or a probability of 0",
    fix: "Check the weights with `blockscale inspect`: a tensor may hold NaN or Inf.",
  });
}
