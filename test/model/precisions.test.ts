import { describe, expect, test } from "vitest";
import { load } from "../../src/load.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { openModel } from "../../src/model/open.ts";
import { choosePrecisions, EXACT } from "../../src/model/precisions.ts";
import { decibels, filesOf } from "../support/models.ts";

const configs = async (): Promise<{ dense: ModelConfig; mixture: ModelConfig }> => {
  const [dense, mixture] = await Promise.all(["qwen3", "qwen3_moe"].map((name) => openModel(filesOf(name))));
  await Promise.all([dense!.close(), mixture!.close()]);
  return { dense: dense!.config, mixture: mixture!.config };
};

test("what is asked for by name is taken, and what is left out is exact", async () => {
  const { dense } = await configs();
  expect(choosePrecisions({}, dense, null)).toEqual(EXACT);
  expect(choosePrecisions({ activations: "int8", weights: "int7", cache: "fp8" }, dense, null)).toEqual({
    activations: "int8",
    int8Rows: 1,
    weights: "int7",
    cache: "fp8",
  });
});

test("auto and near take what the engine finds faster; near takes no risk with experts", async () => {
  const { dense, mixture } = await configs();
  const engine = await load({ variant: "baseline" });
  const rounded = { ...EXACT, activations: "int8", int8Rows: 16 };
  for (const [faster, expected] of [
    ["int8", rounded],
    ["f32", EXACT],
  ] as const) {
    engine.fasterActivations = faster;
    for (const config of [dense, mixture])
      expect(choosePrecisions({ activations: "auto" }, config, engine)).toEqual(expected);
    expect(choosePrecisions({ activations: "near" }, dense, engine)).toEqual(expected);
    expect(choosePrecisions({ activations: "near" }, mixture, engine)).toEqual(EXACT);
  }
  // An engine that computes sums of integers wrongly is not asked.
  expect(choosePrecisions({ activations: "auto", weights: "auto" }, dense, null)).toEqual(EXACT);
  expect(["codes", "int7"]).toContain(choosePrecisions({ weights: "auto" }, dense, engine).weights);
});

describe("a model whose precisions were chosen", () => {
  const ids = Array.from({ length: 33 }, (_, i) => (i * 37) % 320);
  const logitsWith = async (options: Parameters<typeof openModel>[1], tokens: number) => {
    const model = await openModel(filesOf("llama"), options);
    const logits = await model.logits(ids.slice(0, tokens));
    await model.close();
    return { logits, precisions: model.precisions };
  };

  test("tells them, and gives the same bits as one that was opened with them", async () => {
    const { logits, precisions } = await logitsWith({ activations: "auto", weights: "auto" }, 33);
    const { activations, weights } = precisions;
    expect(["f32", "int8"]).toContain(activations);
    expect(decibels((await logitsWith({ activations, weights }, 33)).logits, logits)).toBe(Infinity);
  });

  test("rounds no activations of fewer than 16 tokens", async () => {
    const exact = await logitsWith({}, 15);
    const chosen = await logitsWith({ activations: "auto" }, 15);
    expect(decibels(exact.logits, chosen.logits)).toBe(Infinity);
    for (const threads of [1, 2]) {
      const int8 = await logitsWith({ activations: "int8", threads }, 15);
      expect(decibels(exact.logits, int8.logits)).toBeLessThan(60);
    }
  });
});
