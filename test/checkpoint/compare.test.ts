import { beforeAll, expect, test } from "vitest";
import { compareCheckpoints, floatsOf, readRows } from "../../src/checkpoint/measure/compare.ts";
import { worstBlockOf } from "../../src/checkpoint/measure/worst-block.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import { resolveWeights } from "../../src/checkpoint/read/resolve.ts";
import type { PlainWeight } from "../../src/checkpoint/read/weights.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { checkpointOf, fileWith, run, type Stored, tensor, valuesAs } from "../support/checkpoint-files.ts";
import { randomNormal, randomWords } from "../support/random.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

const side = async (file: Blob) => ({ checkpoint: await checkpointOf({ m: file }), sources: [file] });
const compare = async (a: readonly Stored[], b: readonly Stored[]) =>
  compareCheckpoints(await side(fileWith(a)), await side(fileWith(b)), engine);

const values = randomNormal(4, 300 * 256);
const weight = valuesAs("a.weight", "BF16", [300, 256], values);

test("a conversion held against its input shows what the conversion reported", async () => {
  const file = fileWith([weight]);
  const a = await side(file);
  const plan = planQuantize(a.checkpoint, { to: "deepseek-v3.1" });
  const { files, measured } = await run(plan, [file], engine);
  const [compared] = await compareCheckpoints(a, await side(files[0]!), engine);
  const { noise, maxError, flushed, saturated } = measured.get("a.weight")!;
  expect(compared).toMatchObject({
    status: "compared",
    precision: { maxAbsoluteError: maxError, flushedToZero: flushed, saturated, values: 300 * 256 },
  });
  expect(compared!.precision!.sqnrDb).toBeCloseTo(10 * Math.log10(signalOf() / noise), 6);
  expect(compared!.precision!.cosine).toBeCloseTo(1, 3);
});

function signalOf(): number {
  const bits = new Uint16Array(weight.bytes.buffer, weight.bytes.byteOffset, values.length);
  const words = Uint32Array.from(bits, (half) => half << 16);
  return new Float32Array(words.buffer).reduce((sum, x) => sum + x * x, 0);
}

test.each([200, 4900])("the worst block is found, in whichever strip it is: row %i", async (row) => {
  const shape = [5000, 256];
  const many = randomNormal(8, 5000 * 256);
  const changed = Float32Array.from(many, (x, i) => (i === row * 256 + 130 ? x + 50 : x + 1e-4));
  const [compared] = await compare(
    [valuesAs("a.weight", "F32", shape, many)],
    [valuesAs("a.weight", "F32", shape, changed)],
  );
  expect(compared!.worstBlock).toMatchObject({ row: row - (row % 128), col: 128 });
  expect(compared!.precision!.maxAbsoluteError).toBeCloseTo(50, 3);
});

test("the worst block is that of the definition, where blocks are ragged", async () => {
  const shape = [130, 259];
  const x = randomNormal(11, 130 * 259);
  const y = Float32Array.from(x, (value, i) => value + 0.01 * Math.sin(i));
  const [compared] = await compare(
    [valuesAs("a.weight", "F32", shape, x)],
    [valuesAs("a.weight", "F32", shape, y)],
  );
  const blocks = [0, 128].flatMap((row) =>
    [0, 128, 256].map((col) => {
      let [signal, noise] = [0, 0];
      for (let r = row; r < Math.min(130, row + 128); r++)
        for (let c = col; c < Math.min(259, col + 128); c++) {
          signal += x[r * 259 + c]! ** 2;
          noise += (x[r * 259 + c]! - y[r * 259 + c]!) ** 2;
        }
      return { row, col, noiseToSignal: noise / signal };
    }),
  );
  const worst = blocks.reduce((a, b) => (b.noiseToSignal > a.noiseToSignal ? b : a));
  expect(compared!.worstBlock).toEqual({
    ...worst,
    noiseToSignal: expect.closeTo(worst.noiseToSignal, 12),
  });
});

test("what cannot be compared is said", async () => {
  const ids = tensor("ids", "I64", [2], new Uint8Array(16));
  const compared = await compare(
    [
      weight,
      valuesAs("only.a", "F32", [1], values.subarray(0, 1)),
      valuesAs("shape", "F32", [2, 3], values.subarray(0, 6)),
      ids,
    ],
    [
      weight,
      valuesAs("shape", "F32", [3, 2], values.subarray(0, 6)),
      valuesAs("only.b", "F32", [1], values.subarray(0, 1)),
      ids,
    ],
  );
  expect(Object.fromEntries(compared.map(({ name, status }) => [name, status]))).toEqual({
    "a.weight": "compared",
    "only.a": "only in A",
    shape: "differs",
    ids: "not compared",
    "only.b": "only in B",
  });
  const same = compared.find(({ name }) => name === "a.weight")!;
  expect(same).toMatchObject({
    precision: { sqnrDb: null, cosine: expect.closeTo(1, 12) },
    worstBlock: null,
  });
});

test("FP4 of gpt-oss is held against the transposed values that its models have", async () => {
  const packed = Uint8Array.from(randomWords(3, 2 * 3 * 2 * 16));
  const scales = new Uint8Array(12).fill(127);
  const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
  const plain = new Float32Array(2 * 64 * 3);
  for (let e = 0; e < 2; e++)
    for (let r = 0; r < 3; r++)
      for (let c = 0; c < 64; c++) {
        const i = (e * 3 + r) * 64 + c;
        const nibble = (packed[i >> 1]! >> (4 * (i & 1))) & 15;
        plain[(e * 64 + c) * 3 + r] = (nibble & 8 ? -1 : 1) * E2M1[nibble & 7]!;
      }
  const [compared] = await compare(
    [tensor("w_blocks", "U8", [2, 3, 2, 16], packed), tensor("w_scales", "U8", [2, 3, 2], scales)],
    [valuesAs("w", "BF16", [2, 64, 3], plain)],
  );
  expect(compared).toMatchObject({ name: "w", shape: [2, 64, 3], precision: { sqnrDb: null } });
});

test("FP8 with a scale for each column is held against FP8 of AMD in blocks", async () => {
  const shape = [2, 3, 64];
  const codes = Uint8Array.from(randomWords(5, 2 * 3 * 64), (word) => word & 0x3f);
  const [compared] = await compare(
    [
      tensor("a.weight", "F8_E4M3", shape, codes),
      tensor("a.weight_scale", "F32", [2, 1, 64], new Float32Array(2 * 64).fill(0.5)),
    ],
    [
      tensor("a.weight", "F8_E4M3FNUZ", shape, codes),
      tensor("a.weight_scale", "F32", [2, 3, 2], new Float32Array(2 * 3 * 2).fill(1)),
    ],
  );
  expect(compared).toMatchObject({ status: "compared", precision: { sqnrDb: null }, worstBlock: null });
});

test.each([
  ["BF16 against FP8 in squares", "deepseek-v3.1", [300, 384]],
  ["BF16 against MXFP8", "mxfp8", [300, 384]],
  ["a stack of small matrices", "mxfp8", [5, 40, 96]],
  ["columns that sixteen do not divide", "deepseek-v3", [130, 260]],
] as const)("the worst block is that of the definition: %s", async (_, to, shape) => {
  const count = shape.reduce((n, size) => n * size, 1);
  const x = randomNormal(21, count);
  // Here the loss is the largest: values far below the others of their block.
  const file = fileWith([
    valuesAs(
      "a.weight",
      "BF16",
      shape,
      x.map((v, i) => (i % 977 === 0 ? v * 1e6 : v)),
    ),
  ]);
  const a = await side(file);
  const plan = planQuantize(a.checkpoint, { to, also: ["*"] });
  const { files } = await run(plan, [file], engine);
  const b = await side(files[0]!);
  const [compared] = await compareCheckpoints(a, b, engine);
  const [before, after] = await Promise.all(
    [a, b].map(async ({ checkpoint, sources }) => {
      const [weight] = resolveWeights(checkpoint);
      const rows = await readRows(
        weight as PlainWeight,
        { slice: 0, firstRow: 0, rows: count / shape.at(-1)! },
        { sources },
      );
      return floatsOf(rows, engine);
    }),
  );
  const block = to === "mxfp8" ? ([1, 32] as const) : ([128, 128] as const);
  const worst = worstBlockOf(before!, after!, [shape.at(-2)!, shape.at(-1)!], block)!;
  expect(worst.noiseToSignal).toBeGreaterThan(0);
  expect(compared!.worstBlock).toEqual({
    ...worst,
    noiseToSignal: expect.closeTo(worst.noiseToSignal, 12),
  });
});

test("the worst block holds what is not finite, on one side or the other, and not what is so on both", async () => {
  const x = randomNormal(31, 256 * 256);
  x[5] = Infinity;
  const y = x.map((v, i) => (i === 128 * 256 + 200 ? NaN : v));
  const of = (values: Float32Array) => [valuesAs("a.weight", "F32", [256, 256], values)];
  const [one] = await compare(of(x), of(y));
  expect(one).toMatchObject({
    worstBlock: { row: 128, col: 128, noiseToSignal: Infinity },
    precision: { nonFinite: 1 },
  });
  const [both] = await compare(of(x), of(x));
  expect(both).toMatchObject({ worstBlock: null, precision: { nonFinite: 0, sqnrDb: null } });
  const [near] = await compare(of(x), of(x.map((v, i) => (i === 9 ? v + 1 : v))));
  expect(near).toMatchObject({ worstBlock: { row: 0, col: 0 }, precision: { nonFinite: 0 } });
});
