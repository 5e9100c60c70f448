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

/** The six operands: each takes random words of its own. */
const ROLES = [
  "forward x",
  "forward w",
  "inputGradient dy",
  "inputGradient w",
  "weightGradient dy",
  "weightGradient x",
] as const;
type Role = (typeof ROLES)[number];

/** Operands that are counted, where they are first rounded. */
const COUNTED: { readonly [role in Role]?: OperandName } = {
  "forward x": "x",
  "forward w": "w",
  "weightGradient dy": "dy",
};

/** The stream that signs of Hadamard matrices come from. */
const HADAMARD = 2 ** 32 - 1;

/**
 * The three products of a linear layer, with operands rounded as a recipe says: what the codes of an operand
 * stand for is multiplied, which float32 holds exactly, so the product is that of the codes, summed in
 * float32. A member computes whole rows of each result.
 */
export class Products {
  /** Which random words roundings by chance take: of a part of a step. */
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

  /** Makes this member's rows of what products read of a weight, after its values have changed. */
  refresh(weight: Weight, work: Workspace): void {
    const { parameter, n, k, recipe, rounded, turned } = weight;
    const { seat } = this.#program;
    const { w } = recipe.forward;
    if (w !== null) {
      const { start, end } = new Chunks(n, blockRows(w)).rowsOf(seat);
      const at = 4 * start * k;
      this.#round(rounded + at, parameter.value + at, { start, end, cols: k }, w, work, weight, "forward w");
    }
    const other = recipe.inputGradient.w;
    const { start, end } = new Chunks(k, blockRows(other)).rowsOf(seat);
    const at = turned + 4 * start * n;
    this.#kernels.transpose(at, parameter.value + 4 * start, n, end - start, k);
    this.#round(at, at, { start, end, cols: n }, other, work, weight, "inputGradient w");
  }

  /** y[rows, n] <- x[rows, k] w^T, for some rows and for all weights that meet the same x. */
  forward(
    x: number,
    { start, end }: Range,
    products: readonly { readonly y: number; readonly weight: Weight }[],
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
  inputGradient(dx: number, dy: number, { start, end }: Range, weight: Weight, work: Workspace): void {
    const { n, k, turned, recipe } = weight;
    const rows = end - start;
    const own = { start, end, cols: n };
    const { dy: format } = recipe.inputGradient;
    const left = this.#left(dy + 4 * start * n, own, format, work, weight, "inputGradient dy");
    this.multiply(work.made, left, turned, [rows, k, n], work);
    this.#kernels.addScaled(dx + 4 * start * k, work.made, rows * k, 1);
  }

  /**
   * Transposes this member's rows of x[tokens, k] and rounds them along
   * the tokens, as weight gradients read them.
   */
  turn(turned: number, x: number, tokens: number, weight: Weight, work: Workspace): void {
    const { k, recipe } = weight;
    const format = recipe.weightGradient.x;
    const { start, end } = new Chunks(k, blockRows(format)).rowsOf(this.#program.seat);
    const at = turned + 4 * start * tokens;
    this.#kernels.transpose(at, x + 4 * start, tokens, end - start, k);
    if (recipe.weightGradient.hadamard) this.#spread(at, end - start, tokens);
    this.#round(at, at, { start, end, cols: tokens }, format, work, weight, "weightGradient x");
  }

  /** Computes this member's rows of dw[n, k] += dy[tokens, n]^T x, with x as `turn` has made it. */
  weightGradient(weight: Weight, dy: number, turnedX: number, tokens: number, work: Workspace): void {
    const { n, k, recipe, parameter } = weight;
    const format = recipe.weightGradient.dy;
    const { start, end } = new Chunks(n, blockRows(format)).rowsOf(this.#program.seat);
    const rows = end - start;
    if (rows === 0) return;
    this.#kernels.transpose(work.turned, dy + 4 * start, tokens, rows, n);
    if (recipe.weightGradient.hadamard) this.#spread(work.turned, rows, tokens);
    const own = { start, end, cols: tokens };
    const left = this.#left(work.turned, own, format, work, weight, "weightGradient dy");
    this.multiply(work.made, left, turnedX, [rows, k, tokens], work);
    this.#kernels.addScaled(parameter.gradient + 4 * start * k, work.made, rows * k, 1);
  }

  /** Turns both operands of a weight gradient alike. */
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
    { product }: Workspace,
  ): void {
    if (m > 0) this.#kernels.gemmPlain(0, dst, x, m, w, n, k, product);
  }

  /**
   * Where the left operand of a product is, of which src has rows `start` to `end`:
   * rounded in working memory, or src itself.
   */
  #left(
    src: number,
    rows: Range & { readonly cols: number },
    operand: OperandFormat | null,
    work: Workspace,
    weight: Weight,
    role: Role,
  ): number {
    if (operand === null) return src;
    this.#round(work.rounded, src, rows, operand, work, weight, role);
    return work.rounded;
  }

  /**
   * dst <- rows `start` to `end` of an operand, which are at src, rounded; of
   * one that is not counted, dst may be src.
   * @param operand a `null` leaves them as they are
   */
  #round(
    dst: number,
    src: number,
    { start, end, cols }: Range & { readonly cols: number },
    operand: OperandFormat | null,
    { rounding: work }: Workspace,
    weight: Weight,
    role: Role,
  ): void {
    const rows = end - start;
    if (operand === null || rows === 0) return;
    const kernels = this.#kernels;
    const { format: name, block, rounding, scale, byChance } = operand;
    const [format, direction] = [FORMAT_ID[name], ROUNDING_ID[rounding]];
    const counted = COUNTED[role];
    const sums = (counted && this.#counts?.add(weight, counted, rows * cols)) ?? 0;
    const stream = weight.index * ROLES.length + ROLES.indexOf(role);
    kernels.setDraws(this.seed, stream, this.step, this.part);
    if (scale === "e4m3") kernels.roundNvfp4(dst, src, rows, cols, byChance ? 1 : 0, start, work);
    else if (byChance)
      kernels.roundBlocksByChance(format, dst, src, rows, cols, ...block, direction, start, work);
    else kernels.round(format, dst, src, rows, cols, ...block, direction, sums, work);
    // The nearest are compared where they are rounded: only there are codes, which tell what was cut.
    if (sums !== 0 && (scale || byChance)) kernels.compare(FORMAT_ID.e4m3, 0, sums, src, dst, 0, rows * cols);
  }
}
