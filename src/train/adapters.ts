import type { Program } from "../model/program.ts";
import type { Buffers } from "./buffers.ts";
import { Chunks } from "./chunks.ts";
import type { TrainKernels } from "./kernels.ts";
import type { LinearProducts } from "./products.ts";
import type { Adapter, LinearWeight } from "./weights.ts";

/**
 * The low-rank adapters (LoRA) of linear layers and their gradients, in float32: y += scale low B^T with
 * low = x A^T. A member computes its own tokens, its own rows of dB and its own columns of dA.
 */
export class Adapters {
  readonly #program: Program;
  readonly #products: LinearProducts;

  constructor(program: Program, products: LinearProducts) {
    this.#program = program;
    this.#products = products;
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  /** Transposes A and B after their values have changed. Each adapter is done by one member. */
  refresh({ n, k, index }: LinearWeight, { a, b, rank, transposedA, transposedB }: Adapter): void {
    const { seat } = this.#program;
    if (index % seat.size !== seat.rank) return;
    this.#kernels.transpose(transposedA, a.value, rank, k, k);
    this.#kernels.transpose(transposedB, b.value, n, rank, rank);
  }

  /** y += scale (x A^T) B^T for this member's tokens. */
  forward(
    y: number,
    x: number,
    { n, k, index }: LinearWeight,
    { a, b, rank, scale }: Adapter,
    { own, low, work }: Buffers,
  ): void {
    const rows = own.end - own.start;
    const inner = low.get(index)! + 4 * own.start * rank;
    this.#products.multiply(inner, x + 4 * own.start * k, a.value, [rows, rank, k], work);
    this.#products.multiply(work.result, inner, b.value, [rows, n, rank], work);
    this.#kernels.addScaled(y + 4 * own.start * n, work.result, rows * n, scale);
  }

  /** dlow <- dy B for this member's tokens. */
  lower(
    dlow: number,
    dy: number,
    { n }: LinearWeight,
    { transposedB, rank }: Adapter,
    { own, work }: Buffers,
  ): void {
    const at = 4 * own.start;
    this.#products.multiply(dlow + at * rank, dy + at * n, transposedB, [own.end - own.start, rank, n], work);
  }

  /** dx += scale dlow A for this member's tokens. */
  inputGradient(
    dx: number,
    dlow: number,
    { k }: LinearWeight,
    { transposedA, rank, scale }: Adapter,
    { own, work }: Buffers,
  ): void {
    const rows = own.end - own.start;
    this.#products.multiply(work.result, dlow + 4 * own.start * rank, transposedA, [rows, k, rank], work);
    this.#kernels.addScaled(dx + 4 * own.start * k, work.result, rows * k, scale);
  }

  /** dB += scale dy^T low and dA += scale dlow^T x. Call it when all members have written their dlow. */
  weightGradients(
    dlow: number,
    dy: number,
    x: number,
    { n, k, index }: LinearWeight,
    { a, b, rank, scale }: Adapter,
    { tokens, low, work }: Buffers,
  ): void {
    const kernels = this.#kernels;
    const { seat } = this.#program;
    const rows = new Chunks(n).rowsOf(seat);
    const count = rows.end - rows.start;
    kernels.transpose(work.lowTransposed, low.get(index)!, tokens, rank, rank);
    kernels.transpose(work.transposed, dy + 4 * rows.start, tokens, count, n);
    this.#products.multiply(work.result, work.transposed, work.lowTransposed, [count, rank, tokens], work);
    kernels.addScaled(b.gradient + 4 * rows.start * rank, work.result, count * rank, scale);
    // dA [rank, k] has few rows, so members share its columns: dA^T is computed and then transposed.
    const columns = new Chunks(k).rowsOf(seat);
    const width = columns.end - columns.start;
    kernels.transpose(work.lowTransposed, dlow, tokens, rank, rank);
    kernels.transpose(work.transposed, x + 4 * columns.start, tokens, width, k);
    this.#products.multiply(work.result, work.transposed, work.lowTransposed, [width, rank, tokens], work);
    kernels.transpose(work.transposed, work.result, width, rank, rank);
    for (let row = 0; row < rank; row++)
      kernels.addScaled(
        a.gradient + 4 * (row * k + columns.start),
        work.transposed + 4 * row * width,
        width,
        scale,
      );
  }
}
