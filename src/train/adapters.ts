import type { Program } from "../model/program.ts";
import { Chunks } from "./chunks.ts";
import type { TrainKernels } from "./kernels.ts";
import type { Products } from "./products.ts";
import type { Rooms } from "./rooms.ts";
import type { Adapter, Weight } from "./weights.ts";

/**
 * What adapters add to linear layers, and its gradients, in float32: y += scale low B^T with low = x A^T. A
 * member computes its own tokens, its own rows of dB and its own columns of dA.
 */
export class Adapters {
  readonly #program: Program;
  readonly #products: Products;

  constructor(program: Program, products: Products) {
    this.#program = program;
    this.#products = products;
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  /** Turns A and B, after their values have changed: all of an adapter by one member. */
  refresh({ n, k, index }: Weight, { a, b, rank, turnedA, turnedB }: Adapter): void {
    const { seat } = this.#program;
    if (index % seat.size !== seat.rank) return;
    this.#kernels.transpose(turnedA, a.value, rank, k, k);
    this.#kernels.transpose(turnedB, b.value, n, rank, rank);
  }

  /** y += scale (x A^T) B^T for this member's tokens. */
  forward(
    y: number,
    x: number,
    { n, k, index }: Weight,
    { a, b, rank, scale }: Adapter,
    { own, low, work }: Rooms,
  ): void {
    const rows = own.end - own.start;
    const inner = low.get(index)! + 4 * own.start * rank;
    this.#products.multiply(inner, x + 4 * own.start * k, a.value, [rows, rank, k], work);
    this.#products.multiply(work.made, inner, b.value, [rows, n, rank], work);
    this.#kernels.addScaled(y + 4 * own.start * n, work.made, rows * n, scale);
  }

  /** dlow <- dy B for this member's tokens. */
  lower(dlow: number, dy: number, { n }: Weight, { turnedB, rank }: Adapter, { own, work }: Rooms): void {
    const at = 4 * own.start;
    this.#products.multiply(dlow + at * rank, dy + at * n, turnedB, [own.end - own.start, rank, n], work);
  }

  /** dx += scale dlow A for this member's tokens. */
  inputGradient(
    dx: number,
    dlow: number,
    { k }: Weight,
    { turnedA, rank, scale }: Adapter,
    { own, work }: Rooms,
  ): void {
    const rows = own.end - own.start;
    this.#products.multiply(work.made, dlow + 4 * own.start * rank, turnedA, [rows, k, rank], work);
    this.#kernels.addScaled(dx + 4 * own.start * k, work.made, rows * k, scale);
  }

  /** dB += scale dy^T low and dA += scale dlow^T x, when dlow of all tokens is there. */
  weightGradients(
    dlow: number,
    dy: number,
    x: number,
    { n, k, index }: Weight,
    { a, b, rank, scale }: Adapter,
    { tokens, low, work }: Rooms,
  ): void {
    const kernels = this.#kernels;
    const { seat } = this.#program;
    const rows = new Chunks(n).rowsOf(seat);
    const count = rows.end - rows.start;
    kernels.transpose(work.low, low.get(index)!, tokens, rank, rank);
    kernels.transpose(work.turned, dy + 4 * rows.start, tokens, count, n);
    this.#products.multiply(work.made, work.turned, work.low, [count, rank, tokens], work);
    kernels.addScaled(b.gradient + 4 * rows.start * rank, work.made, count * rank, scale);
    // The columns of dA as rows of what is turned afterwards: there are more of them than rows.
    const columns = new Chunks(k).rowsOf(seat);
    const width = columns.end - columns.start;
    kernels.transpose(work.low, dlow, tokens, rank, rank);
    kernels.transpose(work.turned, x + 4 * columns.start, tokens, width, k);
    this.#products.multiply(work.made, work.turned, work.low, [width, rank, tokens], work);
    kernels.transpose(work.turned, work.made, width, rank, rank);
    for (let row = 0; row < rank; row++)
      kernels.addScaled(
        a.gradient + 4 * (row * k + columns.start),
        work.turned + 4 * row * width,
        width,
        scale,
      );
  }
}
