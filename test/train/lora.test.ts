import { describe, expect, test } from "vitest";
import { openModel } from "../../src/model/open.ts";
import { createTrainer } from "../../src/train/create.ts";
import type { TrainerOptions } from "../../src/train/options.ts";
import { tensorsOf } from "../support/checkpoint-files.ts";
import { decibels } from "../support/models.ts";

const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
  vocab_size: 50,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: false,
  initializer_range: 0.1,
  hidden_act: "silu",
};
const ids = Int32Array.from({ length: 4 * 33 }, (_, i) => (i * i + 3 * (i % 5)) % 50);
const SHAPE = [4, 33] as const;
const ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
const lora = { rank: 6, alpha: 9, targets: ALL };

async function base(): Promise<Map<string, Blob>> {
  return (await createTrainer({ config, seed: 3 })).files();
}

const floatsOf = async (file: Blob) =>
  new Map(
    [...(await tensorsOf(file))].map(([name, { bytes, shape }]) => [
      name,
      { shape, values: new Float32Array(bytes.slice().buffer) },
    ]),
  );

describe("adapters", () => {
  test("begin as the model itself, and their gradients are the slopes of the loss", async () => {
    const options: TrainerOptions = { recipe: "f32", lora, learningRate: 0.02, weightDecay: 0 };
    const trainer = await createTrainer(await base(), options);
    const plain = await createTrainer(await base(), { recipe: "f32" });
    const first = await trainer.step(ids, SHAPE);
    expect(first.loss).toBe(await plain.loss(ids, SHAPE));
    // B was zero: A had no gradient, and has one now.
    const still = await createTrainer(new Map([...(await base()), ...trainer.adapter()]), {
      ...options,
      learningRate: 0,
    });
    await still.step(ids, SHAPE);
    const names = still.names.filter((name) => /lora_[AB]/.test(name));
    expect(names).toHaveLength(2 * 7 * 2);
    const adapter = still.adapter();
    const file = adapter.get("adapter_model.safetensors")!;
    const bytes = new Uint8Array(await file.arrayBuffer());
    const tensors = await tensorsOf(file);
    for (const name of names) {
      const gradient = still.gradient(name);
      const length = Math.hypot(...gradient);
      expect(length, name).toBeGreaterThan(0);
      const losses: number[] = [];
      const step = 0.004 / length;
      for (const sign of [1, -1]) {
        const { bytes: own, start } = tensors.get(`base_model.model.${name}`)!;
        const values = new Float32Array(own.slice().buffer).map((x, i) => x + sign * step * gradient[i]!);
        const moved = bytes.slice();
        moved.set(new Uint8Array(values.buffer), start);
        const files = new Map([
          ...(await base()),
          ...adapter,
          ["adapter_model.safetensors", new Blob([moved])] as const,
        ]);
        losses.push(await (await createTrainer(files, options)).loss(ids, SHAPE));
      }
      const slope = (losses[0]! - losses[1]!) / (2 * step);
      expect(Math.abs(slope / length ** 2 - 1), name).toBeLessThan(0.02);
    }
    expect(() => still.gradient("model.norm.weight")).toThrow(/a tensor that is trained/);
  });

  test("are saved in PEFT's layout, and added to the weights they give the same model", async () => {
    const trainer = await createTrainer(await base(), { recipe: "f32", lora, learningRate: 0.02 });
    for (let step = 0; step < 5; step++) await trainer.step(ids, SHAPE);
    const files = trainer.adapter();
    expect([...files.keys()]).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    expect(JSON.parse(await files.get("adapter_config.json")!.text())).toMatchObject({
      peft_type: "LORA",
      task_type: "CAUSAL_LM",
      r: 6,
      lora_alpha: 9,
      lora_dropout: 0,
      bias: "none",
      target_modules: ALL,
      fan_in_fan_out: false,
    });
    const parts = await floatsOf(files.get("adapter_model.safetensors")!);
    const name = "base_model.model.model.layers.1.mlp.down_proj";
    expect(parts.get(`${name}.lora_A.weight`)!.shape).toEqual([6, 96]);
    expect(parts.get(`${name}.lora_B.weight`)!.shape).toEqual([64, 6]);
    expect(parts.size).toBe(2 * 7 * 2);
    // W + alpha / r B A, as PEFT merges.
    const before = await floatsOf((await base()).get("model.safetensors")!);
    const after = await floatsOf(trainer.files().get("model.safetensors")!);
    expect([...after.keys()]).toEqual([...before.keys()]);
    const [a, b] = ["A", "B"].map((part) => parts.get(`${name}.lora_${part}.weight`)!.values) as [
      Float32Array,
      Float32Array,
    ];
    const weight = "model.layers.1.mlp.down_proj.weight";
    const expected = before.get(weight)!.values.map((w, i) => {
      let sum = 0;
      for (let r = 0; r < 6; r++) sum += b[Math.floor(i / 96) * 6 + r]! * a[r * 96 + (i % 96)]!;
      return w + 1.5 * sum;
    });
    expect(decibels(expected, after.get(weight)!.values)).toBeGreaterThan(130);
    expect(after.get("model.norm.weight")).toEqual(before.get("model.norm.weight"));
    const merged = await createTrainer(trainer.files(), { recipe: "f32" });
    expect(await merged.loss(ids, SHAPE)).toBeCloseTo(await trainer.loss(ids, SHAPE), 5);
    const model = await openModel(trainer.files());
    expect((await model.logits(ids.subarray(0, 8))).every(Number.isFinite)).toBe(true);
    await model.close();
  });

  test("learn under FP8 weights, go on to the same bits, in any number of threads", async () => {
    const options: TrainerOptions = { recipe: "mxfp8", lora: { rank: 4 }, learningRate: 0.02 };
    const trainer = await createTrainer(await base(), options);
    const { loss } = await trainer.step(ids, SHAPE);
    const files = new Map([...(await base()), ...trainer.adapter(true)]);
    // Two threads that compute layers once more must not overwrite what the other one still reads.
    const again = await createTrainer(files, { ...options, threads: 2, recompute: true });
    let last = loss;
    for (let step = 0; step < 12; step++) {
      const result = await trainer.step(ids, SHAPE);
      expect(await again.step(ids, SHAPE)).toEqual(result);
      last = result.loss;
    }
    expect(last).toBeLessThan(loss - 0.2);
    for (const name of trainer.names) expect(again.weight(name)).toEqual(trainer.weight(name));
    expect(trainer.weight("model.layers.0.mlp.up_proj.weight")).toEqual(
      (await floatsOf((await base()).get("model.safetensors")!)).get("model.layers.0.mlp.up_proj.weight")!
        .values,
    );
    await again.close();
  });

  test("of options that cannot be are refused", async () => {
    const files = await base();
    const refused = (lora: object) => expect(createTrainer(files, { lora } as never)).rejects;
    await refused({ rank: 0 }).toThrow(/lora.rank/);
    await refused({ rank: 2, alpha: -1 }).toThrow(/lora.alpha/);
    await refused({ rank: 2, targets: ["lm_head"] }).toThrow(/lora.targets.*got lm_head/s);
    const trainer = await createTrainer(files, { lora: { rank: 2 } });
    expect(() => trainer.files(true)).toThrow(/adapter\(true\)/);
    const other = new Map([...files, ...trainer.adapter()]);
    await expect(createTrainer(other, { lora: { rank: 3 } })).rejects.toThrow(/lora_A.weight F32 \[3, 64\]/);
    const plain = await createTrainer(files);
    expect(() => plain.adapter()).toThrow(/a trainer with lora/);
  });
});
