import { describe, expect, test } from "vitest";
import { inspect } from "../../src/checkpoint/measure/inspect.ts";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { decodeCode, narrow } from "../reference/cast.ts";
import { type Stored, tensor, valuesAs } from "../support/checkpoint-files.ts";
import { codesOf, dequantized, opened } from "../support/quantised-checkpoints.ts";
import { randomWords } from "../support/random.ts";

describe("scales that are not where others keep them", () => {
  const codes = codesOf(5, 96 * 64);
  const weight = tensor("a.weight", "F8_E4M3", [96, 64], codes);
  const values = (scaleAt: (row: number, col: number) => number): Uint8Array => {
    const products = Float32Array.from(codes, (code, i) =>
      Math.fround(decodeCode("e4m3", code) * scaleAt(Math.floor(i / 64), i % 64)),
    );
    return new Uint8Array((narrow("bf16", products) as Uint16Array).buffer);
  };
  const numbers = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => 2 ** (i % 5) / 7);

  test.each<[string, Stored, (scales: Float32Array) => (row: number, col: number) => number]>([
    ["a scalar named scale_weight", tensor("a.scale_weight", "F32", [], numbers(1)), (s) => () => s[0]!],
    ["a scalar named qscale_weight", tensor("a.qscale_weight", "F32", [1], numbers(1)), (s) => () => s[0]!],
    [
      "blocks of a row with an axis for broadcasting",
      tensor("a.weight_scale", "F32", [96, 4, 1], numbers(384)),
      (s) => (row, col) => s[row * 4 + Math.floor(col / 16)]!,
    ],
    [
      "blocks with two axes for broadcasting",
      tensor("a.weight_scale", "F32", [1, 1, 1, 1], numbers(1)),
      (s) => () => s[0]!,
    ],
  ])("%s", async (_, scales, scaleAt) => {
    const { found } = await dequantized([weight, scales]);
    const floats = new Float32Array(scales.bytes.buffer);
    expect(found.get("a.weight")!.bytes).toEqual(values(scaleAt(floats)));
    expect([...found.keys()]).toEqual(["a.weight"]);
  });

  test("a grid wider and taller than the weight needs is cropped, where config.json names the block", async () => {
    const scales = tensor("a.weight_scale_inv", "F32", [5, 6], numbers(30));
    const config = { quantization_config: { quant_method: "fp8", weight_block_size: [32, 16] } };
    const { found } = await dequantized([weight, scales], config);
    const floats = new Float32Array(scales.bytes.buffer);
    expect(found.get("a.weight")!.bytes).toEqual(
      values((row, col) => floats[Math.floor(row / 32) * 6 + Math.floor(col / 16)]!),
    );
    await expect(dequantized([weight, scales])).rejects.toThrow(/fits no known block/);
  });

  test("blocks and groups of compressed-tensors are read from config.json", async () => {
    const scales = tensor("a.weight_scale", "F32", [3, 4], numbers(12));
    const group = { weights: { num_bits: 8, type: "float", strategy: "block", block_structure: [32, 16] } };
    const config = {
      quantization_config: { quant_method: "compressed-tensors", config_groups: { a: group } },
    };
    const floats = new Float32Array(scales.bytes.buffer);
    expect((await dequantized([weight, scales], config)).found.get("a.weight")!.bytes).toEqual(
      values((row, col) => floats[Math.floor(row / 32) * 4 + Math.floor(col / 16)]!),
    );
  });

  test("one scale an expert, and one a column of an expert", async () => {
    const stacked = tensor("a.experts.up_proj", "F8_E4M3", [3, 32, 64], codes);
    for (const shape of [[3], [3, 1, 1]]) {
      const scales = tensor("a.experts.up_proj_scale", "F32", shape, numbers(3));
      const floats = new Float32Array(scales.bytes.buffer);
      const { found } = await dequantized([stacked, scales]);
      expect(found.get("a.experts.up_proj")!.bytes).toEqual(values((row) => floats[Math.floor(row / 32)]!));
    }
    const scales = tensor("a.experts.up_proj_scale", "F32", [3, 1, 64], numbers(192));
    const floats = new Float32Array(scales.bytes.buffer);
    const { found } = await dequantized([stacked, scales]);
    expect(found.get("a.experts.up_proj")!.bytes).toEqual(
      values((row, col) => floats[Math.floor(row / 32) * 64 + col]!),
    );
  });

  test("a scale of 0 serves a block of zeros, and no other", async () => {
    const zeros = codes.slice().fill(0, 0, 64);
    const scales = Float32Array.from({ length: 96 }, (_, i) => (i === 0 ? 0 : 0.5));
    const perRow = tensor("a.weight_scale", "F32", [96, 1], scales);
    const { found } = await dequantized([tensor("a.weight", "F8_E4M3", [96, 64], zeros), perRow]);
    expect([...found.get("a.weight")!.bytes.subarray(0, 128)].every((byte) => byte === 0)).toBe(true);
    await expect(dequantized([weight, perRow])).rejects.toThrow(/a\.weight_scale.*0 for the block at row 0/);
    for (const [found, warnings] of [
      [zeros, []],
      [codes, [expect.stringMatching(/a\.weight_scale.*0 for the block at row 0/)]],
    ] as const) {
      const { checkpoint, sources } = await opened(
        [tensor("a.weight", "F8_E4M3", [96, 64], found), perRow],
        {},
      );
      const inspection = await inspect(checkpoint, sources);
      expect(inspection.warnings).toEqual(warnings);
      expect(inspection.tensors[0]!.scaled!.facts).toMatchObject({ count: 96, minExponent: -1 });
    }
  });

  test("a tensor that may be the scale is named, and scales of 1 are not advised", async () => {
    const scales = tensor("a.strange_scale", "F32", [7], numbers(7));
    const { checkpoint } = await opened([weight, scales], {});
    for (const options of [{}, { missingScale: "one" as const }]) {
      expect(() => planDequantize(checkpoint, options)).toThrow(/none, but tensor "a.strange_scale"/);
      expect(() => planDequantize(checkpoint, options)).not.toThrow(/--missing-scale/);
    }
  });

  test("scales of several rows beside a weight of no columns fit no block", async () => {
    const empty = tensor("a.weight", "F8_E4M3", [96, 0], new Uint8Array(0));
    const scales = tensor("a.weight_scale_inv", "F32", [1, 3], numbers(3));
    const config = { quantization_config: { weight_block_size: [128, 128] } };
    const { checkpoint, sources } = await opened([empty, scales], config);
    expect(() => planDequantize(checkpoint)).toThrow(/fits neither the configured block/);
    expect((await inspect(checkpoint, sources)).warnings).toHaveLength(1);
  });

  test("nor does a scale for each of several parts of a row without columns", async () => {
    const empty = tensor("a.weight", "F8_E4M3", [96, 0], new Uint8Array(0));
    const scales = tensor("a.weight_scale", "F32", [96, 3, 1], numbers(96 * 3));
    const { checkpoint, sources } = await opened([empty, scales], {});
    expect(() => planDequantize(checkpoint)).toThrow(/fits no known block/);
    expect((await inspect(checkpoint, sources)).warnings).toHaveLength(1);
  });

  test("blocks that no tensor can have are a warning to who looks, and refused otherwise", async () => {
    const config = { quantization_config: { weight_block_size: [2 ** 40, 1] } };
    const { checkpoint } = await opened([weight], config);
    expect(() => planDequantize(checkpoint)).toThrow(/at most 2\^31/);
    const { warnings } = await inspect(checkpoint, null);
    expect(warnings[0]).toMatch(/at most 2\^31/);
  });

  test.each([
    ["F4 of one dimension", tensor("a.table", "F4", [8], new Uint8Array(4))],
    ["F6 of any name", tensor("a.weight_scale", "F6_E2M3", [4, 4], new Uint8Array(12))],
  ])("%s is codes, whatever is beside it", async (_, codes) => {
    const { checkpoint } = await opened([codes, valuesAs("b.weight", "BF16", [4, 4], numbers(16))], {});
    expect(() => planDequantize(checkpoint)).toThrow(/codes of an unknown kind/);
  });

  test("a marker of FP8 without a weight is dropped", async () => {
    const marker = tensor("scaled_fp8", "F8_E4M3", [2], new Uint8Array(2));
    const { checkpoint } = await opened([marker, valuesAs("b.weight", "BF16", [4, 4], numbers(16))], {});
    expect(planDequantize(checkpoint).tensors.map(({ action }) => action)).toEqual(["drop", "copy"]);
  });

  test("so is a tensor of the shape of scales, and a bias is none", async () => {
    const odd = tensor("a.strange", "F32", [96, 1], numbers(96));
    const bias = tensor("a.bias", "F32", [96], numbers(96));
    const { checkpoint } = await opened([weight, bias, odd], {});
    for (const options of [{}, { missingScale: "one" as const }])
      expect(() => planDequantize(checkpoint, options)).toThrow(/none, but tensor "a.strange"/);
    const { checkpoint: biased } = await opened([weight, bias], {});
    expect(() => planDequantize(biased)).toThrow(/--missing-scale one/);
    expect(planDequantize(biased, { missingScale: "one" }).tensors[0]!.scaleTakenAsOne).toBe(true);
  });
});

describe("NVFP4", () => {
  const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6];
  const packed = Uint8Array.from(randomWords(9, 8 * 32), (word) => word & 0xff);
  const scales = Uint8Array.from(randomWords(10, 8 * 4), (word) => 1 + (word % 126));
  const values = (scaleOf: (code: number) => number): Uint8Array => {
    const products = Float32Array.from({ length: 8 * 64 }, (_, i) => {
      const byte = packed[i >> 1]!;
      const scale = scales[Math.floor(i / 64) * 4 + Math.floor((i % 64) / 16)]!;
      return Math.fround(E2M1[i & 1 ? byte >> 4 : byte & 15]! * scaleOf(scale));
    });
    return new Uint8Array((narrow("bf16", products) as Uint16Array).buffer);
  };

  test("of ModelOpt: times one float32", async () => {
    const { found } = await dequantized([
      tensor("a.weight", "U8", [8, 32], packed),
      tensor("a.weight_scale", "F8_E4M3", [8, 4], scales),
      tensor("a.weight_scale_2", "F32", [], Float32Array.of(0.013)),
      tensor("a.input_scale", "F32", [], Float32Array.of(1)),
    ]);
    const factor = Math.fround(0.013);
    expect([...found.keys()]).toEqual(["a.weight"]);
    expect(found.get("a.weight")!.bytes).toEqual(
      values((code) => Math.fround(decodeCode("e4m3", code) * factor)),
    );
  });

  test("of compressed-tensors: divided by one float32", async () => {
    const { found } = await dequantized([
      tensor("a.weight_packed", "U8", [8, 32], packed),
      tensor("a.weight_scale", "F8_E4M3", [8, 4], scales),
      tensor("a.weight_global_scale", "F32", [1], Float32Array.of(777)),
    ]);
    expect([...found.keys()]).toEqual(["a.weight"]);
    expect(found.get("a.weight")!.bytes).toEqual(
      values((code) => Math.fround(decodeCode("e4m3", code) / 777)),
    );
  });
});
