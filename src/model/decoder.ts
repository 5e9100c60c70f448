import { type Angles, type Attention, attentionOf } from "./attention.ts";
import { type Block, blockOf } from "./blocks.ts";
import type { CacheType } from "./cache.ts";
import type { DecoderConfig } from "./config.ts";
import type { Linear, Program } from "./program.ts";
import { rowsOf } from "./share.ts";

/** Which logits a pass is asked for. */
export type Wanted = "all" | "last" | "hidden" | "none";

interface BuiltLayer {
  readonly norms: readonly [attention: number, block: number];
  readonly attention: Attention;
  readonly block: Block;
}

/** The forward pass of a model that predicts the next token, with the cache of one context. */
export class Decoder {
  readonly #program: Program;
  readonly #config: DecoderConfig;
  readonly #layers: readonly BuiltLayer[];
  readonly #head: Linear | null;
  readonly #norm: number;
  #length = 0;

  /** The weights have to be in the store. */
  constructor(program: Program, config: DecoderConfig, cache: CacheType) {
    this.#program = program;
    this.#config = config;
    const { store } = program;
    this.#layers = config.layers.map((layer, i) => ({
      norms: [store.vector(`${i}.attention_norm`), store.vector(`${i}.block_norm`)],
      attention: attentionOf(program, config, layer, `${i}.attention`, cache),
      block: blockOf(program, config, layer, `${i}.block`),
    }));
    const key = config.isTied ? "embedding" : "head";
    this.#head = store.has(key) ? program.linear(key, (seat) => rowsOf(config.vocabulary, seat)) : null;
    this.#norm = store.vector("norm");
  }

  /** Tokens in the cache. */
  get length(): number {
    return this.#length;
  }

  /** Forgets all tokens but the first ones. */
  truncate(length: number): void {
    this.#length = Math.min(this.#length, length);
  }

  /**
   * Takes tokens in behind those of the cache.
   * @returns logits `[tokens, vocabulary]`, or of the last one; or its normalised hidden states; of the first member only
   */
  forward(ids: ArrayLike<number>, wanted: Wanted): Float32Array | undefined {
    const program = this.#program;
    const { hidden } = this.#config;
    const tokens = ids.length;
    const x = program.room("x", tokens * hidden);
    program.look(x, ids, program.store.get("embedding"));
    const angles = this.#angles(tokens);
    for (const layer of this.#layers) this.#applyLayer(layer, x, tokens, angles);
    this.#length += tokens;
    if (wanted === "none") return undefined;
    return this.#results(x, tokens, wanted);
  }

  #applyLayer({ norms, attention, block }: BuiltLayer, x: number, tokens: number, angles: Angles): void {
    const program = this.#program;
    const { hidden, epsilon } = this.#config;
    const { kernels } = program;
    const normed = program.room("normed", tokens * hidden);
    const y = program.room("y", tokens * hidden);
    const stride = 4 * hidden;
    kernels.rmsNorm(normed, stride, x, stride, norms[0], tokens, hidden, epsilon);
    attention.apply(y, normed, tokens, this.#length, angles);
    kernels.addScaled(x, y, tokens * hidden, 1);
    kernels.rmsNorm(normed, stride, x, stride, norms[1], tokens, hidden, epsilon);
    block.apply(y, normed, tokens);
    kernels.addScaled(x, y, tokens * hidden, 1);
  }

  #results(x: number, tokens: number, wanted: Wanted): Float32Array | undefined {
    const program = this.#program;
    const { hidden, epsilon, vocabulary } = this.#config;
    const stride = 4 * hidden;
    const first = wanted === "last" ? tokens - 1 : 0;
    const count = tokens - first;
    const normed = program.room("normed", tokens * hidden);
    program.kernels.rmsNorm(normed, stride, x + first * stride, stride, this.#norm, count, hidden, epsilon);
    const isFirst = program.seat.rank === 0;
    if (wanted === "hidden" || this.#head === null)
      return isFirst ? program.view(normed, count * hidden).slice() : undefined;
    const out = isFirst ? new Float32Array(count * vocabulary) : undefined;
    // A vocabulary is large: a few rows of logits are in memory at a time.
    const step = Math.max(1, Math.min(count, Math.floor(LOGITS / vocabulary)));
    const logits = program.room("logits", step * vocabulary);
    for (let row = 0; row < count; row += step) {
      const rows = Math.min(step, count - row);
      program.multiply(logits, normed + row * stride, rows, this.#head);
      out?.set(program.view(logits, rows * vocabulary), row * vocabulary);
    }
    return out;
  }

  /** Angles of the next tokens, rounded to float32 in the steps of the reference: position times frequency, then cos and sin. */
  #angles(tokens: number): Angles {
    const program = this.#program;
    const { frequencies, factor } = this.#config.rope;
    const n = frequencies.length;
    const cos = program.room("cos", tokens * n);
    const sin = program.room("sin", tokens * n);
    const [c, s] = [program.view(cos, tokens * n), program.view(sin, tokens * n)];
    for (let token = 0; token < tokens; token++) {
      for (let i = 0; i < n; i++) {
        const angle = Math.fround((this.#length + token) * frequencies[i]!);
        c[token * n + i] = Math.cos(angle) * factor;
        s[token * n + i] = Math.sin(angle) * factor;
      }
    }
    return { cos, sin };
  }
}

/** Logits that are in memory at a time: 16 MiB. */
const LOGITS = 2 ** 22;
