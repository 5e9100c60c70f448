import type { Program } from "../model/program.ts";
import { FORMAT_ID, type FormatId, ROUNDING_ID } from "../tensor/formats.ts";
import type { TrainKernels } from "./kernels.ts";
import type { OperandFormat, Recipe } from "./recipes.ts";

/** Replaces E2M1 codes, a byte each as the kernels write them, by E4M3 codes of the same values. */
function asE4m3(codes: Uint8Array): void {
  for (let i = 0; i < codes.length; i++) codes[i] = E4M3_OF[codes[i]! & 7]! | (codes[i]! & 0x80);
}

/** E4M3 codes of 0, 0.5, 1, 1.5, 2, 3, 4 and 6. */
const E4M3_OF: readonly number[] = [0, 0x30, 0x38, 0x3c, 0x40, 0x44, 0x48, 0x4c];

/** What the rounding of an operand has done, over all of its values since the counts were taken. */
export interface RangeCounts {
  /** Of the values, in float32 before rounding. */
  amax: number;
  count: number;
  /** Values that were not 0 and became 0, and values that were cut to the largest code. */
  flushed: number;
  saturated: number;
}

/** The operands of a linear layer's products, by name. */
export type OperandName = "x" | "w" | "dy";

/**
 * The three products of a linear layer, with operands rounded as a recipe says. An operand is quantised to codes and scales, and what these
 * stand for is multiplied: float32 holds each such value exactly, so the product is that of the codes, summed in float32.
 */
export class LinearProducts {
  readonly #program: Program;
  readonly #recipe: Recipe;
  /** Where roundings are counted, by layer; `null` if they are not. */
  counts: Map<string, Record<OperandName, RangeCounts>> | null = null;

  constructor(program: Program, recipe: Recipe) {
    this.#program = program;
    this.#recipe = recipe;
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  /** y[m, n] <- x[m, k] w[n, k]^T */
  forward(name: string, y: number, x: number, w: number, [m, n, k]: readonly [number, number, number]): void {
    const left = this.#rounded("left", x, m, k, this.#recipe.forward.x, [name, "x"]);
    const right = this.#rounded("right", w, n, k, this.#recipe.forward.w, [name, "w"]);
    this.multiply(y, left, right, [m, n, k]);
  }

  /** dx[m, k] += dy[m, n] w[n, k] */
  inputGradient(dx: number, dy: number, w: number, [m, n, k]: readonly [number, number, number]): void {
    const program = this.#program;
    const { dy: dyFormat, w: wFormat } = this.#recipe.inputGradient;
    const left = this.#rounded("left", dy, m, n, dyFormat);
    const turned = program.room("turned w", n * k);
    this.#kernels.transpose(turned, w, n, k);
    const right = this.#rounded("right", turned, k, n, wFormat);
    const made = program.room("made dx", m * k);
    this.multiply(made, left, right, [m, k, n]);
    this.#kernels.addScaled(dx, made, m * k, 1);
  }

  /** dw[n, k] += dy[m, n]^T x[m, k] */
  weightGradient(
    name: string,
    dw: number,
    dy: number,
    x: number,
    [m, n, k]: readonly [number, number, number],
  ): void {
    const program = this.#program;
    const { dy: dyFormat, x: xFormat } = this.#recipe.weightGradient;
    const turnedDy = program.room("turned dy", m * n);
    const turnedX = program.room("turned x", m * k);
    this.#kernels.transpose(turnedDy, dy, m, n);
    this.#kernels.transpose(turnedX, x, m, k);
    const left = this.#rounded("left", turnedDy, n, m, dyFormat, [name, "dy"]);
    const right = this.#rounded("right", turnedX, k, m, xFormat);
    const made = program.room("made dw", n * k);
    this.multiply(made, left, right, [n, k, m]);
    this.#kernels.addScaled(dw, made, n * k, 1);
  }

  /** dst[m, n] <- x[m, k] w[n, k]^T in float32. */
  multiply(dst: number, x: number, w: number, [m, n, k]: readonly [number, number, number]): void {
    const kernels = this.#kernels;
    const work = this.#program.bytes("work", kernels.plainWorkspace(m, k) >>> 0);
    kernels.gemmPlain(0, dst, x, m, w, n, k, work);
  }

  /** x[rows, cols], or what its codes stand for, in room of its own. */
  #rounded(
    room: string,
    x: number,
    rows: number,
    cols: number,
    operand: OperandFormat | null,
    counted?: readonly [layer: string, operand: OperandName],
  ): number {
    if (operand === null) return x;
    const program = this.#program;
    const kernels = this.#kernels;
    const format = FORMAT_ID[operand.format];
    const [blockRows, blockCols] = operand.block;
    const codes = program.bytes("codes", rows * cols);
    const scales = program.bytes("scales", Math.ceil(rows / blockRows) * Math.ceil(cols / blockCols));
    const rounded = program.room(`rounded ${room}`, rows * cols);
    const rounding = ROUNDING_ID[operand.rounding];
    kernels.quantize(format, 0, 0, codes, scales, x, rows, cols, blockRows, blockCols, rounding, 0, 127);
    const isFp4 = operand.format === "e2m1";
    if (isFp4) asE4m3(new Uint8Array(program.buffer, codes, rows * cols));
    const read = isFp4 ? FORMAT_ID.e4m3 : format;
    kernels.dequantize(read, 0, 0, rounded, codes, scales, rows, cols, blockRows, blockCols);
    if (counted !== undefined && this.counts !== null)
      this.#count(counted, read, x, rounded, codes, rows * cols);
    return rounded;
  }

  #count(
    [layer, operand]: readonly [string, OperandName],
    format: FormatId,
    x: number,
    rounded: number,
    codes: number,
    n: number,
  ): void {
    const sums = this.#program.bytes("sums", 72);
    new Float64Array(this.#program.buffer, sums, 9).fill(0);
    this.#kernels.compare(format, 0, sums, x, rounded, codes, n);
    const found = new Float64Array(this.#program.buffer, sums, 9);
    const none = (): RangeCounts => ({ amax: 0, count: 0, flushed: 0, saturated: 0 });
    const record = this.counts!.get(layer) ?? { x: none(), w: none(), dy: none() };
    this.counts!.set(layer, record);
    const counts = record[operand];
    counts.amax = Math.max(counts.amax, found[4]!);
    counts.count += n;
    counts.flushed += found[7]!;
    counts.saturated += found[8]!;
  }
}
