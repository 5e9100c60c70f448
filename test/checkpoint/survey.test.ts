import { describe, expect, test } from "vitest";
import { ERROR_BINS, errorHistogram, tally, valuesIn } from "../../src/checkpoint/measure/sample.ts";
import { surveyConversions, surveyPairs } from "../../src/checkpoint/measure/survey.ts";
import { countExponents } from "../../src/checkpoint/read/scales.ts";
import type { PlainWeight } from "../../src/checkpoint/read/weights.ts";
import { load } from "../../src/load.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import { checkpointOf, fileWith, valuesAs } from "../support/checkpoint-files.ts";
import { randomNormal } from "../support/random.ts";

const engine = await load();

describe("a tally", () => {
  test("puts each value, before and after, into its place", () => {
    const { before, after, errors, zerosBefore, zerosAfter, notFinite } = tally(
      Float32Array.of(1, 1.5, -2, 0, 3, NaN, 1, -Infinity),
      Float32Array.of(1, 1.5, -2.25, 0, 0, 1, Infinity, -Infinity),
    );
    const bins = (counts: readonly number[]) => counts.flatMap((n, i) => (n > 0 ? [[i - 40, n]] : []));
    expect(bins(before)).toEqual([
      [0, 2],
      [1, 2],
    ]);
    expect(bins(after)).toEqual([
      [0, 2],
      [1, 1],
    ]);
    expect({ zerosBefore, zerosAfter, notFinite }).toEqual({ zerosBefore: 1, zerosAfter: 2, notFinite: 3 });
    for (const counts of errors) expect(counts.reduce((a, b) => a + b)).toBe(4);
    // 0 twice; -2 became an eighth larger in magnitude; 3 became 0.
    expect(bins(errors.at(-1)!).map(([i, n]) => [i! + 40, n])).toEqual([
      [0, 1],
      [32, 2],
      [36, 1],
    ]);
  });

  test("counts values whatever they are", () => {
    expect(valuesIn(tally(Float32Array.of(0, 1, NaN), Float32Array.of(1, 0, 1)))).toBe(3);
  });

  test.each([
    [0.001, 0.0025],
    [0.05, 0.08],
    [0.12, 0.25],
    [0.6, 1],
    [40, 1],
  ])("errors of %d are shown up to %d", (error, range) => {
    const values = new Float32Array(1000).fill(1);
    const became = values.map((value, i) => value + error * ((i % 21) / 10 - 1));
    const histogram = errorHistogram(tally(values, became));
    expect(histogram.range).toBe(range);
    expect(histogram.counts).toHaveLength(ERROR_BINS);
  });
});

test("exponents are counted from the smallest to the largest", () => {
  expect(countExponents(Int16Array.of(-3, -1, -3))).toEqual({
    minExponent: -3,
    maxExponent: -1,
    counts: [2, 0, 1],
  });
  expect(countExponents(new Int16Array(0)).counts).toEqual([]);
});

/** A model that is only a list of shapes. */
function model(count: number, shape: readonly number[]) {
  return Array.from({ length: count }, (_, i) => {
    const values = { name: `${i}`, dtype: "BF16", shape, shard: 0, start: 0, end: 0 } as const;
    const from: PlainWeight = { kind: "plain", name: `${i}`, shape, type: "bf16", values };
    return { from, into: { kind: "scaled", scheme: schemes.deepseekWeight, scaleDtype: "F32" } } as const;
  });
}

describe("a survey", () => {
  test.each([
    ["a model of 46,000 experts", 46_000, [2048, 7168]],
    ["one tensor of 8 billion values", 1, [1_000_000, 8192]],
    ["many small ones", 5000, [128, 64]],
  ])("of %s looks at few values, spread over it", async (_, count, shape) => {
    const seen = new Map<string, number[]>();
    let values = 0;
    const { weights, totalWeights } = await surveyConversions(
      model(count, shape),
      async ({ weight, strip }) => {
        expect(strip.rows % 128 === 0 && strip.firstRow + strip.rows <= shape[0]!).toBe(true);
        values += strip.rows * shape[1]!;
        seen.set(weight.name, [...(seen.get(weight.name) ?? []), strip.firstRow]);
        return {
          ...tally(Float32Array.of(1), Float32Array.of(1)),
          strip,
          precision: null!,
          exponents: new Int16Array(0),
          scaleCols: 0,
        };
      },
    );
    expect(values).toBeLessThanOrEqual(2 ** 25);
    expect(weights).toBeLessThanOrEqual(1024);
    expect({ weights, totalWeights }).toEqual({ weights: seen.size, totalWeights: count });
    const places =
      count > 1
        ? [...seen.keys()].map((name) => Number(name) / count)
        : seen.get("0")!.map((row) => row / shape[0]!);
    for (const quarter of [0, 1, 2, 3]) {
      const inside = places.filter((place) => Math.floor(place * 4) === quarter).length;
      expect(inside / places.length).toBeCloseTo(0.25, 1);
    }
    // No period of layers is hit again and again.
    if (count > 1000) expect(new Set([...seen.keys()].map((name) => Number(name) % 7)).size).toBe(7);
  });

  test("of pairs looks at the same rows on both sides", async () => {
    const file = (factor: number) =>
      fileWith([
        valuesAs(
          "a",
          "F32",
          [300, 64],
          randomNormal(5, 300 * 64).map((x) => x * factor),
        ),
        valuesAs("b", "F32", [10], randomNormal(6, 10)),
      ]);
    const [x, y] = [file(1), file(1.125)];
    const sides = [
      { checkpoint: await checkpointOf({ x }), sources: [x] },
      { checkpoint: await checkpointOf({ y }), sources: [y] },
    ] as const;
    const found = await surveyPairs(sides, new Set(["a"]), engine);
    expect(found).toMatchObject({
      weights: 1,
      totalWeights: 1,
      values: 300 * 64,
      totalValues: 300 * 64,
      hasAfter: true,
    });
    const { range, counts } = errorHistogram(found);
    const at = counts.indexOf(Math.max(...counts));
    expect(counts[at]).toBeGreaterThan(0.99 * 300 * 64);
    expect(((2 * at + 1) / ERROR_BINS - 1) * range).toBeCloseTo(0.125, 2);
  });

  test("is ended by its signal", async () => {
    const file = fileWith([valuesAs("a", "F32", [4, 4], randomNormal(1, 16))]);
    const side = { checkpoint: await checkpointOf({ file }), sources: [file] };
    const work = surveyPairs([side, side], new Set(["a"]), engine, {
      signal: AbortSignal.abort(new Error("enough")),
    });
    await expect(work).rejects.toThrow("enough");
  });
});
