import type { Program } from "../model/program.ts";
import { type Range, shareOf } from "../model/team.ts";
import { VALUE_TYPE_ID } from "../tensor/formats.ts";
import { ADAMW_CALL } from "./calls.ts";
import type { TrainKernels } from "./kernels.ts";
import type { Moments, Parameter, Parameters } from "./parameters.ts";

/** Most values of a piece of a parameter. */
const PIECE_VALUES = 2 ** 14;

interface ParameterPiece extends Range {
  readonly parameter: Parameter;
}

/** The numbers of one step of AdamW. */
export interface Update {
  /** The number of this step, from 1 on. */
  readonly step: number;
  /** What gradients are multiplied by, to clip their norm. */
  readonly factor: number;
  readonly rate: number;
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  readonly weightDecay: number;
}

/**
 * AdamW over pieces of the parameters, which members share. The pieces do not depend on the number of
 * members, so neither do the bits of the result.
 */
export class Optimizer {
  readonly #program: Program;
  readonly #pieces: readonly ParameterPiece[];
  /** The sum of the squares of each piece's gradient, float64. */
  readonly #squares: number;
  readonly #moments: Moments;

  constructor(program: Program, parameters: Parameters, moments: Moments) {
    this.#program = program;
    this.#moments = moments;
    this.#pieces = parameters.trained.flatMap((parameter) =>
      Array.from({ length: Math.ceil(parameter.count / PIECE_VALUES) }, (_, i) => ({
        parameter,
        start: i * PIECE_VALUES,
        end: Math.min(parameter.count, (i + 1) * PIECE_VALUES),
      })),
    );
    this.#squares = program.bytes("squares", 8 * this.#pieces.length);
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  get #own(): Range {
    return shareOf(this.#pieces.length, this.#program.team);
  }

  /** Sets this member's gradients to 0. */
  clear(): void {
    const { start, end } = this.#own;
    for (const { parameter, ...piece } of this.#pieces.slice(start, end))
      this.#program.view(parameter.gradient + 4 * piece.start, piece.end - piece.start).fill(0);
  }

  /** Sums up the squares of this member's gradients. */
  sumSquares(): void {
    const { start, end } = this.#own;
    const squares = new Float64Array(this.#program.buffer, this.#squares, this.#pieces.length);
    for (let i = start; i < end; i++) {
      const { parameter, ...piece } = this.#pieces[i]!;
      squares[i] = this.#kernels.sumOfSquares(parameter.gradient + 4 * piece.start, piece.end - piece.start);
    }
  }

  /**
   * The norm of all gradients together, and the tensor whose gradient holds NaN or Inf: the last one in the
   * order of the network, which the backward pass reached first. Call it after
   * all members have run `sumSquares`.
   */
  norm(): { readonly norm: number; readonly nonFinite: string | undefined } {
    const squares = new Float64Array(this.#program.buffer, this.#squares, this.#pieces.length);
    const norm = Math.sqrt(squares.reduce((a, b) => a + b, 0));
    return {
      norm,
      nonFinite: this.#pieces.filter((_, i) => !Number.isFinite(squares[i])).at(-1)?.parameter.name,
    };
  }

  /** Updates this member's weights. */
  step({ step, factor, rate, betas: [beta1, beta2], epsilon, weightDecay }: Update): void {
    const { start, end } = this.#own;
    for (const { parameter, ...piece } of this.#pieces.slice(start, end)) {
      const { value, gradient, m, v, isMatrix } = parameter;
      const at = 4 * piece.start;
      const atMoments = (this.#moments === "f32" ? 4 : 2) * piece.start;
      const call = this.#program.call(ADAMW_CALL, {
        type: VALUE_TYPE_ID[this.#moments],
        weights: value + at,
        gradient: gradient + at,
        m: m + atMoments,
        v: v + atMoments,
        count: piece.end - piece.start,
        factor,
        correctedRate: rate / (1 - beta1 ** step),
        beta1,
        beta2,
        epsilon,
        correction: 1 / (1 - beta2 ** step),
        decay: isMatrix ? rate * weightDecay : 0,
      });
      this.#kernels.adamw(call);
    }
  }
}
