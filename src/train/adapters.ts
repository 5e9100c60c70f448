import type { Program } from "../model/program.ts";
import type { Buffers } from "./buffers.ts";
import type { LinearProducts } from "./products.ts";
import { RowShares } from "./row-shares.ts";
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

  /** y += scale (x A^T) B^T for this member's tokens. */
  forward(
    y: number,
    x: number,
    { n, k, index }: LinearWeight,
    { a, b, rank, scale }: Adapter,
    { own: { start, end }, low, work }: Buffers,
  ): void {
    const rows = end - start;
    const inner = { at: low.get(index)! + 4 * start * rank, stride: rank };
    const from = { at: x + 4 * start * k, stride: k };
    const to = { at: y + 4 * start * n, stride: n };
    this.#products.multiply(inner, from, { at: a.value, stride: k }, [rows, rank, k], work);
    this.#products.multiply(to, inner, { at: b.value, stride: rank }, [rows, n, rank], work, scale);
  }

  /** dlow <- dy B for this member's tokens. */
  lowGradient(
    dlow: number,
    dy: number,
    { n }: LinearWeight,
    { b, rank }: Adapter,
    { own: { start, end }, work }: Buffers,
  ): void {
    const to = { at: dlow + 4 * start * rank, stride: rank };
    const from = { at: dy + 4 * start * n, stride: n };
    const by = { at: b.value, stride: rank, isTransposed: true };
    this.#products.multiply(to, from, by, [end - start, rank, n], work);
  }

  /** dx += scale dlow A for this member's tokens. */
  inputGradient(
    dx: number,
    dlow: number,
    { k }: LinearWeight,
    { a, rank, scale }: Adapter,
    { own: { start, end }, work }: Buffers,
  ): void {
    const to = { at: dx + 4 * start * k, stride: k };
    const from = { at: dlow + 4 * start * rank, stride: rank };
    const by = { at: a.value, stride: k, isTransposed: true };
    this.#products.multiply(to, from, by, [end - start, k, rank], work, scale);
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
    const { team } = this.#program;
    const transposed = (at: number, stride: number) => ({ at, stride, isTransposed: true });
    const rows = new RowShares(n).rowsOfMember(team);
    const ofB = { at: b.gradient + 4 * rows.start * rank, stride: rank };
    const height = rows.end - rows.start;
    const dyOfRows = transposed(dy + 4 * rows.start, n);
    this.#products.multiply(
      ofB,
      dyOfRows,
      transposed(low.get(index)!, rank),
      [height, rank, tokens],
      work,
      scale,
    );
    const columns = new RowShares(k).rowsOfMember(team);
    const ofA = { at: a.gradient + 4 * columns.start, stride: k };
    const width = columns.end - columns.start;
    const xOfColumns = transposed(x + 4 * columns.start, k);
    this.#products.multiply(ofA, transposed(dlow, rank), xOfColumns, [rank, width, tokens], work, scale);
  }
}
