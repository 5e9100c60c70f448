import { readdirSync, readFileSync } from "node:fs";
import type { TrainerOptions } from "../../src/train/options.ts";
import { tensorsOf } from "./checkpoint-files.ts";

const ROOT = new URL("../train/reference/", import.meta.url);
const blobOf = (path: string): Blob => new Blob([readFileSync(new URL(path, ROOT)) as BlobPart]);

/** The tensors of a file, as float32. */
export async function floatsOf(path: string): Promise<Map<string, Float32Array>> {
  const found = await tensorsOf(blobOf(path));
  return new Map(
    [...found].map(([name, { dtype, bytes }]) => [
      name,
      dtype === "BF16"
        ? new Float32Array(Uint32Array.from(new Uint16Array(bytes.buffer), (word) => word << 16).buffer)
        : new Float32Array(bytes.buffer),
    ]),
  );
}

export function initial(): Map<string, Blob> {
  return new Map(readdirSync(new URL("init/", ROOT)).map((name) => [name, blobOf(`init/${name}`)]));
}

export async function tokens(): Promise<Int32Array> {
  return Int32Array.from((await tensorsOf(blobOf("tokens.safetensors"))).get("ids")!.bytes);
}

/** As the reference was trained. */
export const SETTINGS: TrainerOptions = {
  learningRate: 3e-3,
  betas: [0.9, 0.95],
  epsilon: 1e-8,
  weightDecay: 0.1,
  clip: 1,
};
export const SHAPE = [8, 65] as const;
export const WIDTH: number = 8 * 65;

/** A model of the family with everything small. */
export const tiny = (change: object = {}): { [key: string]: unknown } => ({
  architectures: ["Qwen3ForCausalLM"],
  model_type: "qwen3",
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  vocab_size: 40,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-6,
  rope_parameters: { rope_type: "default", rope_theta: 10000 },
  tie_word_embeddings: true,
  initializer_range: 0.2,
  hidden_act: "silu",
  ...change,
});
