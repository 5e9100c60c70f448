import type { Program } from "../model/program.ts";
import { type Range, shareOf } from "../model/share.ts";
import { VALUE_TYPE_ID } from "../tensor/formats.ts";
import type { TrainKernels } from "./kernels.ts";
import type { Moments, Parameter, Parameters } from "./parameters.ts";

/** Values of a piece at most: those of a tensor that one member updates together. */
const PIECE = 2 ** 14;

interface Piece extends Range {
  readonly parameter: Parameter;
}

/** What a step of AdamW is, but for the parameters. */
export interface Update {
  /** Steps with this one. */
  readonly step: number;
  /** What gradients are multiplied by. */
  readonly factor: number;
  readonly rate: number;
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  readonly weightDecay: number;
}

/**
 * AdamW over pieces of the parameters, of which each member takes some; the pieces are
 * the same however many members there are.
 */
export class Optimizer {
  readonly #program: Program;
  readonly #pieces: readonly Piece[];
  /** The sum of the squares of each piece's gradient, float64. */
  readonly #squares: number;
  readonly #moments: Moments;

  constructor(program: Program, parameters: Parameters, moments: Moments) {
    this.#program = program;
    this.#moments = moments;
    this.#pieces = parameters.trained.flatMap((parameter) =>
      Array.from({ length: Math.ceil(parameter.count / PIECE) }, (_, i) => ({
        parameter,
        start: i * PIECE,
        end: Math.min(parameter.count, (i + 1) * PIECE),
      })),
    );
    this.#squares = program.bytes("squares", 8 * this.#pieces.length);
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  get #own(): Range {
    return shareOf(this.#pieces.length, this.#program.seat);
  }

  /** Sets this member's gradients to 0. */
  clear(): void {
    const { start, end } = this.#own;
    for (const { parameter, ...piece } of this.#pieces.slice(start, end))
      this.#program.view(parameter.gradient + 4 * piece.start, piece.end - piece.start).fill(0);
  }

  /** Sums up the squares of this member's gradients. */
  measure(): void {
    const { start, end } = this.#own;
    const squares = new Float64Array(this.#program.buffer, this.#squares, this.#pieces.length);
    for (let i = start; i < end; i++) {
      const { parameter, ...piece } = this.#pieces[i]!;
      squares[i] = this.#kernels.sumOfSquares(parameter.gradient + 4 * piece.start, piece.end - piece.start);
    }
  }

  /**
   * The norm of all gradients, and the last tensor whose gradient is
   * none, when all members have measured theirs.
   */
  norm(): { readonly norm: number; readonly bad: string | undefined } {
    const squares = new Float64Array(this.#program.buffer, this.#squares, this.#pieces.length);
    const norm = Math.sqrt(squares.reduce((a, b) => a + b, 0));
    return { norm, bad: this.#pieces.filter((_, i) => !Number.isFinite(squares[i])).at(-1)?.parameter.name };
  }

  /** Updates this member's weights. */
  step({ step, factor, rate, betas: [beta1, beta2], epsilon, weightDecay }: Update): void {
    const { start, end } = this.#own;
    for (const { parameter, ...piece } of this.#pieces.slice(start, end)) {
      const { value, gradient, m, v, isMatrix } = parameter;
      const at = 4 * piece.start;
      const atMeans = (this.#moments === "f32" ? 4 : 2) * piece.start;
      this.#kernels.adamw(
        VALUE_TYPE_ID[this.#moments],
        value + at,
        gradient + at,
        m + atMeans,
        v + atMeans,
        piece.end - piece.start,
        factor,
        rate / (1 - beta1 ** step),
        beta1,
        beta2,
        epsilon,
        1 / (1 - beta2 ** step),
        isMatrix ? rate * weightDecay : 0,
      );
    }
  }
}
