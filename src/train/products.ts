import type { Program } from "../model/program.ts";
import type { Range } from "../model/share.ts";
import { FORMAT_ID, ROUNDING_ID } from "../tensor/formats.ts";
import { Chunks } from "./chunks.ts";
import type { Counts, OperandName } from "./counts.ts";
import type { TrainKernels } from "./kernels.ts";
import type { OperandFormat } from "./recipes.ts";
import type { Workspace } from "./rooms.ts";
import type { Weight } from "./weights.ts";

/** Rows of an operand whose roundings belong together. */
export function blockRows(...formats: (OperandFormat | null)[]): number {
  return Math.max(1, ...formats.map((format) => format?.block[0] ?? 1));
}

/**
 * The three products of a linear layer, with operands rounded as a recipe says: what the codes of an operand stand for is multiplied, which
 * float32 holds exactly, so the product is that of the codes, summed in float32. A member computes whole rows of each result.
 */
export class Products {
  readonly #program: Program;
  readonly #counts: Counts | null;

  constructor(program: Program, counts: Counts | null) {
    this.#program = program;
    this.#counts = counts;
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  /** Makes this member's rows of what products read of a weight, after its values have changed. */
  refresh(weight: Weight, work: Workspace): void {
    const { parameter, n, k, recipe, rounded, turned } = weight;
    const { seat } = this.#program;
    const { w } = recipe.forward;
    if (w !== null) {
      const chunks = new Chunks(n, blockRows(w));
      const { start, end } = chunks.rows(chunks.of(seat));
      const at = 4 * start * k;
      this.#round(rounded + at, parameter.value + at, [end - start, k], w, work, [weight, "w"]);
    }
    const other = recipe.inputGradient.w;
    const chunks = new Chunks(k, blockRows(other));
    const { start, end } = chunks.rows(chunks.of(seat));
    const at = turned + 4 * start * n;
    this.#kernels.transpose(at, parameter.value + 4 * start, n, end - start, k);
    this.#round(at, at, [end - start, n], other, work);
  }

  /** y[rows, n] <- x[rows, k] w^T, for some rows and for all weights that meet the same x. */
  forward(
    x: number,
    { start, end }: Range,
    products: readonly { readonly y: number; readonly weight: Weight }[],
    work: Workspace,
  ): void {
    const { k, recipe } = products[0]!.weight;
    const rows = end - start;
    let left = x + 4 * start * k;
    if (recipe.forward.x !== null) {
      this.#round(work.rounded, left, [rows, k], recipe.forward.x, work, [products[0]!.weight, "x"]);
      left = work.rounded;
    }
    for (const { y, weight } of products)
      this.multiply(y + 4 * start * weight.n, left, weight.rounded, [rows, weight.n, k], work);
  }

  /** dx[rows, k] += dy[rows, n] w for some rows. */
  inputGradient(
    dx: number,
    dy: number,
    { start, end }: Range,
    { n, k, turned, recipe }: Weight,
    work: Workspace,
  ): void {
    const rows = end - start;
    let left = dy + 4 * start * n;
    if (recipe.inputGradient.dy !== null) {
      this.#round(work.rounded, left, [rows, n], recipe.inputGradient.dy, work);
      left = work.rounded;
    }
    this.multiply(work.made, left, turned, [rows, k, n], work);
    this.#kernels.addScaled(dx + 4 * start * k, work.made, rows * k, 1);
  }

  /** This member's rows of x[tokens, k] turned and rounded along the tokens, as weight gradients read it. */
  turn(turned: number, x: number, tokens: number, { k, recipe }: Weight, work: Workspace): void {
    const format = recipe.weightGradient.x;
    const chunks = new Chunks(k, blockRows(format));
    const { start, end } = chunks.rows(chunks.of(this.#program.seat));
    const at = turned + 4 * start * tokens;
    this.#kernels.transpose(at, x + 4 * start, tokens, end - start, k);
    this.#round(at, at, [end - start, tokens], format, work);
  }

  /** This member's rows of dw[n, k] += dy[tokens, n]^T x, of x what `turn` has made. */
  weightGradient(weight: Weight, dy: number, turnedX: number, tokens: number, work: Workspace): void {
    const { n, k, recipe, parameter } = weight;
    const format = recipe.weightGradient.dy;
    const chunks = new Chunks(n, blockRows(format));
    const { start, end } = chunks.rows(chunks.of(this.#program.seat));
    const rows = end - start;
    if (rows === 0) return;
    this.#kernels.transpose(work.turned, dy + 4 * start, tokens, rows, n);
    let left = work.turned;
    if (format !== null) {
      this.#round(work.rounded, left, [rows, tokens], format, work, [weight, "dy"]);
      left = work.rounded;
    }
    this.multiply(work.made, left, turnedX, [rows, k, tokens], work);
    this.#kernels.addScaled(parameter.gradient + 4 * start * k, work.made, rows * k, 1);
  }

  /** dst[m, n] <- x[m, k] w[n, k]^T in float32. */
  multiply(
    dst: number,
    x: number,
    w: number,
    [m, n, k]: readonly [number, number, number],
    { product }: Workspace,
  ): void {
    if (m > 0) this.#kernels.gemmPlain(0, dst, x, m, w, n, k, product);
  }

  /** dst[rows, cols] <- src rounded; without counting, dst may be src. */
  #round(
    dst: number,
    src: number,
    [rows, cols]: readonly [number, number],
    operand: OperandFormat | null,
    { rounding }: Workspace,
    counted?: readonly [weight: Weight, operand: OperandName],
  ): void {
    if (operand === null || rows === 0) return;
    const [height, width] = operand.block;
    const sums = (counted && this.#counts?.add(...counted, rows * cols)) ?? 0;
    // biome-ignore format: a table of arguments
    this.#kernels.round(
      FORMAT_ID[operand.format], dst, src, rows, cols, height, width, ROUNDING_ID[operand.rounding], sums, rounding,
    );
  }
}
