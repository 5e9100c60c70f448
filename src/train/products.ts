import type { Program } from "../model/program.ts";
import type { Range } from "../model/team.ts";
import { PRODUCT_CALL } from "./calls.ts";
import type { Counts } from "./counts.ts";
import type { TrainKernels } from "./kernels.ts";
import { blockRows } from "./recipes.ts";
import { type Operand, OperandRounder, operandOf, type RoundingJob } from "./roundings.ts";
import { RowShares } from "./row-shares.ts";
import type { LinearWeight } from "./weights.ts";
import type { Workspace } from "./workspace.ts";

/** m, n and k of x[m, k] w[n, k]^T. */
export type Sizes = readonly [m: number, n: number, k: number];

/**
 * The three products of a linear layer, with operands rounded as its recipe says. An operand is quantised and
 * dequantised: float32 holds what codes and scales stand for exactly, so a float32 product of these values is
 * the product of the codes. A member computes whole rows of each result.
 */
export class LinearProducts {
  readonly roundings: OperandRounder;
  readonly #program: Program;

  constructor(program: Program, counts: Counts | null) {
    this.#program = program;
    this.roundings = new OperandRounder(program, counts);
  }

  /** Makes this member's part of a weight's rounded forms, after its values have changed. */
  refresh(weight: LinearWeight, work: Workspace): void {
    const { parameter, n, k, recipe, forY, forDx } = weight;
    const { team } = this.#program;
    const { w } = recipe.forward;
    if (w !== null) {
      const { start, end } = new RowShares(n, blockRows(w)).rowsOfMember(team);
      const at = 4 * start * k;
      const rounding: RoundingJob = { weight, role: "forward w", format: w };
      this.roundings.roundRows(forY + at, parameter.value + at, { start, end, cols: k }, work, rounding);
    }
    const { w: other } = recipe.inputGradient;
    if (other !== null && forDx !== forY) {
      const own = new RowShares(k, blockRows(other)).rowsOfMember(team);
      const rounding: RoundingJob = { weight, role: "inputGradient w", format: other };
      this.roundings.roundOwnColumns(forDx, parameter.value, [n, k], own, work, rounding);
    }
  }

  /** y[rows, n] <- x[rows, k] w^T, for some rows and for all weights that multiply the same x. */
  forward(
    x: number,
    { start, end }: Range,
    products: readonly { readonly y: number; readonly weight: LinearWeight }[],
    work: Workspace,
  ): void {
    const { weight } = products[0]!;
    const { k, recipe } = weight;
    const own = { start, end, cols: k };
    const rounding: RoundingJob = { weight, role: "forward x", format: recipe.forward.x };
    const left = this.#left(x + 4 * start * k, own, work, rounding);
    for (const {
      y,
      weight: { n, forY },
    } of products) {
      const to = { at: y + 4 * start * n, stride: n };
      this.multiply(to, left, { at: forY, stride: k }, [end - start, n, k], work);
    }
  }

  /** dx[rows, k] <- dy[rows, n] w for some rows. `adds`: it is added to dx instead. */
  inputGradient(
    dx: number,
    dy: number,
    { start, end }: Range,
    weight: LinearWeight,
    work: Workspace,
    adds: boolean,
  ): void {
    const { n, k, forDx, recipe } = weight;
    const { dy: format, w } = recipe.inputGradient;
    const rounding: RoundingJob = { weight, role: "inputGradient dy", format };
    const left = this.#left(dy + 4 * start * n, { start, end, cols: n }, work, rounding);
    const to = { at: dx + 4 * start * k, stride: k };
    const right = operandOf(forDx, n, k, { format: w });
    this.multiply(to, left, right, [end - start, k, n], work, adds ? 1 : 0);
  }

  /**
   * Makes this member's part of what weight gradients read of x[tokens, k]: x rounded along the tokens.
   * Nothing is done if they read x itself.
   */
  roundX(dst: number, x: number, tokens: number, weight: LinearWeight, work: Workspace): void {
    const { k, recipe } = weight;
    const { x: format, hadamard } = recipe.weightGradient;
    if (format === null && !hadamard) return;
    const own = new RowShares(k, blockRows(format)).rowsOfMember(this.#program.team);
    const rounding: RoundingJob = { weight, role: "weightGradient x", format, hadamard };
    this.roundings.roundOwnColumns(dst, x, [tokens, k], own, work, rounding);
  }

  /** This member's rows of dw[n, k] += dy[tokens, n]^T x, with roundedX as `roundX` leaves it. */
  weightGradient(
    weight: LinearWeight,
    dy: number,
    x: number,
    roundedX: number,
    tokens: number,
    work: Workspace,
  ): void {
    const { n, k, recipe, parameter } = weight;
    const { dy: format, x: formatOfX, hadamard } = recipe.weightGradient;
    const own = new RowShares(n, blockRows(format)).rowsOfMember(this.#program.team);
    const rows = own.end - own.start;
    let left: Operand = { at: dy + 4 * own.start, stride: n, isTransposed: true };
    if (format !== null || hadamard) {
      const rounding: RoundingJob = { weight, role: "weightGradient dy", format, hadamard };
      this.roundings.roundColumns({ at: work.rounded, stride: rows }, left, tokens, own, work, rounding);
      left = operandOf(work.rounded, tokens, rows, rounding);
    }
    const isRounded = formatOfX !== null || hadamard;
    const right = operandOf(isRounded ? roundedX : x, tokens, k, { format: formatOfX, hadamard });
    const to = { at: parameter.gradient + 4 * own.start * k, stride: k };
    this.multiply(to, left, right, [rows, k, tokens], work, 1);
  }

  /** dst[m, n] += factor x[m, k] w[n, k]^T in float32. Without a factor the product is stored. */
  multiply(dst: Operand, x: Operand, w: Operand, [m, n, k]: Sizes, work: Workspace, factor = 0): void {
    const kernels = this.#program.kernels as TrainKernels;
    // biome-ignore format: a table of arguments
    const call = this.#program.call(PRODUCT_CALL, {
      dst: dst.at, dstStride: dst.stride,
      x: x.at, xStride: x.stride, isXTransposed: x.isTransposed ? 1 : 0,
      w: w.at, wStride: w.stride, isWTransposed: w.isTransposed ? 1 : 0,
      m, n, k, factor, work: work.multiply,
    });
    kernels.multiply(call);
  }

  /**
   * Rounds the left operand of a product, of which src holds rows `start` to `end`.
   * @returns where it is: in working memory, or src itself if nothing is rounded
   */
  #left(
    src: number,
    rows: Range & { readonly cols: number },
    work: Workspace,
    rounding: RoundingJob,
  ): Operand {
    const stride = rows.cols;
    if (rounding.format === null) return { at: src, stride };
    this.roundings.roundRows(work.rounded, src, rows, work, rounding);
    return { at: work.rounded, stride };
  }
}
