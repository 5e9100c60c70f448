import { describe, expect, test } from "vitest";
import { FIRST_BYTES } from "../../src/report/html-page.ts";
import { trainingCharts } from "../../src/report/training/charts.ts";
import { trainingPage } from "../../src/report/training/page.ts";
import { byLayer, type TrainingReport } from "../../src/report/training/report.ts";

const counts = (amax: number, count: number, flushed: number, saturated: number) => ({
  amax,
  count,
  flushed,
  saturated,
});

const report: TrainingReport = {
  texts: ["<b>book.txt"],
  out: "out",
  recipe: "mxfp8",
  parameters: 12345,
  losses: [5, 4, 3, 2, 1, 0.5],
  validation: [
    [2, 4.5],
    [6, 0.75],
  ],
  speeds: [
    [3, 1000.4],
    [6, 1200],
  ],
  ranges: [
    [3, { "0 x": counts(8, 100, 1, 2), "0 w": counts(0, 10, 0, 0) }],
    [6, { "0 x": counts(16, 50, 5, 0) }],
  ],
};

test("counts of linear layers are put together by layer and operand", () => {
  const one = { x: counts(1, 10, 1, 0), w: counts(2, 20, 0, 1), dy: counts(3, 30, 0, 0) };
  const other = { x: counts(4, 1, 1, 1), w: counts(1, 2, 3, 4), dy: counts(0, 0, 0, 0) };
  const found = byLayer(
    new Map([
      ["0.mlp.up_proj", one],
      ["0.mlp.down_proj", other],
      ["11.mlp.up_proj", other],
    ]),
  );
  expect(Object.keys(found)).toEqual(["0 x", "0 w", "0 dy", "11 x", "11 w", "11 dy"]);
  expect(found["0 x"]).toEqual(counts(4, 11, 2, 1));
  expect(found["0 w"]).toEqual(counts(2, 22, 3, 5));
});

describe("charts", () => {
  test("hold losses with those of held-out text, speed, and shares of values", () => {
    const { loss, speed, ranges } = trainingCharts(report);
    expect(loss).toEqual({
      steps: [1, 2, 3, 4, 5, 6],
      training: [5, 4, 3, 2, 1, 0.5],
      heldOut: [null, 4.5, null, null, null, 0.75],
    });
    expect(speed).toEqual({ steps: [3, 6], rates: [1000, 1200] });
    expect(ranges).toEqual({
      steps: [3, 6],
      rows: ["0 x", "0 w"],
      flushed: [
        [0.01, 0.1],
        [0, null],
      ],
      saturated: [
        [0.02, 0],
        [0, null],
      ],
      amax: [
        [3, 4],
        [null, null],
      ],
    });
  });

  test("of a long run are means of its steps", () => {
    const { loss } = trainingCharts({ ...report, losses: Array.from({ length: 5000 }, (_, i) => i) });
    expect(loss.steps.length).toBeLessThan(510);
    expect(loss.steps.at(-1)).toBe(5000);
    // Between step 6, where held-out text was looked at, and step 10: the losses 6 to 9.
    expect(loss.training[loss.steps.indexOf(10)]).toBe(7.5);
  });
});

test("the page holds its charts with their numbers, and lets no name out of its place", () => {
  const page = trainingPage(report);
  const figures = [...page.matchAll(/<figure id="(\w+)">/g)].map(([, id]) => id);
  expect(page.startsWith(FIRST_BYTES)).toBe(true);
  expect(figures).toEqual(["training", "speed", "flushed", "saturated", "amax"]);
  expect(page).toContain("<td>0.7500</td>");
  expect(page).toContain("12,345");
  expect(page).not.toContain("<b>book");
  const plain = trainingPage({ ...report, recipe: "f32", ranges: [[3, {}]] });
  expect([...plain.matchAll(/<figure/g)]).toHaveLength(2);
});
