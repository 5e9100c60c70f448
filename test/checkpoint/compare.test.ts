import { beforeAll, expect, test } from "vitest";
import { compareCheckpoints } from "../../src/checkpoint/measure/compare.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
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
