import { matrixOf } from "../checkpoint/read/weights.ts";
import type { Engine } from "../engine/engine.ts";
import type { ModelActivations } from "../model/precisions.ts";
import type { Program } from "../model/program.ts";
import { RoundedInput } from "../model/rounded.ts";
import { meetsFp8, type WeightFormat } from "./formats.ts";
import type { PlainModel } from "./rounded.ts";

/** Sums over all rows of x that were multiplied by a weight. */
export interface OutputSums {
  /** Squares of the layer's output. */
  signal: number;
  /** Rows of x. */
  rows: number;
  /** Squares of the error that each format causes in the output. */
  readonly noise: Map<WeightFormat, number>;
  /** As `noise`, but each square is multiplied by the squared gradient of the loss by the output. */
  readonly score: Map<WeightFormat, number>;
}

interface Matrix {
  readonly cols: number;
  readonly values: Float32Array;
  /** The values rounded to each format. */
  readonly rounded: Map<WeightFormat, Float32Array>;
}

/**
 * Measures what rounding weights does to the outputs of their layers, y = x w^T. With activations in FP8, x
 * is rounded too, where the format asks for it.
 */
export class OutputErrors {
  readonly sums: Map<string, OutputSums> = new Map();
  readonly #matrices: ReadonlyMap<string, Matrix>;
  readonly #activations: ModelActivations;

  private constructor(matrices: ReadonlyMap<string, Matrix>, activations: ModelActivations) {
    this.#matrices = matrices;
    this.#activations = activations;
  }

  /** Holds all matrices, and their values rounded to each format, in memory as float32. */
  static async of(
    model: PlainModel,
    formats: readonly WeightFormat[],
    activations: ModelActivations,
    engine: Engine,
  ): Promise<OutputErrors> {
    const matrices = new Map<string, Matrix>();
    for (const weight of model.linears) {
      const { cols } = matrixOf(weight.shape);
      matrices.set(weight.name, { cols, values: await model.values(weight), rounded: new Map() });
    }
    for (const format of formats) {
      if (format === "bf16") continue;
      for await (const [name, values] of model.rounded(format, engine))
        matrices.get(name)!.rounded.set(format, values);
    }
    return new OutputErrors(matrices, activations);
  }

  /**
   * Takes in rows that are multiplied by a weight.
   * @param x their address, [rows, k]
   * @param gradient address of the gradient of the loss by the output, [rows, n]; 0 if it is not known
   */
  add(program: Program, name: string, x: number, rows: number, gradient = 0): void {
    const matrix = this.#matrices.get(name);
    if (matrix === undefined) return;
    const k = matrix.cols;
    const n = matrix.values.length / k;
    const sums = this.sums.get(name) ?? { signal: 0, rows: 0, noise: new Map(), score: new Map() };
    this.sums.set(name, sums);
    const input = new RoundedInput(program, x, rows, k);
    const output = (w: Float32Array, from: number): Float32Array => {
      const place = program.floats("measured w", n * k);
      program.view(place, n * k).set(w);
      const out = program.floats("measured y", rows * n);
      const work = program.bytes("work", program.kernels.plainWorkspace(rows, k) >>> 0);
      program.kernels.gemmPlain(0, out, from, rows, place, n, k, work);
      return program.view(out, rows * n);
    };
    const y = output(matrix.values, x).slice();
    sums.signal += squares(y);
    sums.rows += rows;
    for (const [format, values] of matrix.rounded) {
      const roundsX = this.#activations === "fp8" && meetsFp8(format);
      const made = output(values, roundsX ? input.fp8 : x);
      const gradients = gradient === 0 ? null : program.view(gradient, rows * n);
      let [noise, score] = [sums.noise.get(format) ?? 0, sums.score.get(format) ?? 0];
      for (let i = 0; i < y.length; i++) {
        const error = made[i]! - y[i]!;
        noise += error * error;
        if (gradients !== null) score += (error * gradients[i]!) ** 2;
      }
      sums.noise.set(format, noise);
      if (gradients !== null) sums.score.set(format, score);
    }
  }

  /** Sums over a matrix and its own errors, for one that is never multiplied as a whole. */
  ofWeight(name: string): OutputSums {
    const { values, rounded } = this.#matrices.get(name)!;
    const errorOf = (made: Float32Array) => squares(made.map((x, i) => x - values[i]!));
    const noise = new Map(Array.from(rounded, ([format, made]) => [format, errorOf(made)]));
    return { signal: squares(values), rows: 0, noise, score: new Map() };
  }
}

export function squares(values: Float32Array): number {
  let sum = 0;
  for (const x of values) sum += x * x;
  return sum;
}
