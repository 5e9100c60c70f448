import { ATTENTION_CALL } from "../model/calls.ts";
import type { DecoderConfig, HeadAttention } from "../model/config.ts";
import type { Program } from "../model/program.ts";
import { type Range, shareOf } from "../model/team.ts";
import type { Buffers, SavedActivations } from "./buffers.ts";
import type { TrainKernels } from "./kernels.ts";
import { headAttentionOf } from "./linears.ts";
import type { LinearProducts, Sizes } from "./products.ts";
import type { Operand } from "./roundings.ts";

/** Queries that are multiplied together, by the keys up to the last one that any of them sees. */
export const QUERIES_AT_ONCE = 64;

/**
 * Causal attention and its gradients. A member computes some key-value heads of some sequences, with all
 * query heads that share them.
 */
export class TrainedAttention {
  readonly #program: Program;
  readonly #sizes: HeadAttention;
  readonly #scale: number;
  readonly #products: LinearProducts;

  constructor(program: Program, config: DecoderConfig, products: LinearProducts) {
    this.#program = program;
    this.#sizes = headAttentionOf(config);
    this.#scale = config.attentionScale;
    this.#products = products;
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  /** The sequences and key-value heads of this member. */
  #tasks(batch: number): { readonly sequence: number; readonly keyHead: number }[] {
    const { keyHeads } = this.#sizes;
    const { start, end } = shareOf(batch * keyHeads, this.#program.team);
    return Array.from({ length: end - start }, (_, i) => ({
      sequence: Math.floor((start + i) / keyHeads),
      keyHead: (start + i) % keyHeads,
    }));
  }

  /** saved.heads <- attention of saved.q, saved.k and saved.v. */
  forward(saved: SavedActivations, { size: { batch, length }, work }: Buffers): void {
    const { heads, keyHeads, headDim } = this.#sizes;
    const group = heads / keyHeads;
    const [wide, narrow] = [4 * heads * headDim, 4 * keyHeads * headDim];
    for (const { sequence, keyHead } of this.#tasks(batch)) {
      const q = sequence * length * wide + 4 * keyHead * group * headDim;
      const k = sequence * length * narrow + 4 * keyHead * headDim;
      // biome-ignore format: a table of arguments
      const call = this.#program.call(ATTENTION_CALL, {
        out: saved.heads + q, outTokenStride: wide, outHeadStride: 4 * headDim,
        q: saved.q + q, qTokenStride: wide, qHeadStride: 4 * headDim, tokens: length, group,
        keys: saved.k + k, keyStride: narrow, keyScales: 0,
        values: saved.v + k, valueStride: narrow, valueScales: 0, scaleStride: 0,
        count: length, dim: headDim, valueDim: headDim, isCausal: 1, window: 0, scale: this.#scale,
        sinks: 0, work: work.attention,
      });
      this.#kernels.attend(call);
    }
  }

  /** d.q, d.k and d.v <- the gradients of q, k and v, from d.heads, the gradient of `forward`'s result. */
  backward(saved: SavedActivations, buffers: Buffers): void {
    const { heads, keyHeads } = this.#sizes;
    const group = heads / keyHeads;
    for (const { sequence, keyHead } of this.#tasks(buffers.size.batch))
      for (let i = 0; i < group; i++)
        this.#headBackward(saved, buffers, sequence, keyHead * group + i, keyHead, i > 0);
  }

  /**
   * The backward pass of one query head of a sequence. Its probabilities are computed again: keeping them
   * from the forward pass would take length^2 values a head. No query sees a later key: a block of queries
   * meets the keys up to its last one, and a block of keys the queries from its first one on.
   * @param adds whether d.k and d.v hold the part of another query head already
   */
  #headBackward(
    saved: SavedActivations,
    { size: { length }, d, work }: Buffers,
    sequence: number,
    head: number,
    keyHead: number,
    adds: boolean,
  ): void {
    const { heads, keyHeads, headDim } = this.#sizes;
    const { p, dp } = work.scores;
    const of = (x: number, count: number, one: number, from: number): Operand => ({
      at: x + 4 * ((sequence * length + from) * count + one) * headDim,
      stride: count * headDim,
    });
    const query = (x: number, from: number) => of(x, heads, head, from);
    const key = (x: number, from: number) => of(x, keyHeads, keyHead, from);
    const square = (x: number, i: number, j: number) => ({ at: x + 4 * (i * length + j), stride: length });
    const transposed = (operand: Operand) => ({ ...operand, isTransposed: true });
    const multiply = (dst: Operand, x: Operand, w: Operand, sizes: Sizes, factor = 0) =>
      this.#products.multiply(dst, x, w, sizes, work, factor);
    const spans = spansOf(length);
    for (const { start, end } of spans) {
      const sizes = [end - start, end, headDim] as const;
      multiply(square(p, start, 0), query(saved.q, start), key(saved.k, 0), sizes);
      multiply(square(dp, start, 0), query(d.heads, start), key(saved.v, 0), sizes);
    }
    this.#kernels.causalSoftmax(p, length, this.#scale);
    const ds = dp;
    this.#kernels.softmaxBackward(ds, dp, p, length, this.#scale);
    for (const { start, end } of spans) {
      const sizes = [end - start, headDim, length - start] as const;
      const factor = adds ? 1 : 0;
      // dv = p^T dout, dk = ds^T q, dq = ds k
      const [pOfKeys, dsOfKeys] = [transposed(square(p, start, start)), transposed(square(ds, start, start))];
      multiply(key(d.v, start), pOfKeys, transposed(query(d.heads, start)), sizes, factor);
      multiply(key(d.k, start), dsOfKeys, transposed(query(saved.q, start)), sizes, factor);
      const before = [end - start, headDim, end] as const;
      multiply(query(d.q, start), square(ds, start, 0), transposed(key(saved.k, 0)), before);
    }
  }
}

/** Queries, or keys, in blocks. */
function spansOf(length: number): Range[] {
  return Array.from({ length: Math.ceil(length / QUERIES_AT_ONCE) }, (_, i) => ({
    start: i * QUERIES_AT_ONCE,
    end: Math.min((i + 1) * QUERIES_AT_ONCE, length),
  }));
}
