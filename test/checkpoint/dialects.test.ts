import { beforeAll, describe, expect, test } from "vitest";
import { type DequantizeOptions, planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { resolveWeights } from "../../src/checkpoint/read/resolve.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { decodeCode, narrow, widen } from "../reference/cast.ts";
import { checkpointOf, fileWith, run, type Stored, tensor, tensorsOf } from "../support/checkpoint-files.ts";
import { randomWords } from "../support/random.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

/** Codes of all kinds but NaN, and not the largest binade. */
function someCodes(seed: number, n: number): Uint8Array {
  return Uint8Array.from(randomWords(seed, n), (word) => word & 0xbf);
}

async function dequantized(tensors: readonly Stored[], options: DequantizeOptions = {}) {
  const file = fileWith(tensors);
  const plan = planDequantize(await checkpointOf({ "m.safetensors": file }), options);
  const { files, measured } = await run(plan, [file], engine);
  return { plan, measured, found: await tensorsOf(files[0]!) };
}

function floatsOf({ bytes }: Stored): Float32Array {
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

/** E4M3 codes, decoded and multiplied by the scale of each element. */
function products(codes: Uint8Array, scaleAt: (i: number) => number): Float32Array {
  return Float32Array.from(codes, (code, i) => Math.fround(decodeCode("e4m3", code) * scaleAt(i)));
}

const ROWS = 160;
const COLS = 96;
const codes = someCodes(1, ROWS * COLS);
const weight = tensor("a.weight", "F8_E4M3", [ROWS, COLS], codes);
const square = (i: number) => Math.floor(Math.floor(i / COLS) / 128);
const powers = Float32Array.of(2 ** -9, 2 ** -7);
const odd = Float32Array.of(0.0123, 0.00456);
const bytesAs = (dtype: "BF16" | "F16", values: Float32Array) =>
  narrow(dtype === "BF16" ? "bf16" : "f16", values) as Uint16Array;

/** Scales of every kind met in checkpoints, for the same codes. */
const readable: readonly (readonly [what: string, scales: Stored, scaleAt: (i: number) => number])[] = [
  ["DeepSeek-V3: float32", tensor("a.weight_scale_inv", "F32", [2, 1], odd), (i) => odd[square(i)]!],
  [
    "DeepSeek-V3.1: float32 powers of two",
    tensor("a.weight_scale_inv", "F32", [2, 1], powers),
    (i) => powers[square(i)]!,
  ],
  [
    "DeepSeek-V4: UE8M0 in .scale",
    tensor("a.scale", "F8_E8M0", [2, 1], Uint8Array.of(118, 120)),
    (i) => powers[square(i)]!,
  ],
  [
    "Qwen3: bfloat16",
    tensor("a.weight_scale_inv", "BF16", [2, 1], bytesAs("BF16", odd)),
    (i) => widen("bf16", bytesAs("BF16", odd))[square(i)]!,
  ],
  [
    "Qwen3: float16",
    tensor("a.weight_scale_inv", "F16", [2, 1], bytesAs("F16", odd)),
    (i) => widen("f16", bytesAs("F16", odd))[square(i)]!,
  ],
  [
    "MXFP8: bytes, 1x32",
    tensor(
      "a.weight_scale_inv",
      "U8",
      [ROWS, 3],
      Uint8Array.from({ length: ROWS * 3 }, (_, i) => 100 + (i % 40)),
    ),
    (i) => 2 ** (((Math.floor(i / COLS) * 3 + Math.floor((i % COLS) / 32)) % 40) - 27),
  ],
  [
    "compressed-tensors: per channel",
    tensor(
      "a.weight_scale",
      "F32",
      [ROWS, 1],
      Float32Array.from({ length: ROWS }, (_, i) => 0.01 + i / 1000),
    ),
    (i) => Math.fround(0.01 + Math.floor(i / COLS) / 1000),
  ],
  [
    "per channel, one dimension, bfloat16",
    tensor("a.weight_scale", "BF16", [ROWS], bytesAs("BF16", new Float32Array(ROWS).fill(0.5))),
    () => 0.5,
  ],
  ["per tensor", tensor("a.weight_scale", "F32", [], Float32Array.of(0.037)), () => Math.fround(0.037)],
  [
    "per tensor, one element",
    tensor("a.weight_scale", "F32", [1], Float32Array.of(0.037)),
    () => Math.fround(0.037),
  ],
];

describe.each(readable)("reads %s", (_, scales, scaleAt) => {
  const want = products(codes, scaleAt);
  test("to float32", async () => {
    const { found } = await dequantized([scales, weight], { dtype: "f32" });
    expect([...found.keys()]).toEqual(["a.weight"]);
    expect(found.get("a.weight")).toMatchObject({ dtype: "F32", shape: [ROWS, COLS] });
    expect(Buffer.compare(found.get("a.weight")!.bytes, new Uint8Array(want.buffer))).toBe(0);
  });
  test.each(["bf16", "f16"] as const)("to %s, rounded once, and says what that cost", async (dtype) => {
    const { found, measured } = await dequantized([weight, scales], { dtype });
    const bits = narrow(dtype, want) as Uint16Array;
    expect(Buffer.compare(found.get("a.weight")!.bytes, new Uint8Array(bits.buffer))).toBe(0);
    const back = widen(dtype, bits);
    expect(measured.get("a.weight")).toMatchObject({
      count: want.length,
      maxError: want.reduce((most, x, i) => Math.max(most, Math.abs(x - back[i]!)), 0),
    });
  });
});

test("reads E5M2", async () => {
  const e5m2 = Uint8Array.from({ length: 128 }, (_, i) => (i < 124 ? i : 0));
  const { found } = await dequantized(
    [tensor("a.weight", "F8_E5M2", [1, 128], e5m2), tensor("a.weight_scale", "F32", [1], Float32Array.of(3))],
    { dtype: "f32" },
  );
  expect([...floatsOf(found.get("a.weight")!)]).toEqual(
    [...e5m2].map((code) => decodeCode("e5m2", code) * 3),
  );
});

describe("reads FNUZ codes, all 256 of them", () => {
  /** The definition: exponent bias one more, no infinity, 0x80 is NaN. */
  const decodeFnuz = (code: number, mantissa: number, bias: number) => {
    if (code === 0x80) return NaN;
    const magnitude = code & 0x7f;
    const exponent = magnitude >> mantissa;
    const fraction = (magnitude & ((1 << mantissa) - 1)) / (1 << mantissa);
    const value = exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias);
    return code & 0x80 ? -value : value;
  };
  test.each([
    ["F8_E4M3FNUZ", 3, 8],
    ["F8_E5M2FNUZ", 2, 16],
  ] as const)("%s", async (dtype, mantissa, bias) => {
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    const { found } = await dequantized(
      [tensor("a.weight", dtype, [2, 128], all), tensor("a.weight_scale", "F32", [1], Float32Array.of(1.5))],
      { dtype: "f32" },
    );
    const want = Float32Array.from(all, (code) => decodeFnuz(code, mantissa, bias) * 1.5);
    expect([...floatsOf(found.get("a.weight")!)]).toEqual([...want]);
  });
});

/** E2M1, low nibble first. */
const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
const decodeFp4 = (packed: Uint8Array, i: number) => {
  const nibble = (packed[i >> 1]! >> (4 * (i & 1))) & 15;
  return (nibble & 8 ? -1 : 1) * E2M1[nibble & 7]!;
};

describe("reads FP4", () => {
  const packed = Uint8Array.from(randomWords(3, 2 * 3 * 2 * 16));
  const scales = Uint8Array.from({ length: 12 }, (_, i) => 120 + i);
  const plain = Float32Array.from(
    { length: 384 },
    (_, i) => decodeFp4(packed, i) * 2 ** (scales[Math.floor(i / 32)]! - 127),
  );
  test.each([
    ["DeepSeek-V4 experts", "a.weight", "I8", "a.scale", "F8_E8M0", "a.weight"],
    ["compressed-tensors", "a.weight_packed", "U8", "a.weight_scale", "U8", "a.weight"],
  ] as const)("of %s", async (_, codesName, codesDtype, scalesName, scalesDtype, name) => {
    const stored = [
      tensor(codesName, codesDtype, [6, 32], packed),
      tensor(scalesName, scalesDtype, [6, 2], scales),
    ];
    const { found } = await dequantized(stored, { dtype: "f32" });
    expect(found.get(name)).toMatchObject({ shape: [6, 64] });
    expect([...floatsOf(found.get(name)!)]).toEqual([...plain]);
  });
  test("of gpt-oss, with rows and columns exchanged as its models have them", async () => {
    const stored = [
      tensor("mlp.experts.down_proj_blocks", "U8", [2, 3, 2, 16], packed),
      tensor("mlp.experts.down_proj_scales", "U8", [2, 3, 2], scales),
    ];
    const { found } = await dequantized(stored, { dtype: "f32" });
    const values = floatsOf(found.get("mlp.experts.down_proj")!);
    expect(found.get("mlp.experts.down_proj")!.shape).toEqual([2, 64, 3]);
    for (let e = 0; e < 2; e++)
      for (let r = 0; r < 3; r++)
        for (let c = 0; c < 64; c++) {
          expect(values[(e * 64 + c) * 3 + r]).toBe(plain[(e * 3 + r) * 64 + c]);
        }
  });
});

describe("scales that make no sense", () => {
  test.each([0, -1, NaN, Infinity])("%s is refused, with the tensor's name", async (bad) => {
    const scales = tensor("a.weight_scale_inv", "F32", [2, 1], Float32Array.of(1, bad));
    await expect(dequantized([weight, scales])).rejects.toMatchObject({
      code: "dialect",
      message: expect.stringContaining('"a.weight_scale_inv"'),
    });
  });
  test("the byte 0xFF is refused", async () => {
    const scales = tensor("a.scale", "F8_E8M0", [2, 1], Uint8Array.of(127, 255));
    await expect(dequantized([weight, scales])).rejects.toThrow(/NaN at index 1/);
  });
  test("a shape that fits no block is refused, not divided", async () => {
    const scales = tensor("a.weight_scale_inv", "F32", [5, 1], new Float32Array(5).fill(1));
    await expect(dequantized([weight, scales])).rejects.toMatchObject({
      code: "dialect",
      message: expect.stringMatching(/a.weight_scale_inv.*\[5, 1\]/),
    });
  });
  test("codes without a scale are refused, or taken as they are when asked to", async () => {
    await expect(dequantized([weight])).rejects.toThrow(/a.weight.*missing-scale/);
    const { found } = await dequantized([weight], { missingScale: "one", dtype: "f32" });
    expect([...floatsOf(found.get("a.weight")!)]).toEqual([...products(codes, () => 1)]);
  });
});

test("a block from config.json is used where it fits the shape", async () => {
  const scales = tensor("a.weight_scale_inv", "F32", [3, 2], new Float32Array(6).fill(1));
  const file = fileWith([weight, scales]);
  const checkpoint = await checkpointOf({ "m.safetensors": file });
  const block = (config: object) =>
    (resolveWeights({ ...checkpoint, config: config as never })[0] as { block: unknown }).block;
  expect(block({ quantization_config: { weight_block_size: [64, 64] } })).toEqual([64, 64]);
  expect(block({ text_config: { quantization_config: { weight_block_size: [64, 64] } } })).toEqual([64, 64]);
  expect(() => block({ quantization_config: { weight_block_size: [32, 32] } })).toThrow(/configured block/);
  expect(() => block({})).toThrow(/fits no known block/);
});

test("576 rows have 5 rows of scales: the block is 128, not 576 / 5", async () => {
  const scales = tensor("a.weight_scale_inv", "F32", [5, 1], Float32Array.of(1, 2, 4, 8, 16));
  const ones = tensor("a.weight", "F8_E4M3", [576, 32], new Uint8Array(576 * 32).fill(0x38));
  const { found } = await dequantized([ones, scales], { dtype: "f32" });
  const values = floatsOf(found.get("a.weight")!);
  expect([0, 127, 128, 255, 256, 511, 512, 575].map((row) => values[row * 32])).toEqual([
    1, 1, 2, 2, 4, 8, 16, 16,
  ]);
});

test("a weight and its scales may be in different files, and static scales of activations go", async () => {
  const first = fileWith([weight, tensor("a.input_scale", "F32", [1], Float32Array.of(1))]);
  const second = fileWith([tensor("a.weight_scale_inv", "F32", [2, 1], powers)]);
  const plan = planDequantize(await checkpointOf({ "1": first, "2": second }), { dtype: "f32" });
  const { files } = await run(plan, [first, second], engine);
  const want = products(codes, (i) => powers[square(i)]!);
  const found = await tensorsOf(files[0]!);
  expect([...found.keys()]).toEqual(["a.weight"]);
  expect(Buffer.compare(found.get("a.weight")!.bytes, new Uint8Array(want.buffer))).toBe(0);
  expect((await tensorsOf(files[1]!)).size).toBe(0);
});
