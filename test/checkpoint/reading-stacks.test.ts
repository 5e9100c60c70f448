import { describe, expect, test } from "vitest";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { resolveWeights } from "../../src/checkpoint/read/resolve.ts";
import type { ScaledWeight } from "../../src/checkpoint/read/weights.ts";
import { dequantizeRows, readScaledRows } from "../../src/checkpoint/run/rows.ts";
import { load } from "../../src/load.ts";
import { decode, E2M1, E4M3 } from "../reference/binary.ts";
import { checkpointOf, fileWith, run, type Stored, tensor, tensorsOf } from "../support/checkpoint-files.ts";
import { randomWords } from "../support/random.ts";

describe("stacks of experts, bit for bit", () => {
  const [experts, ins, outs] = [3, 48, 6];
  const fround = Math.fround;
  const factors = [0.37, 0.011, 2.9].map(fround);
  const words = (seed: number, n: number, mask: number) =>
    Uint8Array.from(randomWords(seed, n), (word) => word & mask);
  const plain = async (tensors: Stored[]) => {
    const plan = planDequantize(await checkpointOf({ m: fileWith(tensors) }), { dtype: "f32" });
    const found = await tensorsOf((await run(plan, [fileWith(tensors)], await load())).files[0]!);
    expect([...found.keys()]).toEqual(["experts.up_proj"]);
    expect(found.get("experts.up_proj")!.shape).toEqual([experts, ins, outs]);
    return new Float32Array(found.get("experts.up_proj")!.bytes.slice().buffer);
  };
  /** The values of [experts, in, out], each by its place. */
  const valuesBy = (value: (expert: number, row: number, col: number) => number) =>
    Float32Array.from({ length: experts * ins * outs }, (_, i) =>
      value(Math.floor(i / outs / ins), Math.floor(i / outs) % ins, i % outs),
    );

  test.each([
    ["one for all", [], [0.37]],
    ["one for each", [experts, 1, 1], factors],
  ])("FP8, scales: %s", async (_, shape, scales) => {
    const codes = words(3, experts * ins * outs, 0xbf);
    const found = await plain([
      tensor("experts.up_proj", "F8_E4M3", [experts, ins, outs], codes),
      tensor("experts.up_proj_weight_scale", "F32", shape, Float32Array.from(scales)),
    ]);
    const scaleOf = (expert: number) => fround(scales.length > 1 ? scales[expert]! : scales[0]!);
    expect(found).toEqual(
      valuesBy((e, r, c) => fround(decode(E4M3, codes[(e * ins + r) * outs + c]!) * scaleOf(e))),
    );
  });

  const nvfp4 = (bytes: Uint8Array, scales: Uint8Array, [half, outs2]: number[], scaleShape: number[]) => [
    tensor("experts.up_proj", "U8", [experts, half!, outs2!], bytes),
    tensor("experts.up_proj_weight_scale", "F8_E4M3", [experts, ...scaleShape], scales),
  ];

  test.each([
    ["one for all", [], [0.37]],
    ["one for each", [experts], factors],
  ])("NVFP4 with two codes of a column to a byte, float32: %s", async (_, shape, given) => {
    const bytes = words(5, (experts * ins * outs) / 2, 0xff);
    const scales = words(6, (experts * ins * outs) / 16, 0x3f).map((byte) => byte | 0x10);
    const found = await plain([
      ...nvfp4(bytes, scales, [ins / 2, outs], [ins / 16, outs]),
      tensor("experts.up_proj_weight_scale_2", "F32", shape, Float32Array.from(given)),
    ]);
    const want = valuesBy((e, r, c) => {
      const byte = bytes[((e * ins) / 2 + (r >> 1)) * outs + c]!;
      const scale = decode(E4M3, scales[((e * ins) / 16 + (r >> 4)) * outs + c]!);
      const factor = fround(given.length > 1 ? given[e]! : given[0]!);
      return fround(decode(E2M1, r % 2 === 0 ? byte & 15 : byte >> 4) * fround(scale * factor));
    });
    expect(found).toEqual(want);
  });

  test("NVFP4 with two codes of a row to a byte, a float32 for each", async () => {
    const [rows, cols] = [outs, ins];
    const bytes = words(7, (experts * rows * cols) / 2, 0xff);
    const scales = words(8, (experts * rows * cols) / 16, 0x3f).map((byte) => byte | 0x10);
    const tensors = [
      ...nvfp4(bytes, scales, [rows, cols / 2], [rows, cols / 16]),
      tensor("experts.up_proj_weight_scale_2", "F32", [experts], Float32Array.from(factors)),
    ];
    const checkpoint = await checkpointOf({ m: fileWith(tensors) });
    const [weight] = resolveWeights(checkpoint) as [ScaledWeight];
    const engine = await load();
    const want = Float32Array.from({ length: 2 * bytes.length }, (_, i) => {
      const code = i % 2 === 0 ? bytes[i >> 1]! & 15 : bytes[i >> 1]! >> 4;
      const factor = factors[Math.floor(i / rows / cols)]!;
      return fround(decode(E2M1, code) * fround(decode(E4M3, scales[i >> 4]!) * factor));
    });
    const read = await readScaledRows(weight, { slice: 1, firstRow: 2, rows: 3 }, [fileWith(tensors)]);
    const first = (rows + 2) * cols;
    expect(dequantizeRows(read, "f32", engine)).toEqual(want.subarray(first, first + 3 * cols));
  });

  test("rows that begin in the middle of a byte", async () => {
    const bytes = words(5, (experts * ins * outs) / 2, 0xff);
    const scales = words(6, (experts * ins * outs) / 16, 0x3f).map((byte) => byte | 0x10);
    const tensors = [
      ...nvfp4(bytes, scales, [ins / 2, outs], [ins / 16, outs]),
      tensor("experts.up_proj_weight_scale_2", "F32", [experts], Float32Array.from(factors)),
    ];
    const [weight] = resolveWeights(await checkpointOf({ m: fileWith(tensors) })) as [ScaledWeight];
    const sources = [fileWith(tensors)];
    const all = await readScaledRows(weight, { slice: 0, firstRow: 0, rows: experts * ins }, sources);
    for (const [firstRow, rows] of [
      [3, 4],
      [17, 1],
      [2, 45],
      [0, 48],
    ] as const) {
      const read = await readScaledRows(weight, { slice: 2, firstRow, rows }, sources);
      const first = (2 * ins + firstRow) * outs;
      expect(read.codes).toEqual(all.codes.subarray(first, first + rows * outs));
    }
  });
});
