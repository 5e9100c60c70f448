import fc from "fast-check";
import { expect, test } from "vitest";
import { type Choice, chooseWithin } from "../../src/evaluate/knapsack.ts";

/** The lowest score within the budget, by trying everything. */
function lowest(groups: readonly (readonly Choice[])[], budget: number): number {
  if (budget < 0) return Infinity;
  const [first, ...others] = groups;
  if (first === undefined) return 0;
  return Math.min(...first.map(({ bits, score }) => score + lowest(others, budget - bits)));
}

const choice = fc.record({ bits: fc.integer({ min: 0, max: 20 }), score: fc.integer({ min: 0, max: 100 }) });

test("chooses as trying everything does", () => {
  const groups = fc.array(fc.array(choice, { minLength: 1, maxLength: 4 }), { maxLength: 6 });
  fc.assert(
    fc.property(groups, fc.integer({ min: 0, max: 100 }), (all, budget) => {
      const taken = chooseWithin(all, budget);
      const best = lowest(all, budget);
      expect(taken === null).toBe(best === Infinity);
      if (taken === null) return;
      expect(taken.length).toBe(all.length);
      const chosen = taken.map((at, i) => all[i]![at]!);
      expect(chosen.reduce((sum, { bits }) => sum + bits, 0)).toBeLessThanOrEqual(budget);
      expect(chosen.reduce((sum, { score }) => sum + score, 0)).toBe(best);
    }),
  );
});

test("does better than taking what saves most for each bit", () => {
  // The best rate is the first group's, and leaves no room for the second's, which saves more.
  const groups = [
    [
      { bits: 0, score: 10 },
      { bits: 6, score: 0 },
    ],
    [
      { bits: 0, score: 14 },
      { bits: 10, score: 0 },
    ],
  ];
  expect(chooseWithin(groups, 10)).toEqual([0, 1]);
  expect(chooseWithin(groups, 5)).toEqual([0, 0]);
});
