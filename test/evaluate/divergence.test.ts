import { describe, expect, test } from "vitest";
import { estimate, summarizeScores } from "../../src/evaluate/divergence.ts";
import {
  joinPartialScores,
  type PartialScore,
  scoreOf,
  scorePartially,
  scoreToken,
  type TokenScore,
} from "../../src/evaluate/scores.ts";
import { randomNormal } from "../support/random.ts";

/** The definition: probabilities first, then sums over them. */
function definition(base: Float32Array, other: Float32Array, token: number): TokenScore {
  const probabilities = (logits: Float32Array): number[] => {
    const powers = Array.from(logits, (x) => Math.exp(x));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((x) => x / sum);
  };
  const [p, q] = [probabilities(base), probabilities(other)];
  return {
    base: Math.log(p[token]!),
    other: Math.log(q[token]!),
    divergence: p.reduce((sum, x, i) => sum + x * Math.log(x / q[i]!), 0),
    sameTop: p.indexOf(Math.max(...p)) === q.indexOf(Math.max(...q)),
  };
}

describe("the score of a token", () => {
  test.each([1, 2, 7, 300])("is that of the definition, %i tokens", (vocab) => {
    for (let seed = 0; seed < 20; seed++) {
      const base = randomNormal(seed, vocab).map((x) => 3 * x);
      const other = base.map((x, i) => x + 0.1 * randomNormal(seed + 100, vocab)[i]!);
      const token = seed % vocab;
      const [found, wanted] = [scoreToken(base, other, token), definition(base, other, token)];
      expect(found.base).toBeCloseTo(wanted.base, 9);
      expect(found.other).toBeCloseTo(wanted.other, 9);
      expect(found.divergence).toBeCloseTo(wanted.divergence, 9);
      expect(found.sameTop).toBe(wanted.sameTop);
    }
  });

  test("survives logits whose exponentials are beyond float64, and tokens of probability 0", () => {
    const base = Float32Array.of(3000, 2999, -3000);
    const other = Float32Array.of(3000, 2998, -Infinity);
    const { divergence, base: log } = scoreToken(base, other, 0);
    const p = 1 / (1 + Math.exp(-1));
    expect(log).toBeCloseTo(Math.log(p), 12);
    const q = 1 / (1 + Math.exp(-2));
    expect(divergence).toBeCloseTo(p * Math.log(p / q) + (1 - p) * Math.log((1 - p) / (1 - q)), 12);
  });

  test("is 0 apart from itself", () => {
    const logits = randomNormal(5, 1000);
    expect(scoreToken(logits, logits, 3)).toMatchObject({ divergence: 0, sameTop: true });
  });
});

describe("parts of the vocabulary joined", () => {
  /** The score by parts that end at these tokens. */
  function byParts(base: Float32Array, other: Float32Array, token: number, ends: readonly number[]) {
    const parts = ends.map((end, i): PartialScore => {
      const first = ends[i - 1] ?? 0;
      return scorePartially(base.subarray(first, end), other.subarray(first, end), token, first);
    });
    return scoreOf(parts.reduce(joinPartialScores));
  }

  test.each([
    [2, [1, 2]],
    [300, [1, 2, 130, 299, 300]],
    [300, [300]],
    [1000, [384, 768, 1000]],
  ])("say what all of it says, %i tokens in parts up to %j", (vocab, ends) => {
    for (let seed = 0; seed < 20; seed++) {
      const base = randomNormal(seed, vocab).map((x) => 5 * x);
      const noise = randomNormal(seed + 100, vocab);
      const other = base.map((x, i) => x + 0.3 * noise[i]!);
      const token = (37 * seed) % vocab;
      const [found, wanted] = [byParts(base, other, token, ends), scoreToken(base, other, token)];
      for (const key of ["base", "other", "divergence"] as const)
        expect(Math.abs(found[key] - wanted[key]), key).toBeLessThan(1e-13 * (1 + Math.abs(wanted[key])));
      expect(found.sameTop).toBe(wanted.sameTop);
    }
  });

  test("take the first of equal logits, as all of it does", () => {
    const [base, other] = [Float32Array.of(1, 5, 5, 0), Float32Array.of(1, 5, 4, 0)];
    expect(byParts(base, other, 0, [2, 4]).sameTop).toBe(true);
    expect(byParts(base, Float32Array.of(0, 4, 5, 1), 0, [2, 4]).sameTop).toBe(false);
  });

  test("survive parts whose share is beyond float64", () => {
    const [base, other] = [Float32Array.of(3000, -3000), Float32Array.of(2999, -3000)];
    expect(byParts(base, other, 1, [1, 2])).toMatchObject({ base: -6000, other: -5999, divergence: 0 });
  });
});

describe("the summary", () => {
  const score = (base: number, other: number, divergence: number, sameTop = true): TokenScore => ({
    base: Math.log(base),
    other: Math.log(other),
    divergence,
    sameTop,
  });

  test("of four tokens, by hand", () => {
    const found = summarizeScores([
      score(0.5, 0.25, 0.1),
      score(0.5, 0.5, 0.2),
      score(0.25, 0.25, 0.3),
      score(0.25, 0.5, 0.6, false),
    ]);
    expect(found.tokens).toBe(4);
    expect(found.perplexityBase).toBeCloseTo(Math.sqrt(8), 12);
    expect(found.perplexity).toBeCloseTo(Math.sqrt(8), 12);
    expect(found.perplexityRatio).toBeCloseTo(1, 12);
    expect(found.kldMean).toBeCloseTo(0.3, 12);
    expect(found.kldMax).toBe(0.6);
    expect(found.kldMin).toBe(0.1);
    expect(found.kldMedian).toBeCloseTo(0.25, 12);
    expect(found.kld90).toBeCloseTo(0.3 + 0.7 * 0.3, 12);
    expect(found.sameTop).toBe(0.75);
    expect(found.meanDeltaP).toBeCloseTo(0, 12);
    expect(found.rmsDeltaP).toBeCloseTo(Math.sqrt(0.125 / 4), 12);
    expect(found.correlation).toBeCloseTo(0, 12);
    expect(found.errors.kldMean).toBeCloseTo(Math.sqrt(0.14 / 3 / 4), 12);
  });

  test("of the same predictions twice: no difference, and full correlation", () => {
    const found = summarizeScores([score(0.5, 0.5, 0), score(0.1, 0.1, 0)]);
    expect(found).toMatchObject({ perplexityRatio: 1, kldMean: 0, sameTop: 1, rmsDeltaP: 0 });
    expect(found.correlation).toBeCloseTo(1, 12);
  });

  test("one token has no spread to tell an error by", () => {
    expect(estimate([3])).toEqual({ value: 3, error: Number.NaN });
  });
});
