import { describe, expect, test } from "vitest";
import { createTrainer } from "../../src/train/create.ts";
import type { TrainerOptions } from "../../src/train/options.ts";
import { fileWith, tensorsOf } from "../support/checkpoint-files.ts";
import { tinyLlama } from "../support/tiny-llama.ts";

const config = { ...tinyLlama, num_hidden_layers: 3 };
const ids = Int32Array.from({ length: 2 * 33 }, (_, i) => (i * 7) % 40);

/** What a step says of a model some of whose tensors are filled with a value. */
async function messageOf(
  changes: { readonly [name: string]: number },
  options: TrainerOptions,
  parts = 1,
): Promise<string> {
  const files = (await createTrainer({ config, seed: 1 })).files();
  const tensors = await tensorsOf(files.get("model.safetensors")!);
  for (const [name, value] of Object.entries(changes)) {
    const { bytes } = tensors.get(name)!;
    new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4).fill(value);
  }
  files.set("model.safetensors", fileWith([...tensors.values()]));
  const trainer = await createTrainer(files, options);
  try {
    await trainer.step(ids, [2, 33], parts);
    return "";
  } catch (error) {
    return (error as Error).message;
  } finally {
    await trainer.close();
  }
}

test("a trainer closes at the end of an `await using` block", async () => {
  const trainer = await createTrainer({ config, seed: 1 });
  expect(trainer[Symbol.asyncDispose]).toBe(trainer.close);
  await trainer.close();
});

describe("a loss that is no number tells the first tensor without numbers", () => {
  const layer = "model.layers.1";
  test("nothing where all are numbers", async () => {
    expect(await messageOf({}, { recipe: "f32" })).toBe("");
  });

  test.each([
    ["a weight", { [`${layer}.mlp.up_proj.weight`]: Number.NaN }, {}, `is ${layer}.mlp.up_proj.weight`],
    [
      "a product that overflows",
      { [`${layer}.self_attn.v_proj.weight`]: 3e38, [`${layer}.input_layernorm.weight`]: 100 },
      {},
      `is the output of ${layer}.self_attn.v_proj`,
    ],
    [
      "the same by two threads",
      { [`${layer}.self_attn.v_proj.weight`]: 3e38, [`${layer}.input_layernorm.weight`]: 100 },
      { threads: 2 },
      `is the output of ${layer}.self_attn.v_proj`,
    ],
    [
      "a layer, where layers are computed once more",
      { [`${layer}.self_attn.v_proj.weight`]: 3e38, [`${layer}.input_layernorm.weight`]: 100 },
      { recompute: true },
      `is the output of ${layer}`,
    ],
  ])("%s", async (_, changes, options, expected) => {
    const message = await messageOf(changes, { recipe: "f32", ...options });
    expect(message).toContain("a loss of NaN; the first tensor that holds NaN or Inf ");
    expect(message).toMatch(new RegExp(`${expected.replaceAll(".", "\\.")}\\W`));
  });
});
