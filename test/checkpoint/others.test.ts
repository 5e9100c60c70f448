import { describe, expect, test } from "vitest";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import type { Config } from "../../src/checkpoint/read/checkpoint.ts";
import { load } from "../../src/load.ts";
import { decode, E2M1, E4M3 } from "../reference/binary.ts";
import { narrow, widen } from "../reference/cast.ts";
import { checkpointOf, fileWith, run, type Stored, tensor, tensorsOf } from "../support/checkpoint-files.ts";
import { randomWords } from "../support/random.ts";

// Names and layouts of other tools, each held against its definition.

const [ROWS, COLS] = [12, 64];
const codes = Uint8Array.from(randomWords(1, ROWS * COLS), (word) => word & 0xbf);
const rowScales = Float32Array.from({ length: ROWS }, (_, i) => 0.011 * (i + 1));
const inBf16 = narrow("bf16", rowScales) as Uint16Array;
const fp8 = (scaleAt: (row: number) => number) =>
  Float32Array.from(codes, (code, i) => Math.fround(decode(E4M3, code) * scaleAt(Math.floor(i / COLS))));

async function dequantized(tensors: readonly Stored[], config: Config | null = null) {
  const file = fileWith(tensors);
  const checkpoint = { ...(await checkpointOf({ m: file })), config };
  const { files } = await run(planDequantize(checkpoint, { dtype: "f32" }), [file], await load());
  return tensorsOf(files[0]!);
}

async function expectValues(
  tensors: readonly Stored[],
  config: Config | null,
  name: string,
  want: Float32Array,
) {
  const found = await dequantized(tensors, config);
  expect([...found.keys()]).toEqual([name]);
  expect([...new Uint32Array(found.get(name)!.bytes.slice().buffer)]).toEqual([
    ...new Uint32Array(want.buffer),
  ]);
}

describe("tensor classes", () => {
  test.each([
    ["quanto", "a.weight._data", "a.weight._scale"],
    ["torchao", "a.weight:qdata", "a.weight:scale"],
    ["torchao", "a._weight_qdata", "a._weight_scale"],
  ])("%s: %s, a bfloat16 scale for each row", async (method, codesName, scalesName) => {
    const stored = [
      tensor(codesName, "F8_E4M3", [ROWS, COLS], codes),
      tensor(scalesName, "BF16", [ROWS, 1], inBf16),
    ];
    const scales = widen("bf16", inBf16);
    await expectValues(
      stored,
      { quantization_config: { quant_method: method } },
      "a.weight",
      fp8((row) => scales[row]!),
    );
  });
  test("their integers stay refused", async () => {
    const stored = [
      tensor("a.weight._data", "I8", [ROWS, COLS], codes),
      tensor("a.weight._scale", "BF16", [ROWS, 1], inBf16),
    ];
    await expect(dequantized(stored)).rejects.toThrow(/quanto/);
  });
});

describe("fused matrices with a scale for each part", () => {
  const of = (name: string, count: number) => [
    tensor(name, "F8_E4M3", [ROWS, COLS], codes),
    tensor(`${name}_scale`, "F32", [count], rowScales.slice(0, count)),
  ];
  const heads = { num_attention_heads: 4, num_key_value_heads: 1, head_dim: 2 };

  test.each([null, { text_config: heads }])("gate_up_proj in halves", async (config) => {
    const name = "a.gate_up_proj.weight";
    await expectValues(
      of(name, 2),
      config,
      name,
      fp8((row) => rowScales[row < 6 ? 0 : 1]!),
    );
  });
  test.each([heads, { text_config: heads }])("qkv_proj by heads: %j", async (config) => {
    const name = "a.qkv_proj.weight";
    await expectValues(
      of(name, 3),
      config,
      name,
      fp8((row) => rowScales[row < 8 ? 0 : row < 10 ? 1 : 2]!),
    );
  });
  test("parts that config.json does not tell are refused", async () => {
    await expect(dequantized(of("a.qkv_proj.weight", 3))).rejects.toThrow(/a.qkv_proj.weight_scale/);
    const other = { ...heads, num_attention_heads: 5 };
    await expect(dequantized(of("a.qkv_proj.weight", 3), other)).rejects.toThrow(/which fits no known block/);
  });
});

test("AMD Quark: MXFP4 experts beside FP8 attention; ModelOpt MIXED_PRECISION: NVFP4 beside FP8", async () => {
  const packed = Uint8Array.from(randomWords(2, (ROWS * COLS) / 2), (word) => word & 0xff);
  const fp4 = Array.from({ length: ROWS * COLS }, (_, i) =>
    decode(E2M1, (packed[i >> 1]! >> (4 * (i & 1))) & 15),
  );
  const attention = [
    tensor("q.weight", "F8_E4M3", [ROWS, COLS], codes),
    tensor("q.weight_scale", "F32", [], Float32Array.of(0.25)),
  ];
  const bytes = Uint8Array.from({ length: (ROWS * COLS) / 32 }, (_, i) => 120 + (i % 9));
  const quark = await dequantized(
    [
      ...attention,
      tensor("e.weight", "U8", [ROWS, COLS / 2], packed),
      tensor("e.weight_scale", "U8", [ROWS, COLS / 32], bytes),
    ],
    { quantization_config: { quant_method: "quark" } },
  );
  const floats = (found: Stored) => [...new Float32Array(found.bytes.slice().buffer)];
  expect(floats(quark.get("e.weight")!)).toEqual(
    fp4.map((x, i) => x * 2 ** (bytes[Math.floor(i / 32)]! - 127)),
  );
  expect(floats(quark.get("q.weight")!)).toEqual([...fp8(() => 0.25)]);
  const scales = new Uint8Array((ROWS * COLS) / 16).fill(0x40);
  const mixed = await dequantized(
    [
      ...attention,
      tensor("e.weight", "U8", [ROWS, COLS / 2], packed),
      tensor("e.weight_scale", "F8_E4M3", [ROWS, COLS / 16], scales),
      tensor("e.weight_scale_2", "F32", [], Float32Array.of(0.5)),
    ],
    { quantization_config: { quant_method: "modelopt", quant_algo: "MIXED_PRECISION" } },
  );
  expect(floats(mixed.get("e.weight")!)).toEqual(fp4);
  expect(floats(mixed.get("q.weight")!)).toEqual([...fp8(() => 0.25)]);
});
