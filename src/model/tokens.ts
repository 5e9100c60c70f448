import { kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { ModelConfig } from "./config.ts";

/** Tokens of several texts that an encoder takes at a time. */
const BATCH = 512;

/** Groups texts into batches that go through an encoder together. */
export function batchesOf(lists: readonly Int32Array[]): Int32Array[][] {
  const batches: Int32Array[][] = [];
  let budget = 0;
  for (const ids of lists) {
    if (budget < ids.length) {
      batches.push([]);
      budget = BATCH;
    }
    batches.at(-1)!.push(ids);
    budget -= ids.length;
  }
  return batches;
}

/**
 * Checks a caller's token ids and copies them.
 * @throws BlockscaleError `option`: more than the context holds, or one outside the vocabulary
 */
export function checkIds(where: string, ids: ArrayLike<number>, config: ModelConfig): Int32Array {
  const { vocabulary, context } = config;
  if (typeof ids !== "object" || ids === null || !Number.isInteger(ids.length)) {
    throw new BlockscaleError("option", {
      where,
      expected: "the ids of tokens, as an Int32Array or an array",
      got: kindOf(ids),
      fix: "model.tokenizer.encode(text) makes ids of a text.",
    });
  }
  if (ids.length > context) {
    throw new BlockscaleError("option", {
      where,
      expected: `at most ${context} tokens, which is the model's context`,
      got: String(ids.length),
      fix: "Leave out the oldest part of the text.",
    });
  }
  checkVocabulary(where, ids, vocabulary);
  return Int32Array.from(ids);
}

/** @throws BlockscaleError `option`: a token outside the vocabulary */
export function checkVocabulary(where: string, ids: ArrayLike<number>, vocabulary: number): void {
  for (let i = 0; i < ids.length; i++) {
    if (Number.isInteger(ids[i]) && ids[i]! >= 0 && ids[i]! < vocabulary) continue;
    throw new BlockscaleError("option", {
      where: `${where}: token ${i}`,
      expected: `a whole number from 0 to ${vocabulary - 1}`,
      got: String(ids[i]),
      fix: "Use the tokenizer of this model.",
    });
  }
}

/** A text's tokens, cut to what the model takes. */
export function cutTo(length: number, ids: Int32Array, { kind }: ModelConfig): Int32Array {
  if (ids.length <= length) return ids;
  // The last token of an encoder's text is a special one.
  const kept = ids.slice(0, length);
  if (kind === "encoder") kept[length - 1] = ids.at(-1)!;
  return kept;
}

export function emptyPrompt(where = "generate"): BlockscaleError {
  return new BlockscaleError("option", {
    where,
    expected: "at least one token",
    got: "none",
    fix: "Give a text that is not empty.",
  });
}

export function contextFull(context: number): BlockscaleError {
  return new BlockscaleError("option", {
    where: "generate",
    expected: `at most ${context} tokens of prompt and answer, which is the model's context`,
    got: "one more",
    fix: "Ask for fewer with maxTokens, or leave out the oldest part of the prompt.",
  });
}
