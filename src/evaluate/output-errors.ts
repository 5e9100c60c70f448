import { matrixOf } from "../checkpoint/read/weights.ts";
import type { Engine } from "../engine/engine.ts";
import type { Program } from "../model/program.ts";
import { bitsOf, type WeightFormat } from "./formats.ts";
import { type PlainModel, roundedValues } from "./rounded.ts";

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

/**
 * Measures what rounding weights does to the outputs of their layers: y = x w^T and dy = x (rounded w - w)^T.
 */
export class OutputErrors {
  readonly sums: Map<string, OutputSums> = new Map();
  readonly #matrices = new Map<
    string,
    { cols: number; values: Float32Array; errors: Map<WeightFormat, Float32Array> }
  >();

  /** Holds all matrices and their errors in memory, float32. */
  static async of(
    model: PlainModel,
    formats: readonly WeightFormat[],
    engine: Engine,
  ): Promise<OutputErrors> {
    const made = new OutputErrors();
    for (const weight of model.linears) {
      const values = await model.values(weight);
      const { rows, cols } = matrixOf(weight.shape);
      const errors = new Map<WeightFormat, Float32Array>();
      for (const format of formats) {
        if (format === "bf16" || bitsOf(format, [rows, cols]) === null) continue;
        const rounded = roundedValues(values, weight.shape, format, engine);
        errors.set(
          format,
          rounded.map((x, i) => x - values[i]!),
        );
      }
      made.#matrices.set(weight.name, { cols, values, errors });
    }
    return made;
  }

  /** @param gradient address of the gradient of the loss by the output, [rows, n]; 0 if it is not known */
  add(program: Program, name: string, x: number, rows: number, gradient = 0): void {
    const matrix = this.#matrices.get(name);
    if (matrix === undefined) return;
    const k = matrix.cols;
    const n = matrix.values.length / k;
    const sums = this.sums.get(name) ?? { signal: 0, rows: 0, noise: new Map(), score: new Map() };
    this.sums.set(name, sums);
    const output = (w: Float32Array): number => {
      const place = program.floats("measured w", n * k);
      program.view(place, n * k).set(w);
      const out = program.floats("measured y", rows * n);
      const work = program.bytes("work", program.kernels.plainWorkspace(rows, k) >>> 0);
      program.kernels.gemmPlain(0, out, x, rows, place, n, k, work);
      return out;
    };
    sums.signal += squares(program.view(output(matrix.values), rows * n));
    sums.rows += rows;
    for (const [format, error] of matrix.errors) {
      const made = program.view(output(error), rows * n);
      sums.noise.set(format, (sums.noise.get(format) ?? 0) + squares(made));
      if (gradient === 0) continue;
      const gradients = program.view(gradient, rows * n);
      let score = sums.score.get(format) ?? 0;
      for (let i = 0; i < made.length; i++) score += (made[i]! * gradients[i]!) ** 2;
      sums.score.set(format, score);
    }
  }

  /** Sums over a matrix and its own errors, for one that is never multiplied as a whole. */
  ofWeight(name: string): OutputSums {
    const { values, errors } = this.#matrices.get(name)!;
    const noise = new Map([...errors].map(([format, error]) => [format, squares(error)]));
    return { signal: squares(values), rows: 0, noise, score: new Map() };
  }
}

export function squares(values: Float32Array): number {
  let sum = 0;
  for (const x of values) sum += x * x;
  return sum;
}
