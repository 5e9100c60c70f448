import { beforeAll, describe, expect, test } from "vitest";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { checkpointOf, fileWith, run, valuesAs } from "../support/checkpoint-files.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

describe("which weights become FP8", () => {
  const decide = async (name: string, options = {}, shape = [64, 64]) => {
    const file = fileWith([
      valuesAs(name, "BF16", shape, new Float32Array(shape.reduce((a, b) => a * b, 1))),
    ]);
    return planQuantize(await checkpointOf({ "m.safetensors": file }), options).tensors[0]!;
  };
  const linear =
    "q_proj k_proj o_proj gate_proj up_proj down_proj kv_a_proj_with_mqa gate_up_proj qkv_proj c_attn wq w1 fc1 dense";
  test.each(linear.split(" "))("%s does", async (name) => {
    expect((await decide(`model.layers.3.mlp.${name}.weight`)).action).toBe("quantize");
  });
  const kept = [
    "model.embed_tokens.weight",
    "transformer.wte.weight",
    "lm_head.weight",
    "output.weight",
    "model.layers.3.mlp.gate.weight",
    "model.layers.3.block_sparse_moe.gate.weight",
    "model.layers.3.mlp.shared_expert_gate.weight",
    "model.layers.3.feed_forward.router.weight",
    "model.layers.3.input_layernorm.weight",
    "model.layers.3.self_attn.q_norm.weight",
    "model.layers.61.eh_proj.weight",
    "model.layers.3.self_attn.indexer.weights_proj.weight",
    "model.layers.3.linear_attn.conv1d.weight",
    "model.layers.3.linear_attn.in_proj_a.weight",
    "visual.blocks.0.attn.qkv.weight",
    "multi_modal_projector.linear_1.weight",
    "model.layers.3.mlp.e_score_correction",
  ];
  test.each(kept)("%s does not", async (name) => {
    const { action, reason } = await decide(name);
    expect(action).toBe("copy");
    expect(reason).toBeTruthy();
  });
  test("patterns decide first: exclude, then also, then only", async () => {
    const name = "model.layers.3.mlp.gate.weight";
    for (const option of ["also", "include"])
      expect((await decide(name, { [option]: ["*.mlp.gate.*"] })).action).toBe("quantize");
    expect((await decide(name, { only: ["*"] })).action).toBe("copy");
    expect((await decide(name, { only: ["*"], also: ["*"] })).action).toBe("quantize");
    const linear = "model.layers.3.mlp.up_proj.weight";
    expect((await decide(linear, { only: ["*.up_proj.weight"] })).action).toBe("quantize");
    expect((await decide(name, { include: ["*"], exclude: ["re:layers\\.[0-9]\\."] })).reason).toBe(
      "excluded",
    );
    for (const option of ["exclude", "include", "also", "only"]) {
      const unmatched = decide("a.up_proj.weight", { [option]: ["up_proj"] });
      await expect(unmatched).rejects.toThrow(
        /"up_proj": expected a pattern that fits .* at least one tensor/,
      );
    }
    await expect(decide(name, { exclude: ["re:("] })).rejects.toMatchObject({ code: "option" });
  });
  test("only these, and the others stay as they are, plain and scaled ones", async () => {
    const names = ["a.up_proj.weight", "b.up_proj.weight"];
    const file = fileWith(names.map((name) => valuesAs(name, "BF16", [64, 64], new Float32Array(4096))));
    const plan = planQuantize(await checkpointOf({ "m.safetensors": file }), { only: ["a.*"] });
    const reasons = (of: typeof plan) =>
      Object.fromEntries(of.tensors.map(({ name, reason }) => [name, reason]));
    expect(reasons(plan)).toEqual({ "a.up_proj.weight": null, "b.up_proj.weight": "not chosen" });
    const made = await checkpointOf({ "m.safetensors": (await run(plan, [file], engine)).files[0]! });
    for (const option of ["only", "include"])
      expect(() => planDequantize(made, { [option]: ["c.*"] })).toThrow("expected a pattern that fits");
    expect(reasons(planDequantize(made, { only: ["b.*"] }))).toEqual({
      "a.up_proj.weight": "not chosen",
      "b.up_proj.weight": "not quantised",
    });
    // Two names of one option.
    expect(reasons(planDequantize(made, { only: ["b.*"], include: ["a.*"] }))).toEqual({
      "a.up_proj.weight": null,
      "b.up_proj.weight": "not quantised",
    });
    expect(() => planDequantize(made, { also: ["*"] } as never)).toThrow(
      "options named dtype, only, include, exclude, missingScale, got also",
    );
  });
  test("not stacks, unless asked for; not vectors at all", async () => {
    expect((await decide("a.experts.weight", {}, [2, 4, 64])).action).toBe("copy");
    expect((await decide("a.experts.weight", { include: ["*"] }, [2, 4, 64])).action).toBe("quantize");
    expect((await decide("a.up_proj.weight", { include: ["*"] }, [64])).action).toBe("copy");
  });
  test("not in blocks of one row that would be ragged", async () => {
    expect((await decide("a.up_proj.weight", { to: "mxfp8" }, [64, 48])).action).toBe("copy");
    expect((await decide("a.up_proj.weight", { to: "deepseek-v3.1" }, [64, 48])).action).toBe("quantize");
  });
  test("names of a hundred thousand letters are decided at once", async () => {
    const start = performance.now();
    expect((await decide(`${"norm".repeat(25_000)}-.weight`)).action).toBe("quantize");
    expect((await decide(`${"norm".repeat(25_000)}.weight`)).action).toBe("copy");
    expect(performance.now() - start).toBeLessThan(1000);
  });
  test("overrides keep weights or change the free fields of a scheme", async () => {
    const overrides = [
      { pattern: "*.up_proj.weight", scheme: "keep" as const },
      { pattern: "*", scheme: { rounding: "floor" as const } },
    ];
    expect((await decide("a.up_proj.weight", { overrides })).reason).toBe("kept by an override");
    const file = fileWith([valuesAs("a.down_proj.weight", "F32", [1, 32], new Float32Array(32).fill(1.9))]);
    const plan = planQuantize(await checkpointOf({ "m.safetensors": file }), {
      to: "mxfp8",
      overrides: overrides.slice(1),
    });
    const { measured } = await run(plan, [file], engine);
    expect(measured.get("a.down_proj.weight")!.saturated).toBe(32);
    const schemes = [{ block: [1, 32] }, {}, "drop", null, { rounding: "up" }];
    for (const override of [null, "*", ...schemes.map((scheme) => ({ pattern: "*", scheme }))]) {
      const wrong = [override] as never;
      await expect(decide("a.down_proj.weight", { overrides: wrong })).rejects.toMatchObject({
        code: "option",
      });
    }
    await expect(decide("a.down_proj.weight", { overrides: "keep" as never })).rejects.toThrow(
      "overrides: expected a list of overrides, got string",
    );
  });
});
