import { beforeAll, describe, expect, test } from "vitest";
import { convertCheckpoint } from "../../src/checkpoint/convert.ts";
import type { DialectName } from "../../src/checkpoint/dialects/index.ts";
import type { Summary } from "../../src/checkpoint/measure/summary.ts";
import { summaryTable } from "../../src/cli/tables.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { reportPage } from "../../src/report/page.ts";
import { conversionReport } from "../../src/report/report.ts";
import { languages } from "../../src/report/words.ts";
import { fileWith, valuesAs } from "../support/checkpoint-files.ts";
import { once } from "../support/once.ts";
import { randomNormal } from "../support/random.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

const NAME = "model.layers.0.mlp.up_proj.weight";
const fileOf = (shape: readonly number[], values: Float32Array) =>
  fileWith([valuesAs(NAME, "BF16", shape, values)]);
const convert = (file: Blob, to: DialectName, measure: "all" | "sample") =>
  convertCheckpoint(new Map([["m.safetensors", file]]), { engine, to, measure });

// 1100 rows leave ragged blocks of 128, and two strips, of which the second is small.
const ragged = once(() => fileOf([1100, 1024], randomNormal(7, 1100 * 1024)));

describe.each([
  "deepseek-v3",
  "deepseek-v3.1",
  "mxfp8",
  "compressed-tensors-mxfp4",
  "modelopt-nvfp4",
] as const)("a sample of what %s does", (to) => {
  test("is one row in eight, has the same bytes beside it, and nearly the same decibels", async () => {
    const [all, sample] = [await convert(ragged(), to, "all"), await convert(ragged(), to, "sample")];
    const bytesOf = (files: ReadonlyMap<string, Blob>) => files.get("m.safetensors")!.arrayBuffer();
    expect(Buffer.from(await bytesOf(sample.files)).equals(Buffer.from(await bytesOf(all.files)))).toBe(true);
    expect(all.total).toMatchObject({ values: 1100 * 1024, precision: { values: 1100 * 1024 } });
    // 128 of the first 1024 rows, and all of the other 76.
    expect(sample.total).toMatchObject({ values: 1100 * 1024, precision: { values: (128 + 76) * 1024 } });
    const [wanted, found] = [all.total.precision!, sample.total.precision!];
    expect(Math.abs(found.sqnrDb! - wanted.sqnrDb!)).toBeLessThan(0.1);
    expect(found.maxAbsoluteError).toBeLessThanOrEqual(wanted.maxAbsoluteError);
  });
});

test("the table and the page say that it is a sample, and of how much", async () => {
  const file = fileOf([1024, 1024], randomNormal(1, 1024 * 1024));
  const all = await convert(file, "mxfp8", "all");
  const sample = await convert(file, "mxfp8", "sample");
  const page = (summary: Summary) =>
    reportPage(
      conversionReport({
        kind: "quantize",
        input: "a",
        output: "b",
        format: "mxfp8",
        summary,
        files: [],
        scales: null,
        survey: null,
      }),
      languages.en,
    );
  expect(summaryTable(sample)).toContain("A sample: figures are of 131,072 of 1,048,576 values");
  expect(summaryTable(all)).not.toContain("sample");
  expect(page(sample)).toContain("those of 131,072 of 1,048,576 values");
  expect(page(all)).not.toContain("A sample");
});

test("rows that are measured are held against their own codes and scales", async () => {
  // Every row has another magnitude: codes or scales of other rows would show at once.
  const [rows, cols] = [2048, 512];
  const values = randomNormal(9, rows * cols).map((value, i) => value * 2 ** (Math.floor(i / cols) % 40));
  const { total } = await convert(fileOf([rows, cols], values), "mxfp8", "sample");
  expect(total.precision).toMatchObject({ values: (rows * cols) / 8 });
  expect(total.precision!.sqnrDb).toBeGreaterThan(29);
});

test("a value that would become Inf is refused, wherever it is", async () => {
  // Halves of blocks at the end of the range: the value next to the largest scale times a code is beyond float32.
  const values = randomNormal(3, 1024 * 1024);
  values[5] = 3.39e38;
  const run = convert(fileOf([1024, 1024], values), "deepseek-v3.1", "sample");
  await expect(run).rejects.toMatchObject({ code: "dialect", fault: { tensor: NAME } });
});

test("an unknown way to measure is refused", async () => {
  await expect(convert(fileOf([1, 32], new Float32Array(32)), "mxfp8", "some" as never)).rejects.toThrow(
    'expected "all" or "sample", got "some"',
  );
});
