import { expect, test } from "vitest";
import { evaluate, type Predictor, worstTokens } from "../../src/evaluate/evaluate.ts";

/**
 * Predicts that the next token is one more than this one, with the odds
 * e^sharpness to 1 against each other one.
 */
function counter(sharpness: number, vocab = 5): Predictor & { readonly seen: number[][] } {
  const seen: number[][] = [];
  return {
    seen,
    logits: async (ids, first) => {
      seen.push([...ids]);
      const logits = new Float32Array(ids.length * vocab);
      ids.forEach((id, t) => {
        logits[t * vocab + ((id + 1) % vocab)] = sharpness;
      });
      return logits.subarray(first * vocab);
    },
  };
}

test("counts the second half of each whole chunk, by the logits of the token before", async () => {
  const model = counter(Math.log(16));
  const ids = Int32Array.of(0, 1, 2, 3, 0, 1, 1, 1, 4, 0);
  const found = await evaluate(model, ids, { context: 4 });
  expect(model.seen).toEqual([
    [0, 1, 2, 3],
    [0, 1, 1, 1],
  ]);
  expect(found.scores.map(({ index }) => index)).toEqual([2, 3, 6, 7]);
  // 16 of 20 for the next number, 1 of 20 for each other one.
  expect(found.scores.map(({ other }) => Math.exp(other).toFixed(4))).toEqual([
    "0.8000",
    "0.8000",
    "0.0500",
    "0.0500",
  ]);
  expect(found).toMatchObject({ context: 4, tokens: 4, kldMean: 0, sameTop: 1 });
  expect(found.perplexity).toBeCloseTo(1 / Math.sqrt(0.8 * 0.05), 5);
});

test("compares with a reference, and finds where they differ most", async () => {
  const ids = Int32Array.of(0, 1, 2, 3);
  const found = await evaluate(counter(1), ids, { context: 4, reference: counter(2) });
  const sum = (s: number): number => Math.exp(s) + 4;
  const p = Math.exp(2) / sum(2);
  const wanted = p * (Math.log(p) - Math.log(Math.exp(1) / sum(1))) + (1 - p) * Math.log(sum(1) / sum(2));
  expect(found.kldMean).toBeCloseTo(wanted, 6);
  expect(worstTokens(found.scores, 1)).toHaveLength(1);
});

test("says what is wrong", async () => {
  const ids = new Int32Array(4);
  await expect(evaluate(counter(1), ids, { context: 3 })).rejects.toThrow(/an even number/);
  await expect(evaluate(counter(1), ids)).rejects.toThrow(/at least one context of 512/);
  const reference = counter(1, 6);
  await expect(evaluate(counter(1), ids, { context: 4, reference })).rejects.toThrow(/same vocabulary/);
  await expect(evaluate(counter(Number.NaN), ids, { context: 4 })).rejects.toThrow(
    /token 2: expected finite/,
  );
  const signal = AbortSignal.abort();
  await expect(evaluate(counter(1), ids, { context: 4, signal })).rejects.toThrow(/abort/i);
});
