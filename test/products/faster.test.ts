import { afterEach, expect, test, vi } from "vitest";
import { fasterOf } from "../../src/products/faster.ts";

afterEach(() => vi.restoreAllMocks());

/** A clock that actions move by what they cost, and that may show whole steps only. */
function clockOf(step = 0): { run: (ms: () => number) => () => void } {
  let now = 1000;
  vi.spyOn(performance, "now").mockImplementation(() => (step > 0 ? Math.floor(now / step) * step : now));
  return { run: (ms) => () => (now += ms()) };
}

test.each([0, 1])("the one that takes less time, by a clock in steps of %d ms", (step) => {
  const { run } = clockOf(step);
  expect(fasterOf({ a: run(() => 0.3), b: run(() => 0.2) })).toBe("b");
  expect(fasterOf({ a: run(() => 0.2), b: run(() => 0.3) })).toBe("a");
  expect(fasterOf({ a: run(() => 30), b: run(() => 20) })).toBe("b");
});

test("what is slow until it is compiled well is judged by what it is then", () => {
  const { run } = clockOf();
  let runs = 0;
  expect(fasterOf({ a: run(() => 0.3), b: run(() => (runs++ < 10 ? 1.4 : 0.2)) })).toBe("b");
});

test("the first, where both take as long or the clock stands still", () => {
  const { run } = clockOf();
  expect(fasterOf({ a: run(() => 0.5), b: run(() => 0.5) })).toBe("a");
  expect(fasterOf({ a: run(() => 0), b: run(() => 0) })).toBe("a");
});
