import type { Angles, Attention, CosSin } from "./attention.ts";
import type { DecoderConfig, Layer } from "./config.ts";
import { HeadAttentionLayer } from "./head-attention.ts";
import { LatentAttentionLayer } from "./latent-attention.ts";
import { type ExpertRange, type Mixture, type Mlp, makeMlp } from "./mlp.ts";
import type { Linear, Program } from "./program.ts";
import type { Rope } from "./rope.ts";
import { rowsOf } from "./team.ts";

/** What a pass is asked for: logits of all tokens or of the last one, all hidden states, or nothing. */
export type ForwardOutput = "all" | "last" | "hidden" | "none";

/**
 * A decoder layer. Its weights have to be in the store. It works on the residual stream x[tokens, hidden].
 */
export class DecoderLayer {
  readonly #program: Program;
  readonly #config: DecoderConfig;
  readonly #norms: readonly [attention: number, mlp: number];
  /** Addresses of the weights of the norms after attention and MLP; 0 where there are none. */
  readonly #postNorms: readonly [attention: number, mlp: number];
  readonly #attention: Attention;
  readonly #mlp: Mlp;

  constructor(program: Program, config: DecoderConfig, i: number) {
    const { store } = program;
    const layer = config.layers[i]!;
    this.#program = program;
    this.#config = config;
    this.#norms = [store.vector(`${i}.attention_norm`), store.vector(`${i}.mlp_norm`)];
    this.#postNorms = [store.vector(`${i}.after_attention_norm`), store.vector(`${i}.after_mlp_norm`)];
    this.#attention = makeAttention(program, config, layer, `${i}.attention`);
    this.#mlp = makeMlp(program, config, layer, `${i}.mlp`);
  }

  /**
   * @param lastTokens how many of the last tokens get a new x; keys and values are computed for all tokens
   */
  apply(x: number, tokens: number, cachedTokens: number, angles: Angles, lastTokens: number = tokens): void {
    this.attend(x, tokens, cachedTokens, angles, lastTokens);
    const lastX = x + 4 * this.#config.hidden * (tokens - lastTokens);
    if (lastTokens > 0)
      this.#addTo(lastX, lastTokens, 1, (y, normed) => this.#mlp.apply(y, normed, lastTokens));
  }

  /** The first half of a layer: attention. */
  attend(x: number, tokens: number, cachedTokens: number, angles: Angles, lastTokens: number = tokens): void {
    const attend = (y: number, normed: number) =>
      this.#attention.apply(y, normed, tokens, cachedTokens, angles, lastTokens);
    this.#addTo(x, tokens, 0, attend, lastTokens);
  }

  /** Gives the memory of its cache back. Call it when it is used no more. */
  free(): void {
    this.#attention.free();
  }

  /** The number of tokens that are routed to each expert of the MLP. */
  expertCounts(x: number, tokens: number): Float32Array {
    return (this.#mlp as Mixture).expertCounts(this.#normed(x, tokens, this.#norms[1]), tokens);
  }

  /**
   * What some experts of the MLP would add to x, which is not changed.
   * @returns the address of [tokens, hidden], valid until the next call
   */
  applyExperts(x: number, tokens: number, experts: ExpertRange): number {
    const y = this.#program.floats("y", tokens * this.#config.hidden);
    (this.#mlp as Mixture).applyExperts(y, this.#normed(x, tokens, this.#norms[1]), tokens, experts);
    return y;
  }

  /**
   * The last `lastTokens` tokens of x += the output of one half of the layer: 0 is attention, 1 the MLP.
   */
  #addTo(
    x: number,
    tokens: number,
    half: 0 | 1,
    action: (y: number, normed: number) => void,
    lastTokens = tokens,
  ): void {
    const { hidden, epsilon } = this.#config;
    const { kernels } = this.#program;
    const normed = this.#normed(x, tokens, this.#norms[half]);
    const y = this.#program.floats("y", lastTokens * hidden);
    action(y, normed);
    const postNorm = this.#postNorms[half];
    const stride = 4 * hidden;
    if (postNorm !== 0) kernels.rmsNorm(y, stride, y, stride, postNorm, lastTokens, hidden, epsilon);
    kernels.addScaled(x + stride * (tokens - lastTokens), y, lastTokens * hidden, 1);
  }

  #normed(x: number, tokens: number, norm: number): number {
    const { hidden, epsilon } = this.#config;
    const normed = this.#program.floats("normed", tokens * hidden);
    const stride = 4 * hidden;
    this.#program.kernels.rmsNorm(normed, stride, x, stride, norm, tokens, hidden, epsilon);
    return normed;
  }
}

function makeAttention(program: Program, config: DecoderConfig, layer: Layer, key: string): Attention {
  return layer.attention.kind === "heads"
    ? new HeadAttentionLayer(program, config, layer.attention, layer.window, key)
    : new LatentAttentionLayer(program, config, layer.attention, layer.window, key);
}

/**
 * RoPE's angles of some tokens, from position `first` on. The angle is rounded to float32 before cos and sin
 * are taken, as in transformers.
 */
export function anglesOf(program: Program, config: DecoderConfig, first: number, tokens: number): Angles {
  const { rope, localRope } = config;
  const angles = cosSinOf(program, rope, "", first, tokens);
  return localRope === null
    ? { ...angles, local: angles }
    : { ...angles, local: cosSinOf(program, localRope, "local ", first, tokens) };
}

function cosSinOf(program: Program, rope: Rope, name: string, first: number, tokens: number): CosSin {
  const { frequencies, factor } = rope;
  const n = frequencies.length;
  const cos = program.floats(`${name}cos`, tokens * n);
  const sin = program.floats(`${name}sin`, tokens * n);
  const [c, s] = [program.view(cos, tokens * n), program.view(sin, tokens * n)];
  for (let token = 0; token < tokens; token++) {
    for (let i = 0; i < n; i++) {
      const angle = Math.fround((first + token) * frequencies[i]!);
      c[token * n + i] = Math.cos(angle) * factor;
      s[token * n + i] = Math.sin(angle) * factor;
    }
  }
  return { cos, sin };
}

/** x[ids, hidden] <- rows of the embedding table, scaled where the model does that. @returns its address */
export function lookUp(program: Program, config: DecoderConfig, ids: ArrayLike<number>): number {
  const { hidden, embeddingScale } = config;
  const x = program.floats("x", ids.length * hidden);
  program.lookUp(x, ids, program.store.get("embedding"));
  if (embeddingScale !== 1) {
    const values = program.view(x, ids.length * hidden);
    for (let i = 0; i < values.length; i++) values[i]! *= embeddingScale;
  }
  return x;
}

/** The final norm and the projection to the vocabulary. */
export class DecoderHead {
  readonly #program: Program;
  readonly #config: DecoderConfig;
  readonly #head: Linear | null;
  readonly #norm: number;

  constructor(program: Program, config: DecoderConfig) {
    const { store } = program;
    const key = config.isTied ? "embedding" : "head";
    this.#program = program;
    this.#config = config;
    this.#head = store.has(key) ? program.linear(key, (team) => rowsOf(config.vocabulary, team)) : null;
    this.#norm = store.vector("norm");
  }

  /**
   * Logits of x[count, hidden], or its normalised states where those are wanted, or there is no head.
   * @returns those of the first member only
   */
  apply(x: number, count: number, isHidden: boolean): Float32Array | undefined {
    const program = this.#program;
    const { hidden, epsilon, vocabulary } = this.#config;
    const stride = 4 * hidden;
    const normed = program.floats("normed", count * hidden);
    program.kernels.rmsNorm(normed, stride, x, stride, this.#norm, count, hidden, epsilon);
    const isFirst = program.team.member === 0;
    if (isHidden || this.#head === null)
      return isFirst ? program.view(normed, count * hidden).slice() : undefined;
    const out = isFirst ? new Float32Array(count * vocabulary) : undefined;
    // A vocabulary is large: a few rows of logits are in memory at a time.
    const step = Math.max(1, Math.min(count, Math.floor(LOGITS / vocabulary)));
    const logits = program.floats("logits", step * vocabulary);
    for (let row = 0; row < count; row += step) {
      const rows = Math.min(step, count - row);
      program.multiply(logits, normed + row * stride, rows, this.#head);
      out?.set(program.view(logits, rows * vocabulary), row * vocabulary);
    }
    return out;
  }
}

/** Logits that are in memory at a time: 16 MiB. */
const LOGITS = 2 ** 22;

/** The forward pass of a model that predicts the next token, with the cache of one context. */
export class Decoder {
  readonly #program: Program;
  readonly #config: DecoderConfig;
  readonly #layers: readonly DecoderLayer[];
  readonly #head: DecoderHead;
  #length = 0;

  /** The weights have to be in the store. */
  constructor(program: Program, config: DecoderConfig) {
    this.#program = program;
    this.#config = config;
    this.#layers = config.layers.map((_, i) => new DecoderLayer(program, config, i));
    this.#head = new DecoderHead(program, config);
  }

  /** Keeps the first `length` tokens of the cache and forgets the rest. */
  truncate(length: number): void {
    this.#length = Math.min(this.#length, length);
  }

  /**
   * Runs the tokens that follow those in the cache.
   * @returns logits `[tokens, vocabulary]`, or those of the last token, or the hidden states after the final
   * norm; `undefined` in all members but the first
   */
  forward(ids: ArrayLike<number>, output: ForwardOutput): Float32Array | undefined {
    const program = this.#program;
    const { hidden } = this.#config;
    const tokens = ids.length;
    const x = lookUp(program, this.#config, ids);
    const angles = anglesOf(program, this.#config, this.#length, tokens);
    // Of the last layer, tokens whose logits nobody wants need no more than their keys and values.
    const count = output === "none" ? 0 : output === "last" ? 1 : tokens;
    const last = this.#layers.at(-1);
    for (const layer of this.#layers)
      layer.apply(x, tokens, this.#length, angles, layer === last ? count : tokens);
    this.#length += tokens;
    if (count === 0) return undefined;
    return this.#head.apply(x + 4 * (tokens - count) * hidden, count, output === "hidden");
  }
}
