// What bench/training.mjs and bench/training-gradients.mjs train: a small Llama on the bytes of a text, whose last twentieth is held out.
import { readFileSync } from "node:fs";

export const CONTEXT = 128;
/** Ids of a sequence: each but the last predicts the next one. */
const WIDTH = CONTEXT + 1;

/** 1.1 million parameters. */
export const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 128,
  intermediate_size: 384,
  num_hidden_layers: 5,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  head_dim: 32,
  vocab_size: 256,
  max_position_embeddings: CONTEXT,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  hidden_act: "silu",
  tie_word_embeddings: false,
  initializer_range: 0.02,
};

/** A text in bytes, from which batches are taken. */
export class Corpus {
  #text;
  #split;

  constructor(path) {
    this.#text = new Uint8Array(readFileSync(path));
    this.#split = Math.floor(this.#text.length * 0.95);
  }

  /** A function that gives the next batch of a seed as arguments for `step`: the same ones whatever is trained with them. */
  batches(seed, rows) {
    let state = seed * 7919;
    const next = () => {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      return (state >>> 1) % (this.#split - WIDTH);
    };
    return () => this.#batch(Array.from({ length: rows }, next));
  }

  /** All held-out sequences, one after the other, as arguments for `loss`. What is left at the end, shorter than a sequence, is not used. */
  *heldOut(rows) {
    const starts = [];
    for (let at = this.#split; at + WIDTH <= this.#text.length; at += CONTEXT) starts.push(at);
    for (let i = 0; i < starts.length; i += rows) yield this.#batch(starts.slice(i, i + rows));
  }

  #batch(starts) {
    const ids = new Int32Array(starts.length * WIDTH);
    for (const [row, at] of starts.entries()) ids.set(this.#text.subarray(at, at + WIDTH), row * WIDTH);
    return [ids, [starts.length, WIDTH]];
  }
}

/** Nats a byte of the whole held-out text. */
export async function judge(trainer, corpus) {
  let [sum, count] = [0, 0];
  for (const [ids, shape] of corpus.heldOut(16)) {
    sum += shape[0] * (await trainer.loss(ids, shape));
    count += shape[0];
  }
  return sum / count;
}
