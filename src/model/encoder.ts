import { ATTENTION_CALL } from "./calls.ts";
import type { EncoderConfig } from "./config.ts";
import { ACTIVATION_ID } from "./kernels.ts";
import type { Linear, Program } from "./program.ts";
import { headsOf, rowsOf, scaleRange, type Team } from "./team.ts";

interface BuiltLayer {
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly o: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

/** The forward pass of BERT and its kin: each text's tokens see one another, and no other text's. */
export class Encoder {
  readonly #program: Program;
  readonly #config: EncoderConfig;
  readonly #layers: readonly BuiltLayer[];

  /** The weights have to be in the store. */
  constructor(program: Program, config: EncoderConfig) {
    this.#program = program;
    this.#config = config;
    this.#layers = config.layers.map(({ heads, headDim, size }, i) => {
      const rangeOf = (team: Team) => scaleRange(headsOf(heads, heads, team).queries, headDim);
      const hidden = (team: Team) => rowsOf(config.hidden, team);
      return {
        q: program.linear(`${i}.q`, rangeOf),
        k: program.linear(`${i}.k`, rangeOf),
        v: program.linear(`${i}.v`, rangeOf),
        o: program.linear(`${i}.o`, hidden),
        up: program.linear(`${i}.up`, (team) => rowsOf(size, team)),
        down: program.linear(`${i}.down`, hidden),
      };
    });
  }

  /**
   * Hidden states of the last layer, [tokens of all texts, hidden].
   * Texts lie behind one another without padding.
   * @returns those of the first member only
   */
  forward(texts: readonly ArrayLike<number>[]): Float32Array | undefined {
    const program = this.#program;
    const { hidden } = this.#config;
    const x = this.#embed(texts);
    for (let i = 0; i < this.#layers.length; i++) this.#applyLayer(i, x, texts);
    const tokens = texts.reduce((sum, ids) => sum + ids.length, 0);
    return program.team.member === 0 ? program.view(x, tokens * hidden).slice() : undefined;
  }

  /** Words, positions and the type of a first sentence, summed and normalised. */
  #embed(texts: readonly ArrayLike<number>[]): number {
    const program = this.#program;
    const { hidden, firstPosition } = this.#config;
    const ids = texts.flatMap((text) => Array.from(text));
    const positions = texts.flatMap((text) => Array.from(text, (_, i) => firstPosition + i));
    const x = program.floats("x", ids.length * hidden);
    const y = program.floats("y", ids.length * hidden);
    program.lookUp(x, ids, program.store.get("words"));
    program.lookUp(y, positions, program.store.get("positions"));
    program.kernels.addScaled(x, y, ids.length * hidden, 1);
    program.lookUp(y, [0], program.store.get("types"));
    program.kernels.addToRows(x, 4 * hidden, y, ids.length, hidden);
    this.#norm(x, ids.length, "norm");
    return x;
  }

  #norm(x: number, tokens: number, key: string): void {
    const { store, kernels } = this.#program;
    const { hidden, epsilon } = this.#config;
    kernels.layerNorm(x, x, store.vector(key), store.vector(`${key}.bias`), tokens, hidden, epsilon);
  }

  #applyLayer(i: number, x: number, texts: readonly ArrayLike<number>[]): void {
    const program = this.#program;
    const { kernels } = program;
    const { hidden, activation, layers } = this.#config;
    const { size } = layers[i]!;
    const { q, k, v, o, up, down } = this.#layers[i]!;
    const tokens = texts.reduce((sum, ids) => sum + ids.length, 0);
    const y = program.floats("y", tokens * hidden);
    const own = q.weight.rows;
    const products = [q, k, v].map((linear, j) => ({
      dst: program.floats(`qkv ${j}`, tokens * own),
      linear,
    }));
    program.multiplyOwnAll(x, tokens, products);
    const addresses = products.map(({ dst }) => dst) as [number, number, number];
    const whole = program.floats("heads", tokens * hidden);
    const shareAt = program.team.size === 1 ? whole : program.floats("own heads", tokens * own);
    this.#attend(i, shareAt, addresses, texts);
    program.exchange.gatherColumns(program.buffer, tokens, [
      { shareAt: shareAt, dst: whole, total: hidden, ranges: q.ranges },
    ]);
    program.multiply(y, whole, tokens, o);
    kernels.addScaled(x, y, tokens * hidden, 1);
    this.#norm(x, tokens, `${i}.attention_norm`);
    const inner = program.floats("inner", tokens * size);
    const innerShare =
      program.team.size === 1 ? inner : program.floats("inner share", tokens * up.weight.rows);
    program.multiplyOwn(innerShare, x, tokens, up);
    kernels.activate(ACTIVATION_ID[activation], innerShare, tokens * up.weight.rows);
    program.exchange.gatherColumns(program.buffer, tokens, [
      { shareAt: innerShare, dst: inner, total: size, ranges: up.ranges },
    ]);
    program.multiply(y, inner, tokens, down);
    kernels.addScaled(x, y, tokens * hidden, 1);
    this.#norm(x, tokens, `${i}.mlp_norm`);
  }

  #attend(
    i: number,
    out: number,
    [q, k, v]: readonly [number, number, number],
    texts: readonly ArrayLike<number>[],
  ): void {
    const program = this.#program;
    const { kernels } = program;
    const { heads, headDim } = this.#config.layers[i]!;
    const own = headsOf(heads, heads, program.team).queries;
    const stride = 4 * (own.end - own.start) * headDim;
    const longest = Math.max(...texts.map((ids) => ids.length));
    const work = program.bytes("scores", kernels.attentionWorkspace(longest, headDim, headDim));
    let first = 0;
    for (const { length } of texts) {
      for (let head = 0; head < own.end - own.start; head++) {
        const at = first * stride + 4 * head * headDim;
        // biome-ignore format: a table of arguments
        kernels.attend(program.call(ATTENTION_CALL, {
          out: out + at, outTokenStride: stride, outHeadStride: 0,
          q: q + at, qTokenStride: stride, qHeadStride: 0, tokens: length, group: 1,
          keys: k + at, keyStride: stride, keyScales: 0, values: v + at, valueStride: stride, valueScales: 0,
          scaleStride: 0, count: length, dim: headDim, valueDim: headDim,
          isCausal: 0, window: 0, scale: headDim ** -0.5, sinks: 0, work,
        }));
      }
      first += length;
    }
  }
}
