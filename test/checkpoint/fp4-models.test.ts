import { beforeAll, describe, expect, test } from "vitest";
import type { DialectName } from "../../src/checkpoint/dialects/index.ts";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { documentsOf, openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { openModel } from "../../src/model/open.ts";
import { run } from "../support/checkpoint-files.ts";
import { decibels, plainFilesOf } from "../support/models.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

/** A random model in a dialect, with the files that belong to it. */
async function modelIn(name: string, to: DialectName): Promise<Map<string, Blob>> {
  const opened = await openCheckpoint(await plainFilesOf(name));
  const plan = planQuantize(opened.checkpoint, { to });
  const { files } = await run(plan, opened.sources as Blob[], engine);
  const documents = documentsOf(opened, plan, { kind: "quantize", to });
  return new Map([
    ["model.safetensors", files[0]!],
    ...documents.map(({ name: file, text }): [string, Blob] => [file, new Blob([text])]),
  ]);
}

async function logitsOf(files: ReadonlyMap<string, Blob>): Promise<Float32Array> {
  const model = await openModel(files, { threads: 1 });
  try {
    return await model.logits(Int32Array.from({ length: 20 }, (_, i) => (i * 37) % 300));
  } finally {
    await model.close();
  }
}

const configOf = async (files: ReadonlyMap<string, Blob>) =>
  JSON.parse(await files.get("config.json")!.text()) as {
    readonly [key: string]: unknown;
    readonly quantization_config: { readonly [key: string]: unknown };
  };

describe("models", () => {
  test.each([
    ["qwen3_moe", "compressed-tensors-mxfp4"],
    ["qwen3_moe", "compressed-tensors-nvfp4"],
    ["llama", "modelopt-nvfp4"],
    ["llama", "quark-mxfp6"],
    ["deepseek_v3", "deepseek-v4-fp4"],
    ["gpt_oss", "gpt-oss"],
  ] as const)("%s in %s answers as its values do", async (name, to) => {
    const files = await modelIn(name, to);
    const opened = await openCheckpoint(files);
    const plan = planDequantize(opened.checkpoint, { dtype: "f32" });
    const { files: plain } = await run(plan, opened.sources as Blob[], engine);
    const documents = documentsOf(opened, plan, { kind: "dequantize", dtype: "f32" });
    const values = new Map<string, Blob>([
      ["model.safetensors", plain[0]!],
      ...documents.map(({ name: file, text }): [string, Blob] => [file, new Blob([text])]),
    ]);
    expect((await configOf(values)).quantization_config).toBeUndefined();
    expect((await configOf(values)).expert_dtype).toBeUndefined();
    expect(decibels(await logitsOf(values), await logitsOf(files))).toBeGreaterThan(90);
  });

  test("gpt-oss from its values is the model that it was", async () => {
    const plain = await plainFilesOf("gpt_oss");
    expect(
      decibels(await logitsOf(plain), await logitsOf(await modelIn("gpt_oss", "gpt-oss"))),
    ).toBeGreaterThan(100);
  });

  test("config.json says what is true", async () => {
    const v4 = await configOf(await modelIn("deepseek_v3", "deepseek-v4-fp4"));
    expect(v4).toMatchObject({
      expert_dtype: "fp4",
      quantization_config: { quant_method: "fp8", scale_fmt: "ue8m0", weight_block_size: [128, 128] },
    });
    const oss = (await configOf(await modelIn("gpt_oss", "gpt-oss"))).quantization_config;
    expect(oss.quant_method).toBe("mxfp4");
    expect(oss.modules_to_not_convert).toEqual(
      expect.arrayContaining(["lm_head", "model.embed_tokens", "model.layers.0.self_attn.q_proj"]),
    );
    const packed = (await configOf(await modelIn("qwen3_moe", "compressed-tensors-nvfp4")))
      .quantization_config;
    expect(packed).toMatchObject({
      format: "nvfp4-pack-quantized",
      config_groups: {
        group_0: {
          weights: { num_bits: 4, group_size: 16, strategy: "tensor_group" },
          input_activations: null,
        },
      },
      ignore: expect.arrayContaining(["lm_head", "model.layers.0.mlp.gate"]),
    });
    const files = await modelIn("llama", "modelopt-nvfp4");
    expect((await configOf(files)).quantization_config).toMatchObject({
      quant_algo: "W4A16_NVFP4",
      group_size: 16,
      ignore: expect.arrayContaining(["lm_head"]),
    });
    expect(JSON.parse(await files.get("hf_quant_config.json")!.text()).quantization.quant_algo).toBe(
      "W4A16_NVFP4",
    );
  });
});
