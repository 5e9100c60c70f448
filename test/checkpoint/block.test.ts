import { expect, test } from "vitest";
import { joinBlock, meetsBlock, SHOWN, sampleBlock } from "../../src/checkpoint/measure/block.ts";
import { joinSamples, sampleStrip } from "../../src/checkpoint/measure/sample.ts";
import { type Strip, stripsOf } from "../../src/checkpoint/plan/strip.ts";
import type { PlainWeight, ScaledWeight } from "../../src/checkpoint/read/weights.ts";
import { tensorFactorOf } from "../../src/checkpoint/run/prepare.ts";
import { localConverter } from "../../src/checkpoint/run/run.ts";
import { load } from "../../src/load.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import { randomNormal } from "../support/random.ts";

const engine = await load();

function weightOf(shape: readonly number[], values: Float32Array<ArrayBuffer>) {
  const place = { name: "w", shard: 0, dtype: "F32" as const, shape, start: 0, end: values.byteLength };
  const weight: PlainWeight = { kind: "plain", name: "w", shape, type: "f32", values: place };
  return { weight, sources: [new Blob([values])] };
}

/** Strips as a conversion has them, or lower ones, so that a small tensor has several. */
const SLICES: Strip[] = [0, 1, 2].flatMap((slice) => [
  { slice, firstRow: 0, rows: 256 },
  { slice, firstRow: 256, rows: 44 },
]);

test.each([
  ["a stack in strips of rows", [3, 300, 200], SLICES],
  ["a stack in one strip", [3, 300, 200], null],
  ["one value", [1, 1], null],
  ["a row of 1x32 blocks", [1, 100], null],
] as const)("each block of %s is what the whole tensor holds there", async (_, shape, cut) => {
  const rows = shape.at(-2)!;
  const cols = shape.at(-1)!;
  const values = Float32Array.from(
    randomNormal(
      3,
      shape.reduce<number>((a, b) => a * b, 1),
    ),
  );
  const { weight, sources } = weightOf(shape, values);
  for (const scheme of [schemes.deepseekWeight, schemes.mxfp8]) {
    const { block } = scheme;
    const into = { kind: "scaled", scheme, scaleDtype: "F32" } as const;
    const strips = cut ?? [...stripsOf({ from: weight, into })];
    const whole = engine.quantize(values, shape, scheme);
    const became = engine.dequantize(whole);
    const samples = await Promise.all(
      strips.map((strip) => sampleStrip({ weight, strip, scheme }, sources, engine)),
    );
    const map = joinSamples(weight, scheme, block, samples).map!;
    const perSlice = Math.ceil(rows / block[0]);
    // Each of few, and some of many.
    const places = [...new Set(map.places)].filter((_, i, all) => all.length < 50 || i % 97 === 0);
    for (const place of places) {
      const at = { blockRow: Math.floor(place / map.blockCols), blockCol: place % map.blockCols };
      const holding = strips.filter((strip) => meetsBlock(strip, shape, block, at));
      expect(holding).toHaveLength(1);
      const found = await sampleBlock({ weight, strip: holding[0]!, scheme }, at, sources, engine);
      const slice = Math.floor(at.blockRow / perSlice);
      const firstRow = (at.blockRow % perSlice) * block[0];
      const firstCol = at.blockCol * block[1];
      const size = [Math.min(block[0], rows - firstRow), Math.min(block[1], cols - firstCol)] as const;
      const shown = [Math.min(size[0], SHOWN[0]), Math.min(size[1], SHOWN[1])] as const;
      const cutOf = (all: Float32Array) =>
        Float32Array.from({ length: shown[0] * shown[1] }, (_, i) => {
          const row = slice * rows + firstRow + Math.floor(i / shown[1]);
          return all[row * cols + firstCol + (i % shown[1])]!;
        });
      expect(found).toMatchObject({ slice, firstRow, firstCol, rows: size[0], cols: size[1], shown });
      expect(found.before).toEqual(cutOf(values));
      expect(found.after).toEqual(cutOf(became));
      expect(found.scale).toBe(2 ** (whole.scales[place]! - 127));
    }
    if (map.rows * map.cols === map.scales)
      expect([...map.places]).toEqual(Array.from({ length: map.scales }, (_, i) => i));
  }
});

test("a block of NVFP4 in one of several strips is what the conversion writes", async () => {
  // The largest value is in the second strip: alone, the first would have another float32.
  const [rows, cols] = [1100, 1024];
  const values = new Float32Array(randomNormal(5, rows * cols));
  values[rows * cols - 3] = 40;
  const { weight, sources } = weightOf([rows, cols], values);
  const scheme = schemes.nvfp4;
  const whole = engine.quantize(values, [rows, cols], scheme);
  const became = engine.dequantize(whole);
  const into = {
    kind: "scaled",
    scheme,
    scaleDtype: "F8_E4M3",
    tensorScale: { divides: false, fusedWith: [weight] },
  } as const;
  const conversion = { from: weight, into };
  const tensorScale = await tensorFactorOf(conversion, sources, localConverter(engine, sources));
  expect(tensorScale).toEqual({ factor: whole.tensorScale, divides: false });
  const [strip] = [...stripsOf(conversion)];
  const at = { blockRow: 7, blockCol: 3 };
  const sampling = { weight, strip: strip!, scheme };
  const found = await sampleBlock({ ...sampling, tensorScale }, at, sources, engine);
  expect(found.after).toEqual(became.slice(7 * cols + 48, 7 * cols + 64));
  const alone = await sampleBlock(sampling, at, sources, engine);
  expect(alone.after).not.toEqual(found.after);
});

test("the scale of a block with a NaN is NaN", async () => {
  const { weight, sources } = weightOf(
    [1, 32],
    Float32Array.from({ length: 32 }, () => Number.NaN),
  );
  const [place, strip] = [
    { blockRow: 0, blockCol: 0 },
    { slice: 0, firstRow: 0, rows: 1 },
  ];
  const found = await sampleBlock({ weight, strip, scheme: schemes.mxfp8 }, place, sources, engine);
  expect(found.scale).toBeNaN();
});

test("a block that is a whole weight is told of all of its strips", async () => {
  const [rows, cols] = [300, 40];
  const codes = Uint8Array.from({ length: rows * cols }, (_, i) => 0x20 + (i % 16));
  codes[0] = 0x38;
  codes[270 * cols + 7] = 0xc8;
  const place = { shard: 0, dtype: "F8_E4M3" as const, shape: [rows, cols] };
  const weight: ScaledWeight = {
    kind: "scaled",
    name: "w",
    shape: [rows, cols],
    element: "e4m3",
    codes: { ...place, name: "w", start: 0, end: codes.length },
    scales: { ...place, name: "s", dtype: "F32", shape: [], start: codes.length, end: codes.length + 4 },
    scaleType: "f32",
    block: [rows, cols],
    transposed: false,
  };
  const sources = [new Blob([codes, Float32Array.of(0.5)])];
  const at = { blockRow: 0, blockCol: 0 };
  const strips = [0, 128, 256].map((firstRow) => ({
    slice: 0,
    firstRow,
    rows: Math.min(128, rows - firstRow),
  }));
  expect(strips.map((strip) => meetsBlock(strip, weight.shape, weight.block, at))).toEqual([
    true,
    true,
    true,
  ]);
  const [first, ...others] = await Promise.all(
    strips.map((strip) => sampleBlock({ weight, strip, scheme: null }, at, sources, engine)),
  );
  // 0x38 is 1 and 0xc8 is -4, each at a scale of a half.
  expect(first).toMatchObject({ rows: 128, amax: 0.5 });
  expect(joinBlock([first!, ...others])).toMatchObject({
    firstRow: 0,
    rows,
    cols,
    scale: 0.5,
    amax: 2,
    error: 0,
  });
});
