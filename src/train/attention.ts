import type { DecoderConfig, HeadAttention } from "../model/config.ts";
import type { Program } from "../model/program.ts";
import { shareOf } from "../model/share.ts";
import type { Buffers, Saved } from "./buffers.ts";
import type { TrainKernels } from "./kernels.ts";
import { attentionOf } from "./linears.ts";
import type { LinearProducts } from "./products.ts";

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
    this.#sizes = attentionOf(config);
    this.#scale = config.attentionScale;
    this.#products = products;
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  /** The sequences and key-value heads of this member. */
  #tasks(batch: number): { readonly row: number; readonly keyHead: number }[] {
    const { keyHeads } = this.#sizes;
    const { start, end } = shareOf(batch * keyHeads, this.#program.seat);
    return Array.from({ length: end - start }, (_, i) => ({
      row: Math.floor((start + i) / keyHeads),
      keyHead: (start + i) % keyHeads,
    }));
  }

  /** saved.heads <- attention of saved.q, saved.k and saved.v. */
  forward(saved: Saved, { size: { batch, length }, work }: Buffers): void {
    const { heads, keyHeads, headDim } = this.#sizes;
    const group = heads / keyHeads;
    const [wide, narrow] = [4 * heads * headDim, 4 * keyHeads * headDim];
    for (const { row, keyHead } of this.#tasks(batch)) {
      const q = row * length * wide + 4 * keyHead * group * headDim;
      const k = row * length * narrow + 4 * keyHead * headDim;
      // biome-ignore format: a table of arguments
      this.#kernels.attend(
        saved.heads + q, wide, 4 * headDim, saved.q + q, wide, 4 * headDim, length, group,
        saved.k + k, narrow, 0, saved.v + k, narrow, 0, 0,
        length, headDim, headDim, 1, 0, this.#scale, 0, work.attention,
      );
    }
  }

  /** Adds to d.q, d.k and d.v from d.heads, the gradient of `forward`'s result. */
  backward(saved: Saved, buffers: Buffers): void {
    const { heads, keyHeads } = this.#sizes;
    const group = heads / keyHeads;
    for (const { row, keyHead } of this.#tasks(buffers.size.batch))
      for (let head = keyHead * group; head < (keyHead + 1) * group; head++)
        this.#head(saved, buffers, row, head, keyHead);
  }

  /**
   * The backward pass of one query head of a sequence. Its probabilities are computed again: keeping them from
   * the forward pass would take length^2 values a head.
   */
  #head(
    saved: Saved,
    { size: { length }, d, work }: Buffers,
    row: number,
    head: number,
    keyHead: number,
  ): void {
    const { heads, keyHeads, headDim } = this.#sizes;
    const kernels = this.#kernels;
    const { q, k, v, dout, transposed, result } = work.head;
    const { p, dp, transposed: transposedP } = work.scores;
    const at = (x: number, count: number, one: number) => x + 4 * (row * length * count + one) * headDim;
    const bytes = 4 * headDim;
    const take = (dst: number, src: number, count: number, one: number) =>
      kernels.copyRows(dst, bytes, at(src, count, one), count * bytes, length, bytes);
    const add = (dst: number, count: number, one: number) =>
      kernels.addRows(at(dst, count, one), result, length, headDim, count * headDim);
    const multiply = (dst: number, x: number, w: number, n: number, depth: number) =>
      this.#products.multiply(dst, x, w, [length, n, depth], work);
    const transpose = (dst: number, src: number, cols: number) =>
      kernels.transpose(dst, src, length, cols, cols);
    take(q, saved.q, heads, head);
    take(k, saved.k, keyHeads, keyHead);
    take(v, saved.v, keyHeads, keyHead);
    take(dout, d.heads, heads, head);
    multiply(p, q, k, length, headDim);
    kernels.causalSoftmax(p, length, this.#scale);
    multiply(dp, dout, v, length, headDim);
    // dv = p^T dout
    transpose(transposedP, p, length);
    transpose(transposed, dout, headDim);
    multiply(result, transposedP, transposed, headDim, length);
    add(d.v, keyHeads, keyHead);
    kernels.softmaxBackward(dp, dp, p, length, this.#scale);
    // dq = ds k
    transpose(transposed, k, headDim);
    multiply(result, dp, transposed, headDim, length);
    add(d.q, heads, head);
    // dk = ds^T q
    transpose(transposedP, dp, length);
    transpose(transposed, q, headDim);
    multiply(result, transposedP, transposed, headDim, length);
    add(d.k, keyHeads, keyHead);
  }
}
