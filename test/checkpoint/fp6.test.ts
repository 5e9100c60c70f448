import { beforeAll, expect, test } from "vitest";
import type { Override } from "../../src/checkpoint/dialects/overrides.ts";
import { inspect } from "../../src/checkpoint/measure/inspect.ts";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { documentsOf, openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import type { Checkpoint } from "../../src/checkpoint/read/checkpoint.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import * as reference from "../reference/block.ts";
import { decodeCode, widen } from "../reference/cast.ts";
import {
  checkpointOf,
  fileWith,
  run,
  type Stored,
  tensor,
  tensorsOf,
  valuesAs,
} from "../support/checkpoint-files.ts";
import { randomNormal, randomWords } from "../support/random.ts";

// MXFP6 as AMD Quark stores it, against the definitions, and read back by our own reader.

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

const [ROWS, COLS] = [37, 96];
const EXPERTS = "model.layers.1.mlp.experts";
const NAMES = {
  mxfp6: ["model.layers.0.mlp.down_proj.weight"],
  mxfp4: [
    "model.layers.0.self_attn.o_proj.weight",
    `${EXPERTS}.0.up_proj.weight`,
    `${EXPERTS}.1.up_proj.weight`,
  ],
  keep: [
    "model.layers.1.self_attn.o_proj.weight",
    `${EXPERTS}.0.down_proj.weight`,
    `${EXPERTS}.1.down_proj.weight`,
  ],
} as const;
const OVERRIDES: Override[] = [
  { pattern: "*0.self_attn.o_proj.weight", scheme: "mxfp4" },
  { pattern: "*.up_proj.weight", scheme: "mxfp4" },
  { pattern: "*1.self_attn.o_proj.weight", scheme: "keep" },
  { pattern: "*.experts.*.down_proj.weight", scheme: "keep" },
];

/** Weights with outliers, tiny values and a row of zeros, and the values that BF16 holds. */
function weightOf(name: string, seed: number): [Stored, Float32Array] {
  const values = randomNormal(seed, ROWS * COLS);
  values.fill(0, 0, COLS);
  for (let i = COLS; i < values.length; i += 61) values[i]! *= i % 2 === 0 ? 300 : 2 ** -20;
  const stored = valuesAs(name, "BF16", [ROWS, COLS], values);
  return [stored, widen("bf16", new Uint16Array(stored.bytes.buffer))];
}

const weights = new Map(
  Object.values(NAMES)
    .flat()
    .map((name, i) => [name as string, weightOf(name, i)]),
);

/** A folder in MXFP6: the file, what config.json says, and both as a checkpoint. */
async function made(overrides: readonly Override[] = []) {
  const source = fileWith([...weights.values()].map(([stored]) => stored));
  const files = new Map([
    ["model.safetensors", source],
    ["config.json", new Blob(["{}"])],
  ]);
  const opened = await openCheckpoint(files);
  const plan = planQuantize(opened.checkpoint, { to: "quark-mxfp6", overrides });
  const file = (await run(plan, [source], engine, 3)).files[0]!;
  const [document] = documentsOf(opened, plan, { kind: "quantize", to: "quark-mxfp6" });
  const config = JSON.parse(document!.text);
  return {
    file,
    label: config.quantization_config,
    checkpoint: { ...(await checkpointOf({ m: file })), config },
  };
}

async function plainOf(checkpoint: Checkpoint, file: Blob): Promise<Map<string, Stored>> {
  return tensorsOf((await run(planDequantize(checkpoint, { dtype: "f32" }), [file], engine)).files[0]!);
}

const bitsOf = (values: Float32Array) => [...new Uint32Array(values.buffer)];
const floats = ({ bytes }: Stored) => new Float32Array(bytes.slice().buffer);

test("codes, four to three bytes, and scales are the definition's, beside MXFP4, and are read back", async () => {
  const { file, checkpoint } = await made(OVERRIDES);
  const found = await tensorsOf(file);
  const plain = await plainOf(checkpoint, file);
  expect([...plain.keys()].sort()).toEqual([...weights.keys()].sort());
  for (const [format, bits] of [
    ["mxfp6", 6],
    ["mxfp4", 4],
  ] as const) {
    const scheme = { ...schemes[format], rounding: "even" } as const;
    for (const name of NAMES[format]) {
      const want = reference.quantize(weights.get(name)![1], [ROWS, COLS], scheme);
      expect(found.get(name)).toMatchObject({ dtype: "U8", shape: [ROWS, (COLS * bits) / 8] });
      expect(found.get(`${name}_scale`)).toMatchObject({ dtype: "U8", shape: [ROWS, COLS / 32] });
      expect(Buffer.compare(found.get(name)!.bytes, want.codes), name).toBe(0);
      expect([...found.get(`${name}_scale`)!.bytes]).toEqual([...want.scales]);
      expect(bitsOf(floats(plain.get(name)!))).toEqual(bitsOf(reference.dequantize(want)));
    }
  }
  for (const name of NAMES.keep) expect(found.get(name)!.dtype).toBe("BF16");
  const { dialect, tensors, warnings } = await inspect(checkpoint, [file]);
  expect([dialect, warnings]).toEqual(["quark-mxfp6", []]);
  expect(tensors.find(({ name }) => name === NAMES.mxfp6[0])).toMatchObject({
    shape: [ROWS, COLS],
    bytes: ROWS * (72 + 3),
    scaled: { element: "e2m3", block: [1, 32] },
  });
});

test("beside FP8 it is a mixture, and no folder of Quark", async () => {
  const { checkpoint } = await made();
  const fp8 = fileWith([
    tensor("x.weight", "F8_E4M3", [128, 128], new Uint8Array(16384)),
    tensor("x.weight_scale_inv", "F32", [1, 1], Float32Array.of(1)),
  ]);
  const { shards } = await checkpointOf({ x: fp8 });
  const both = { ...checkpoint, shards: [...checkpoint.shards, ...shards] };
  expect((await inspect(both, null)).dialect).toBe("mixed");
});

test("config.json says what Quark and vLLM look for", async () => {
  const { label } = await made(OVERRIDES);
  // vllm/model_executor/layers/quantization/quark/quark.py, QuarkConfig.from_config and _is_w_ocp_mx_a_x.
  const blocks = { qscheme: "per_group", group_size: 32, scale_format: "e8m0", is_dynamic: false };
  expect(label).toMatchObject({
    quant_method: "quark",
    export: { kv_cache_group: [], pack_method: "reorder" },
    global_quant_config: { weight: { ...blocks, dtype: "fp6_e2m3" }, input_tensors: null },
    layer_type_quant_config: {},
  });
  const kept = (name: string) =>
    label.exclude.some((target: string) =>
      target.startsWith("re:") ? new RegExp(`^(?:${target.slice(3)})`).test(name) : target === name,
    );
  for (const name of ["model.layers.1.self_attn.o_proj", EXPERTS, `${EXPERTS}.7.down_proj`])
    expect(kept(name)).toBe(true);
  for (const name of ["model.layers.0.self_attn.o_proj", `${EXPERTS}.7.up_proj`, `${EXPERTS}2`])
    expect(kept(name)).toBe(false);
  expect(Object.keys(label.layer_quant_config)).toEqual([
    "model.layers.0.self_attn.o_proj",
    EXPERTS,
    `${EXPERTS}.*.up_proj`,
  ]);
  for (const config of Object.values(label.layer_quant_config))
    expect(config).toMatchObject({ weight: { ...blocks, dtype: "fp4" }, input_tensors: null });
  expect((await made()).label.layer_quant_config).toEqual({});
});

test("without config.json, or with one that tells E3M2, the codes are refused and shown", async () => {
  const { file, checkpoint, label } = await made();
  const typed = (dtype: string) => ({
    ...checkpoint,
    config: { quantization_config: { ...label, global_quant_config: { weight: { dtype } } } },
  });
  const attempts = [
    [{ ...checkpoint, config: null }, /expected fp6_e2m3 as the only type.*got no such type/],
    [typed("fp6_e3m2"), /got fp6_e3m2.*E3M2 is not read here/],
  ] as const;
  for (const [unknown, message] of attempts) {
    expect(() => planDequantize(unknown)).toThrow(message);
    expect(() => planQuantize(unknown)).toThrow(message);
    const { warnings } = await inspect(unknown, [file]);
    expect(warnings.some((warning) => /fp6_e2m3/.test(warning))).toBe(true);
  }
});

test("MXFP6 becomes MXFP8 without a change of value or scale, and FP4 becomes MXFP6 without one of value", async () => {
  const { file, checkpoint } = await made();
  const [name] = NAMES.mxfp6;
  const plan = planQuantize(checkpoint, { to: "mxfp8" });
  const mxfp8 = await tensorsOf((await run(plan, [file], engine)).files[0]!);
  const before = await tensorsOf(file);
  expect(mxfp8.get(`${name}_scale_inv`)!.bytes).toEqual(before.get(`${name}_scale`)!.bytes);
  const codes = reference.unpack("e2m3", before.get(name)!.bytes);
  expect(Array.from(mxfp8.get(name)!.bytes, (code) => decodeCode("e4m3", code))).toEqual(
    Array.from(codes, (code) => decodeCode("e2m3", code)),
  );
  // A second time, codes and scales stay as they are.
  const again = planQuantize(checkpoint, { to: "quark-mxfp6" });
  expect(
    Buffer.compare(
      (await tensorsOf((await run(again, [file], engine)).files[0]!)).get(name)!.bytes,
      before.get(name)!.bytes,
    ),
  ).toBe(0);
  const fp4 = fileWith([
    tensor("a.weight", "I8", [6, 32], Uint8Array.from(randomWords(3, 192))),
    tensor(
      "a.scale",
      "F8_E8M0",
      [6, 2],
      Uint8Array.from({ length: 12 }, (_, i) => 120 + i),
    ),
  ]);
  const opened = await checkpointOf({ m: fp4 });
  const toMxfp6 = planQuantize(opened, { to: "quark-mxfp6" });
  const six = (await run(toMxfp6, [fp4], engine)).files[0]!;
  const labelled = { ...(await checkpointOf({ m: six })), config: checkpoint.config };
  expect(floats((await plainOf(labelled, six)).get("a.weight")!)).toEqual(
    floats((await plainOf(opened, fp4)).get("a.weight")!),
  );
});
