// What bench/training.mjs and bench/training-gradients.mjs train: a small Llama on the bytes of a text, of which a twentieth is held out.
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

/** Bytes of a block: every twentieth block of the text is held out, so that what is judged is of the same kind as what is learned. */
const BLOCK = 32 * CONTEXT + 1;

/** A text in bytes, from which batches are taken. */
export class Corpus {
  #learned;
  #heldOut;

  constructor(path) {
    const text = new Uint8Array(readFileSync(path));
    const blocks = Array.from({ length: Math.floor(text.length / BLOCK) }, (_, i) =>
      text.subarray(i * BLOCK, (i + 1) * BLOCK),
    );
    this.#learned = Buffer.concat(blocks.filter((_, i) => i % 20 !== 19));
    this.#heldOut = blocks.filter((_, i) => i % 20 === 19);
  }

  /** A function that gives the next batch of a seed as arguments for `step`: the same ones whatever is trained with them. */
  batches(seed, rows) {
    let state = seed * 7919;
    const next = () => {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      const start = (state >>> 1) % (this.#learned.length - WIDTH);
      return this.#learned.subarray(start, start + WIDTH);
    };
    return () => batchOf(Array.from({ length: rows }, next));
  }

  /** All held-out sequences, one after the other, as arguments for `loss`. */
  *heldOut(rows) {
    const sequences = this.#heldOut.flatMap((block) =>
      Array.from({ length: (BLOCK - 1) / CONTEXT }, (_, i) =>
        block.subarray(i * CONTEXT, i * CONTEXT + WIDTH),
      ),
    );
    for (let i = 0; i < sequences.length; i += rows) yield batchOf(sequences.slice(i, i + rows));
  }
}

function batchOf(sequences) {
  const ids = new Int32Array(sequences.length * WIDTH);
  for (const [row, sequence] of sequences.entries()) ids.set(sequence, row * WIDTH);
  return [ids, [sequences.length, WIDTH]];
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
