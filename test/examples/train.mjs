// Trains a tiny language model in FP8 and writes it as a checkpoint: node test/examples/train.mjs OUT [STEPS]
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createTrainer } from "blockscale/train";

const out = process.argv[2] ?? "tiny-model";
const steps = Number(process.argv[3] ?? 80);
const TEXT = "The quick brown fox jumps over the lazy dog. ";
const BATCH = 4;
const LENGTH = 64;

const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  head_dim: 32,
  vocab_size: 128,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: true,
};
const trainer = await createTrainer({ config, seed: 1 }, { recipe: "deepseek", learningRate: 0.01 });

/** BATCH pieces of LENGTH + 1 characters, each from another place of the text. */
const bytes = Buffer.from(TEXT.repeat(40));
const batch = (step) =>
  Int32Array.from({ length: BATCH * (LENGTH + 1) }, (_, i) => {
    const [row, col] = [Math.floor(i / (LENGTH + 1)), i % (LENGTH + 1)];
    return bytes[((step * BATCH + row) * 7 + col) % bytes.length];
  });

for (let step = 0; step < steps; step++) {
  const { loss } = await trainer.step(batch(step), [BATCH, LENGTH + 1]);
  if (step % 20 === 0 || step === steps - 1) console.log(`step ${step}: loss ${loss.toFixed(2)}`);
}

await mkdir(out, { recursive: true });
for (const [name, file] of trainer.files())
  await writeFile(join(out, name), new Uint8Array(await file.arrayBuffer()));
await trainer.close();
console.log(`wrote ${out}`);
