import type { Program } from "../model/program.ts";
import type { Range } from "../model/share.ts";
import { FORMAT_ID, ROUNDING_ID } from "../tensor/formats.ts";
import { Chunks } from "./chunks.ts";
import type { Counts, OperandName } from "./counts.ts";
import type { TrainKernels } from "./kernels.ts";
import { blockRows, type OperandFormat } from "./recipes.ts";
import type { LinearWeight } from "./weights.ts";
import type { Workspace } from "./workspace.ts";

/** The six operands of the three products of a linear layer. Each has its own stream of random words. */
const ROLES = [
  "forward x",
  "forward w",
  "inputGradient dy",
  "inputGradient w",
  "weightGradient dy",
  "weightGradient x",
] as const;
type Role = (typeof ROLES)[number];

/** The roundings that are counted: x, w and dy, each in one of the two products that read it. */
const COUNTED: { readonly [role in Role]?: OperandName } = {
  "forward x": "x",
  "forward w": "w",
  "weightGradient dy": "dy",
};

/** The stream of random words that gives the signs of Hadamard matrices. */
const HADAMARD = 2 ** 32 - 1;

/**
 * The three products of a linear layer, with operands rounded as its recipe says. An operand is quantised and
 * dequantised: float32 holds what codes and scales stand for exactly, so a float32 product of these values is
 * the product of the codes. A member computes whole rows of each result.
 */
export class LinearProducts {
  /** Which random words stochastic rounding takes; `part` is the micro-batch of the step. */
  seed = 0;
  step = 0;
  part = 0;
  readonly #program: Program;
  readonly #counts: Counts | null;

  constructor(program: Program, counts: Counts | null) {
    this.#program = program;
    this.#counts = counts;
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  /** Makes this member's rows of a weight's rounded and transposed forms, after its values have changed. */
  refresh(weight: LinearWeight, work: Workspace): void {
    const { parameter, n, k, recipe, rounded, transposed } = weight;
    const { seat } = this.#program;
    const { w } = recipe.forward;
    if (w !== null) {
      const { start, end } = new Chunks(n, blockRows(w)).rowsOf(seat);
      const at = 4 * start * k;
      this.#round(rounded + at, parameter.value + at, { start, end, cols: k }, w, work, weight, "forward w");
    }
    const other = recipe.inputGradient.w;
    const { start, end } = new Chunks(k, blockRows(other)).rowsOf(seat);
    const at = transposed + 4 * start * n;
    this.#kernels.transpose(at, parameter.value + 4 * start, n, end - start, k);
    this.#round(at, at, { start, end, cols: n }, other, work, weight, "inputGradient w");
  }

  /** y[rows, n] <- x[rows, k] w^T, for some rows and for all weights that multiply the same x. */
  forward(
    x: number,
    { start, end }: Range,
    products: readonly { readonly y: number; readonly weight: LinearWeight }[],
    work: Workspace,
  ): void {
    const first = products[0]!.weight;
    const { k, recipe } = first;
    const own = { start, end, cols: k };
    const left = this.#left(x + 4 * start * k, own, recipe.forward.x, work, first, "forward x");
    for (const { y, weight } of products)
      this.multiply(y + 4 * start * weight.n, left, weight.rounded, [end - start, weight.n, k], work);
  }

  /** dx[rows, k] += dy[rows, n] w for some rows. */
  inputGradient(dx: number, dy: number, { start, end }: Range, weight: LinearWeight, work: Workspace): void {
    const { n, k, transposed, recipe } = weight;
    const rows = end - start;
    const own = { start, end, cols: n };
    const { dy: format } = recipe.inputGradient;
    const left = this.#left(dy + 4 * start * n, own, format, work, weight, "inputGradient dy");
    this.multiply(work.result, left, transposed, [rows, k, n], work);
    this.#kernels.addScaled(dx + 4 * start * k, work.result, rows * k, 1);
  }

  /**
   * Transposes this member's rows of x[tokens, k] and rounds them along
   * the tokens, as weight gradients read them.
   */
  transposeX(dst: number, x: number, tokens: number, weight: LinearWeight, work: Workspace): void {
    const { k, recipe } = weight;
    const format = recipe.weightGradient.x;
    const { start, end } = new Chunks(k, blockRows(format)).rowsOf(this.#program.seat);
    const at = dst + 4 * start * tokens;
    this.#kernels.transpose(at, x + 4 * start, tokens, end - start, k);
    if (recipe.weightGradient.hadamard) this.#spread(at, end - start, tokens);
    this.#round(at, at, { start, end, cols: tokens }, format, work, weight, "weightGradient x");
  }

  /** This member's rows of dw[n, k] += dy[tokens, n]^T x, with x as `transposeX` leaves it. */
  weightGradient(weight: LinearWeight, dy: number, turnedX: number, tokens: number, work: Workspace): void {
    const { n, k, recipe, parameter } = weight;
    const format = recipe.weightGradient.dy;
    const { start, end } = new Chunks(n, blockRows(format)).rowsOf(this.#program.seat);
    const rows = end - start;
    if (rows === 0) return;
    this.#kernels.transpose(work.transposed, dy + 4 * start, tokens, rows, n);
    if (recipe.weightGradient.hadamard) this.#spread(work.transposed, rows, tokens);
    const own = { start, end, cols: tokens };
    const left = this.#left(work.transposed, own, format, work, weight, "weightGradient dy");
    this.multiply(work.result, left, turnedX, [rows, k, tokens], work);
    this.#kernels.addScaled(parameter.gradient + 4 * start * k, work.result, rows * k, 1);
  }

  /** Multiplies the rows of an operand of a weight gradient by a Hadamard matrix, both operands by the same. */
  #spread(x: number, rows: number, cols: number): void {
    this.#kernels.setDraws(this.seed, HADAMARD, this.step, this.part);
    this.#kernels.hadamard(x, rows, cols);
  }

  /** dst[m, n] <- x[m, k] w[n, k]^T in float32. */
  multiply(
    dst: number,
    x: number,
    w: number,
    [m, n, k]: readonly [number, number, number],
    { gemm }: Workspace,
  ): void {
    if (m > 0) this.#kernels.gemmPlain(0, dst, x, m, w, n, k, gemm);
  }

  /**
   * Rounds the left operand of a product, of which src holds rows `start` to `end`.
   * @returns its address: in working memory, or src itself if nothing is rounded
   */
  #left(
    src: number,
    rows: Range & { readonly cols: number },
    operand: OperandFormat | null,
    work: Workspace,
    weight: LinearWeight,
    role: Role,
  ): number {
    if (operand === null) return src;
    this.#round(work.rounded, src, rows, operand, work, weight, role);
    return work.rounded;
  }

  /**
   * dst <- rows `start` to `end` of an operand, which are at src, rounded. dst may be src if the operand is not
   * counted.
   * @param operand `null`: nothing is done
   */
  #round(
    dst: number,
    src: number,
    { start, end, cols }: Range & { readonly cols: number },
    operand: OperandFormat | null,
    { rounding: work }: Workspace,
    weight: LinearWeight,
    role: Role,
  ): void {
    const rows = end - start;
    if (operand === null || rows === 0) return;
    const kernels = this.#kernels;
    const { format: name, block, rounding, scale, stochastic } = operand;
    const [format, direction] = [FORMAT_ID[name], ROUNDING_ID[rounding]];
    const counted = COUNTED[role];
    const sums = (counted && this.#counts?.add(weight, counted, rows * cols)) ?? 0;
    const stream = weight.index * ROLES.length + ROLES.indexOf(role);
    kernels.setDraws(this.seed, stream, this.step, this.part);
    if (scale === "e4m3") kernels.roundNvfp4(dst, src, rows, cols, stochastic ? 1 : 0, start, work);
    else if (stochastic)
      kernels.roundBlocksStochastic(format, dst, src, rows, cols, ...block, direction, start, work);
    else kernels.round(format, dst, src, rows, cols, ...block, direction, sums, work);
    // `round` adds to the sums itself; the other two kernels do not.
    if (sums !== 0 && (scale || stochastic))
      kernels.compare(FORMAT_ID.e4m3, 0, sums, src, dst, 0, rows * cols);
  }
}
