import { describe, expect, test } from "vitest";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { documentsOf, openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import { fileWith, valuesAs } from "../support/checkpoint-files.ts";
import { opened, plain, text } from "../support/quantised-checkpoints.ts";
import { randomNormal } from "../support/random.ts";

describe("the files of a folder", () => {
  const file = (name: string): Blob => fileWith([valuesAs(name, "F32", [2, 2], Float32Array.of(1, 2, 3, 4))]);

  test("a copy in Mistral's layout is left out beside the files of transformers, and read alone", async () => {
    const mistral: [string, Blob][] = [
      ["consolidated.safetensors", file("b")],
      ["params.json", text({})],
    ];
    const both = new Map([["config.json", text({})], ["model.safetensors", file("a")], ...mistral] as const);
    const { checkpoint, leftOut, others } = await openCheckpoint(both);
    expect(checkpoint.shards.map(({ name }) => name)).toEqual(["model.safetensors"]);
    expect(leftOut).toEqual(["consolidated.safetensors", "params.json"]);
    expect(others).toEqual([]);
    const alone = await openCheckpoint(new Map(mistral));
    expect(alone.checkpoint.shards.map(({ name }) => name)).toEqual(["consolidated.safetensors"]);
    expect(alone.leftOut).toEqual([]);
  });

  test("model.safetensors is the model, and an adapter beside it is carried over unread", async () => {
    const files = new Map([
      ["config.json", text({})],
      ["model.safetensors", file("a")],
      ["adapter_model.safetensors", file("a")],
    ]);
    const { checkpoint, unread, others } = await openCheckpoint(files);
    expect(checkpoint.shards).toHaveLength(1);
    expect(unread).toEqual(["adapter_model.safetensors"]);
    expect(others).toEqual(["adapter_model.safetensors"]);
  });

  test("Infinity and NaN of Python stay in config.json as they were", async () => {
    const config =
      '{\n  "limit": [0.0, Infinity],\n  "low": -Infinity, "n": NaN, "s": "NaN, \\"Infinity\\"",\n  "quantization_config": {"quant_method": "fp8"}\n}';
    const files = new Map([
      ["config.json", new Blob([config])],
      ["model.safetensors", file("a.weight")],
    ]);
    const checkpoint = await openCheckpoint(files);
    expect(checkpoint.checkpoint.config).toMatchObject({ low: null, s: 'NaN, "Infinity"' });
    const plan = planDequantize(checkpoint.checkpoint);
    const [document] = documentsOf(checkpoint, plan, { kind: "dequantize", dtype: "bf16" });
    expect(document!.text).toBe(config.replace(/,\n {2}"quantization_config.*\n/, "\n"));
  });

  test("stacked experts that stay are named by their module", async () => {
    const experts = valuesAs("l.0.mlp.experts.down_proj", "BF16", [2, 4, 4], randomNormal(2, 32));
    const checkpoint = await opened([plain, experts], {});
    const plan = planQuantize(checkpoint.checkpoint);
    const [document] = documentsOf(checkpoint, plan, { kind: "quantize", to: "deepseek-v3.1" });
    const { quantization_config: quantization } = JSON.parse(document!.text);
    expect(quantization.modules_to_not_convert).toEqual(["l.0.mlp.experts"]);
  });
});
