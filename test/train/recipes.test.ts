import { expect, test } from "vitest";
import { createTrainer } from "../../src/train/create.ts";
import { checkOptions } from "../../src/train/options.ts";
import { type Recipe, recipeOf, recipes } from "../../src/train/recipes.ts";

test("every recipe with a name is one", () => {
  for (const recipe of Object.values(recipes)) expect(recipeOf({ ...recipe })).toEqual(recipe);
});

const operand = { format: "e4m3", block: [1, 32], rounding: "rceil" };

test.each([
  ["no format", { ...operand, format: undefined }],
  ["another format", { ...operand, format: "e3m4" }],
  ["a block without columns", { ...operand, block: [1, 0] }],
  ["a block of half a row", { ...operand, block: [0.5, 32] }],
  ["a block of one size", { ...operand, block: [32] }],
  ["a block that is a number", { ...operand, block: 32 }],
  ["another rounding", { ...operand, rounding: "up" }],
  ["scales of another format", { ...operand, scale: "e4m3" }],
  ["chance that is a number", { ...operand, stochastic: 0.5 }],
  ["a name", "e4m3"],
])("an operand with %s is refused", (_, wrong) => {
  const recipe = { ...recipes.mxfp8, inputGradient: { dy: wrong, w: null } } as unknown as Recipe;
  expect(() => checkOptions({ recipe })).toThrow(/recipe\.inputGradient\.dy: expected null, or \{ format/);
});

const config = {
  ...{ architectures: ["LlamaForCausalLM"], hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1 },
  ...{ num_attention_heads: 1, num_key_value_heads: 1, head_dim: 32, vocab_size: 16, hidden_act: "silu" },
  ...{ max_position_embeddings: 8, rms_norm_eps: 1e-6, tie_word_embeddings: true },
};

test.each([
  ["initializer_range", "a", "a finite number", '"a"'],
  ["initializer_range", -1, "more than 0", "-1"],
  ["initializer_range", 0, "more than 0", "0"],
  ["rms_norm_eps", -1, "0 or more", "-1"],
])("a config with %s %j is refused", async (key, value, expected, got) => {
  const wrong = { ...config, [key]: value };
  await expect(createTrainer({ config: wrong, seed: 1 })).rejects.toThrow(
    `config.json: ${key}: expected ${expected}, got ${got}`,
  );
});

test("a learning rate that is no number is refused, and the weights stay", async () => {
  const trainer = await createTrainer({ config, seed: 1 }, { schedule: () => Number.NaN });
  const before = trainer.weight("model.norm.weight");
  await expect(trainer.step(new Int32Array(9), [1, 9])).rejects.toThrow(
    /schedule: expected a rate from 0 on/,
  );
  expect(trainer.weight("model.norm.weight")).toEqual(before);
  expect(trainer.steps).toBe(0);
});
