import type { Tokenizer } from "../model/tokenizer.ts";
import { type Evaluation, worstTokens } from "./evaluate.ts";

/** A token at which two models differ much, with the text around it; ids if there is no tokenizer. */
export interface WorstToken {
  /** Index in the ids. */
  readonly index: number;
  readonly divergence: number;
  /** Probability that the original gave to the token, and that of the model. */
  readonly p: number;
  readonly q: number;
  readonly before: string;
  readonly token: string;
  readonly after: string;
}

/** Tokens that are shown in front of one that is listed, and behind it. */
const BEFORE = 16;
const AFTER = 8;

/**
 * The tokens at which the models differ most, with the text around; nothing of
 * another chunk, which the models did not see.
 */
export function worstInText(
  { scores, context }: Pick<Evaluation, "scores" | "context">,
  ids: Int32Array,
  tokenizer: Tokenizer | null,
  count: number,
): WorstToken[] {
  const textOf = (from: number, to: number): string =>
    tokenizer === null
      ? Array.from(ids.subarray(from, to)).join(" ")
      : tokenizer.decode(ids.subarray(from, to), { special: true });
  return worstTokens(scores, count).map(({ index, divergence, base, other }) => {
    const start = index - (index % context);
    return {
      index,
      divergence,
      p: Math.exp(base),
      q: Math.exp(other),
      before: textOf(Math.max(start, index - BEFORE), index),
      token: textOf(index, index + 1),
      after: textOf(index + 1, Math.min(start + context, index + 1 + AFTER)),
    };
  });
}
