import { describe, expect, test } from "vitest";
import { inspect } from "../../src/checkpoint/measure/inspect.ts";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { documentsOf, openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import { load } from "../../src/load.ts";
import { bitsOfF32, narrow, widen } from "../reference/cast.ts";
import { fileWith, run, tensor, tensorsOf } from "../support/checkpoint-files.ts";
import { randomNormal, randomWords } from "../support/random.ts";

// Integers of 4 bits as compressed-tensors packs them: Kimi-K2-Thinking.

const [ROWS, COLS, GROUP] = [6, 96, 32];
const NAME = "model.layers.1.mlp.experts.0.up_proj.weight";
const words = Uint32Array.from(randomWords(1, (ROWS * COLS) / 8));
const scales = narrow("bf16", randomNormal(2, (ROWS * COLS) / GROUP).map(Math.abs)) as Uint16Array;
const stored = [
  tensor(`${NAME}_packed`, "I32", [ROWS, COLS / 8], new Uint8Array(words.buffer)),
  tensor(`${NAME}_scale`, "BF16", [ROWS, COLS / GROUP], scales),
  tensor(`${NAME}_shape`, "I64", [2], new Uint8Array(BigInt64Array.of(BigInt(ROWS), BigInt(COLS)).buffer)),
];

const weights = { num_bits: 4, type: "int", strategy: "group", group_size: GROUP, symmetric: true };
const configOf = (more: object) => ({
  quantization_config: {
    quant_method: "compressed-tensors",
    format: "pack-quantized",
    config_groups: { group_0: { targets: ["Linear"], weights: { ...weights, ...more } } },
  },
});

async function opened(tensors = stored, config: object = configOf({})) {
  return openCheckpoint(
    new Map([
      ["model.safetensors", fileWith(tensors)],
      ["config.json", new Blob([JSON.stringify(config)])],
    ]),
  );
}

/**
 * Element i of a row is in bits 4i of its int32, plus 8; times the
 * scale of its group, one rounding to bfloat16.
 */
const factors = widen("bf16", scales);
const values = Float32Array.from({ length: ROWS * COLS }, (_, i) => {
  const integer = ((words[Math.floor(i / 8)]! >>> (4 * (i % 8))) & 15) - 8;
  return Math.fround(integer * factors[Math.floor(i / GROUP)]!);
});

test("values are integers times scales, rounded once", async () => {
  const checkpoint = await opened();
  const plan = planDequantize(checkpoint.checkpoint);
  const { files } = await run(plan, checkpoint.sources as Blob[], await load());
  const found = await tensorsOf(files[0]!);
  expect([...found.keys()]).toEqual([NAME]);
  expect(found.get(NAME)).toMatchObject({ dtype: "BF16", shape: [ROWS, COLS] });
  const bits = new Uint16Array(found.get(NAME)!.bytes.buffer);
  const same = (a: number, b: number) => bitsOfF32(a) === bitsOfF32(b) || (a === 0 && b === 0);
  const want = widen("bf16", narrow("bf16", values) as Uint16Array);
  expect(widen("bf16", bits).every((value, i) => same(value, want[i]!))).toBe(true);
  const [document] = documentsOf(checkpoint, plan, { kind: "dequantize", dtype: "bf16" });
  expect(JSON.parse(document!.text)).toEqual({});
});

test("it becomes FP8 in one go, and inspect names it", async () => {
  const checkpoint = await opened();
  const plan = planQuantize(checkpoint.checkpoint, { to: "mxfp8" });
  const engine = await load();
  const { measured } = await run(plan, checkpoint.sources as Blob[], engine);
  const want = engine.compare(values, engine.quantize(values, [ROWS, COLS], "mxfp8"));
  expect(measured.get(NAME)).toMatchObject({ noise: want.noise, maxError: want.maxError });
  const { dialect, tensors } = await inspect(checkpoint.checkpoint, checkpoint.sources);
  expect(dialect).toBe("int4 (compressed-tensors)");
  expect(tensors).toHaveLength(1);
});

describe("what is not told, or something else, stays refused", () => {
  test.each([
    ["eight bits", { num_bits: 8 }],
    ["floating point", { type: "float" }],
    ["zero points", { symmetric: false }],
    ["nothing said of zero points", { symmetric: undefined }],
    ["another group size", { group_size: 64 }],
    ["channels", { strategy: "channel" }],
  ])("%s", async (_, more) => {
    const { checkpoint } = await opened(stored, configOf(more));
    expect(() => planDequantize(checkpoint)).toThrow(/pack-quantized/);
  });
  test.each(["_zero_point", "_g_idx"])("a tensor %s", async (end) => {
    const { checkpoint } = await opened([...stored, tensor(NAME + end, "I32", [1], new Uint8Array(4))]);
    expect(() => planDequantize(checkpoint)).toThrow(/Nothing was written/);
  });
});
