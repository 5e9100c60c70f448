import type { Program } from "../model/program.ts";
import type { Range } from "../model/team.ts";
import { FORMAT_ID, ROUNDING_ID, SCALE_TYPE_ID } from "../tensor/formats.ts";
import { MATRIX, matrixRecord } from "../wasm/matrix.ts";
import { RANDOM_STREAM, ROUNDING_CALL } from "./calls.ts";
import type { Counts, OperandName } from "./counts.ts";
import type { TrainKernels } from "./kernels.ts";
import type { OperandFormat } from "./recipes.ts";
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
export type Role = (typeof ROLES)[number];

/** The roundings that are counted: x, w and dy, each in one of the two products that read it. */
const COUNTED: { readonly [role in Role]?: OperandName } = {
  "forward x": "x",
  "forward w": "w",
  "weightGradient dy": "dy",
};

/** The stream of random words that gives the signs of Hadamard matrices. */
const HADAMARD = 2 ** 32 - 1;

/**
 * A float32 matrix in memory, whose rows are `stride` values apart. If it is transposed, its rows lie there
 * as columns.
 */
export interface Operand {
  readonly at: number;
  readonly stride: number;
  readonly isTransposed?: boolean;
}

/** One rounding to do: which operand of which weight, and to which format; `null` leaves it as it is. */
export interface RoundingJob {
  readonly weight: LinearWeight;
  readonly role: Role;
  readonly format: OperandFormat | null;
  /** Whether it is multiplied by a Hadamard matrix first. */
  readonly hadamard?: boolean | undefined;
}

/** Whether codes are the nearest and scales UE8M0: what the kernel `round` does. */
function usesRoundKernel({ scale, stochastic }: OperandFormat): boolean {
  return scale === undefined && !stochastic;
}

/**
 * Whether an operand that is summed along its columns is rounded as it lies. Random words and Hadamard
 * matrices depend on the position in the transpose: where they are used, the transpose is made first.
 */
function isAsItLies({ format, hadamard }: Pick<RoundingJob, "format" | "hadamard">): boolean {
  return !hadamard && (format === null || usesRoundKernel(format));
}

/**
 * What `roundColumns` leaves of a matrix [rows, cols], as the operand of a product that sums along its
 * columns.
 */
export function operandOf(
  at: number,
  rows: number,
  cols: number,
  job: Pick<RoundingJob, "format" | "hadamard">,
): Operand {
  return isAsItLies(job) ? { at, stride: cols, isTransposed: true } : { at, stride: rows };
}

/** Whether w rounded for y = x w^T can be read for dx = dy w too: nearest codes in square blocks. */
export function canShareRounding(w: OperandFormat | null, other: OperandFormat | null): boolean {
  if (w === null || other === null || !usesRoundKernel(w) || !usesRoundKernel(other)) return false;
  const isSame = w.format === other.format && w.rounding === other.rounding;
  return isSame && [w.block[1], ...other.block].every((size) => size === w.block[0]);
}

/** Quantises and dequantises operands of products as a recipe says, in memory. */
export class OperandRounder {
  /** Which random words stochastic rounding takes; `microBatch` is the micro-batch of the step. */
  seed = 0;
  step = 0;
  microBatch = 0;
  readonly #program: Program;
  readonly #counts: Counts | null;
  readonly #stream: number;

  constructor(program: Program, counts: Counts | null) {
    this.#program = program;
    this.#counts = counts;
    this.#stream = program.ownBytes("randomStream", RANDOM_STREAM.bytes);
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  /**
   * Rounds columns `start` to `end` of src[rows, cols], which is summed along its columns, into
   * dst: see `operandOf`.
   */
  roundOwnColumns(
    dst: number,
    src: number,
    [rows, cols]: readonly [number, number],
    own: Range,
    work: Workspace,
    job: RoundingJob,
  ): void {
    const at = dst + 4 * own.start * (isAsItLies(job) ? 1 : rows);
    this.roundColumns({ at, stride: cols }, { at: src + 4 * own.start, stride: cols }, rows, own, work, job);
  }

  /**
   * dst <- columns `start` to `end` of a matrix of `rows` rows, rounded; column `start` is at src. If their
   * transpose [end - start, rows] is made, its rows lie without gaps.
   */
  roundColumns(
    dst: Operand,
    src: Operand,
    rows: number,
    { start, end }: Range,
    work: Workspace,
    job: RoundingJob,
  ): void {
    const { format, hadamard, role } = job;
    const cols = end - start;
    if (cols === 0) return;
    if (format !== null && isAsItLies(job)) {
      const [height, length] = format.block;
      this.#roundNearest(dst, src, [rows, cols], { ...format, block: [length, height] }, work, job);
      return;
    }
    // Where roundings are counted, values before and after are compared: they need two buffers.
    const isCompared = format !== null && this.#counts !== null && COUNTED[role] !== undefined;
    const transposed = isCompared ? work.transposed : dst.at;
    this.#kernels.transpose(transposed, rows, src.at, src.stride, rows, cols);
    if (hadamard) {
      this.#kernels.hadamard(transposed, cols, rows, this.#streamOf(HADAMARD));
    }
    this.roundRows(dst.at, transposed, { start, end, cols: rows }, work, job);
  }

  /**
   * dst <- rows `start` to `end`, rounded, of an operand that is summed along its rows; row `start` is at
   * src. dst may be src if the operand is not counted.
   */
  roundRows(
    dst: number,
    src: number,
    { start, end, cols }: Range & { readonly cols: number },
    work: Workspace,
    job: RoundingJob,
  ): void {
    const { weight, role, format: operand } = job;
    const rows = end - start;
    if (operand === null || rows === 0) return;
    if (usesRoundKernel(operand)) {
      this.#roundNearest(
        { at: dst, stride: cols },
        { at: src, stride: cols },
        [rows, cols],
        operand,
        work,
        job,
      );
      return;
    }
    const kernels = this.#kernels;
    const { block, scale, stochastic } = operand;
    const direction = ROUNDING_ID[operand.rounding];
    const stream = weight.index * ROLES.length + ROLES.indexOf(role);
    const randomStream = stochastic ? this.#streamOf(stream) : 0;
    if (scale === "e4m3") kernels.roundNvfp4(dst, src, rows, cols, start, randomStream, work.round);
    else {
      const types = {
        format: FORMAT_ID[operand.format],
        scaleType: SCALE_TYPE_ID.ue8m0,
        codes: 0,
        scales: 0,
      };
      const fields = matrixRecord({ ...types, rows, cols, blockRows: block[0], blockCols: block[1] });
      const matrix = this.#program.call(MATRIX, fields);
      kernels.roundBlocksStochastic(matrix, dst, src, direction, start, randomStream, work.round);
    }
    // `round` adds to the sums itself; these two kernels do not.
    const sums = this.#sums(job, rows * cols);
    if (sums !== 0) kernels.compare(FORMAT_ID.e4m3, 0, sums, src, dst, 0, 0, rows * cols);
  }

  /** dst[rows, cols] <- src, rounded to the nearest codes in blocks with UE8M0 scales. */
  #roundNearest(
    dst: Operand,
    src: Operand,
    [rows, cols]: readonly [number, number],
    { format, block, rounding: direction }: OperandFormat,
    work: Workspace,
    job: RoundingJob,
  ): void {
    const sums = this.#sums(job, rows * cols);
    // biome-ignore format: a table of arguments
    const call = this.#program.call(ROUNDING_CALL, {
      format: FORMAT_ID[format], dst: dst.at, dstStride: dst.stride, src: src.at, srcStride: src.stride,
      rows, cols, blockRows: block[0], blockCols: block[1], rounding: ROUNDING_ID[direction],
      sums, work: work.round,
    });
    this.#kernels.round(call);
  }

  /** Writes the record of a stream of random words for the next rounding. @returns its address */
  #streamOf(stream: number): number {
    const { seed, step, microBatch } = this;
    RANDOM_STREAM.write(this.#program.buffer, this.#stream, { seed, stream, step, microBatch });
    return this.#stream;
  }

  /** Address of the sums to which a rounding of so many values is to be added, or 0. */
  #sums({ weight, role }: RoundingJob, values: number): number {
    const counted = COUNTED[role];
    return (counted && this.#counts?.add(weight, counted, values)) ?? 0;
  }
}
