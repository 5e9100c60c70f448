import { describe, expect, test } from "vitest";
import { createTrainer } from "../../src/train/create.ts";
import { tensorsOf } from "../support/checkpoint-files.ts";
import { decibels } from "../support/models.ts";
import { floatsOf, initial, SETTINGS, SHAPE, tiny, tokens, WIDTH } from "../support/training.ts";

describe("against torch", () => {
  test.each(["f32", "deepseek", "mxfp8", "mxfp8-e5m2"] as const)(
    "%s: losses and first gradients",
    async (recipe) => {
      const suffix = recipe === "f32" ? "" : `-${recipe}`;
      const curve = (await floatsOf(`curve${suffix}.safetensors`)).get("loss")!;
      const norms = (await floatsOf(`curve${suffix}.safetensors`)).get("gradient_norm");
      const gradients = await floatsOf(`gradients-step-0${suffix}.safetensors`);
      const ids = await tokens();
      const trainer = await createTrainer(initial(), { ...SETTINGS, recipe });
      expect([...gradients.keys()].sort()).toEqual([...trainer.names].sort());
      const losses: number[] = [];
      for (let step = 0; step < curve.length; step++) {
        const { loss, gradientNorm } = await trainer.step(
          ids.subarray(step * WIDTH, (step + 1) * WIDTH),
          SHAPE,
        );
        losses.push(loss);
        if (norms) expect(Math.abs(gradientNorm / norms[step]! - 1)).toBeLessThan(1e-3);
        if (step > 0) continue;
        expect(Math.abs(loss - curve[0]!) / loss).toBeLessThan(1e-6);
        for (const [name, expected] of gradients)
          expect(decibels(expected, trainer.gradient(name)), name).toBeGreaterThan(
            recipe === "f32" ? 100 : 45,
          );
      }
      if (recipe === "f32") {
        for (const [step, loss] of losses.entries()) expect(Math.abs(loss - curve[step]!)).toBeLessThan(1e-4);
        for (const [name, expected] of await floatsOf("weights-after.safetensors"))
          expect(decibels(expected, trainer.weight(name)), name).toBeGreaterThan(80);
      }
      const mean = (values: ArrayLike<number>) =>
        Array.from(values)
          .slice(-10)
          .reduce((a, b) => a + b) / 10;
      expect(Math.abs(mean(losses) / mean(curve) - 1)).toBeLessThan(0.01);
    },
  );
});

describe("gradients", () => {
  test.each([
    ["tied, with norms of heads", {}],
    [
      "untied, one key head",
      { architectures: ["LlamaForCausalLM"], tie_word_embeddings: false, num_key_value_heads: 1 },
    ],
  ])("are the slopes of the loss: %s", async (_, change) => {
    const config = tiny(change);
    const trainer = await createTrainer(
      { config, seed: 5 },
      { recipe: "f32", learningRate: 0, weightDecay: 0 },
    );
    const shape = [2, 8] as const;
    const ids = Int32Array.from({ length: 16 }, (_, i) => (i * 17 + 3) % 40);
    await trainer.step(ids, shape);
    // Along each tensor's own gradient the loss has to rise by its squared length: central differences in the weights.
    const files = trainer.files();
    const base = await tensorsOf(files.get("model.safetensors")!);
    for (const name of trainer.names) {
      const gradient = trainer.gradient(name);
      const length = Math.hypot(...gradient);
      const losses: number[] = [];
      const step = 0.008 / length;
      for (const sign of [1, -1]) {
        const moved = base.get(name)!;
        const values = new Float32Array(moved.bytes.slice().buffer);
        gradient.forEach((g, i) => {
          values[i]! += sign * step * g;
        });
        const changed = new Map(files);
        const whole = new Uint8Array(await files.get("model.safetensors")!.arrayBuffer());
        whole.set(new Uint8Array(values.buffer), moved.start);
        changed.set("model.safetensors", new Blob([whole]));
        const other = await createTrainer(changed, { recipe: "f32" });
        losses.push(await other.loss(ids, shape));
      }
      const slope = (losses[0]! - losses[1]!) / (2 * step);
      expect(Math.abs(slope / length ** 2 - 1), name).toBeLessThan(5e-3);
    }
  });

  test("of a batch in parts are those of the whole", async () => {
    const ids = await tokens();
    const whole = await createTrainer(initial(), { ...SETTINGS, recipe: "f32" });
    const parts = await createTrainer(initial(), { ...SETTINGS, recipe: "f32" });
    const a = await whole.step(ids.subarray(0, WIDTH), SHAPE);
    const b = await parts.step(ids.subarray(0, WIDTH), SHAPE, 4);
    expect(b.loss).toBeCloseTo(a.loss, 6);
    for (const name of whole.names)
      expect(decibels(whole.gradient(name), parts.gradient(name))).toBeGreaterThan(100);
  });
});
