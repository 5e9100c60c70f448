import { expect, test } from "vitest";
// @ts-expect-error: plain JavaScript without declarations
import { deepseekFiles, deepseekTensors } from "../../bench/deepseek.mjs";
// @ts-expect-error: plain JavaScript without declarations
import { shareStorage, simulate } from "../../bench/simulation.mjs";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { openCheckpoint } from "../../src/checkpoint/plan/folder.ts";

const rate = 100;
const jobs = [500, 300, 200, 100, 100];

test("DeepSeek-V3.1 has as many tensors and values as published, and the planner takes it", async () => {
  expect(deepseekTensors()).toHaveLength(91_991);
  const { checkpoint } = await openCheckpoint(deepseekFiles());
  const { files, tensors } = planDequantize(checkpoint, { dtype: "bf16" });
  expect(files).toHaveLength(163);
  // Two tensors for each of 45,808 scaled weights, one for each of the others.
  expect(tensors).toHaveLength(91_991 - 45_808);
  expect(tensors.filter(({ action }) => action === "dequantize")).toHaveLength(45_808);
  const values = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  // 671 billion of the model itself, and 14 of the layer that predicts one token further.
  expect(values / 1e9).toBeCloseTo(684.5, 0);
});

test("storage is shared so that nobody gets more than it can use", () => {
  expect(shareStorage([10, 10], 100)).toEqual([10, 10]);
  expect(shareStorage([10, 10], 10)).toEqual([5, 5]);
  expect(shareStorage([100, 4, 10], 24)).toEqual([10, 4, 10]);
  expect(shareStorage([], 5)).toEqual([]);
});

test("one worker does one job after the other", () => {
  expect(simulate([jobs], { workers: 1, rate })).toEqual({ seconds: 12, deaths: 0, again: 0, busy: 1 });
});

test("two workers take the next job when they have none", () => {
  // 500 + 100 and 300 + 200 + 100.
  expect(simulate([jobs], { workers: 2, rate })).toEqual({ seconds: 6, deaths: 0, again: 0, busy: 2 });
});

test("with more workers than jobs, the largest job is what takes longest", () => {
  const { seconds, busy } = simulate([jobs], { workers: 1000, rate });
  expect(seconds).toBe(5);
  expect(busy).toBeCloseTo(12 / 5);
});

test("storage that is slower than the workers sets the time, however many there are", () => {
  for (const workers of [2, 5, 50])
    expect(simulate([jobs], { workers, rate, storage: 100 }).seconds).toBeCloseTo(12);
});

test("a slow worker holds up its own list, and takes less from a common one", () => {
  const slow = { every: 2, factor: 4 };
  const own = [
    [100, 100, 100],
    [100, 100, 100],
  ];
  expect(simulate(own, { workers: 2, rate, slow }).seconds).toBe(12);
  expect(simulate([own.flat()], { workers: 2, rate, slow }).seconds).toBe(5);
});

test("what a dead worker had begun is done again", () => {
  const machines = { rate, meanLife: 8, replacedAfter: 1, stalledAfter: 3 };
  const one = simulate([jobs], { ...machines, workers: 1 });
  expect(one.again).toBeGreaterThan(0);
  expect(one.deaths).toBeGreaterThanOrEqual(one.again);
  // Each death costs the second until a worker is there again, and the work that was begun.
  expect(one.seconds).toBeGreaterThan(12 + one.again);
  expect(simulate([jobs], { ...machines, workers: 1 })).toEqual(one);
  expect(simulate([jobs], { ...machines, workers: 1, seed: 2 })).not.toEqual(one);
});

test("nothing to do takes no time", () =>
  expect(simulate([[]], { workers: 3, rate })).toEqual({ seconds: 0, deaths: 0, again: 0, busy: 0 }));
