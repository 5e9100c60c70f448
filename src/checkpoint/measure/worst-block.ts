import { GROUP_SIZE } from "../../engine/compare.ts";

/** The block in which two tensors differ most, relative to what is in it. */
export interface WorstBlock {
  /** First row and column; rows count on over the slices of a stack. */
  readonly row: number;
  readonly col: number;
  /**
   * Sum of squared errors over sum of squared values; Infinity where zeros, NaN or Inf became something else.
   */
  readonly noiseToSignal: number;
}

/** How blocks lie in values: whole rows of one slice, or several whole slices. */
class Blocks {
  /** Sums over each block: of the squares of its values, and of its errors. */
  readonly signal: Float64Array;
  readonly noise: Float64Array;
  readonly #height: number;
  readonly #blockRows: number;
  readonly #blockCols: number;
  readonly #block: readonly [number, number];

  constructor(count: number, [rows, cols]: readonly [number, number], block: readonly [number, number]) {
    this.#block = block;
    // Several slices are whole.
    this.#height = Math.min(rows, count / cols);
    this.#blockRows = Math.ceil(this.#height / block[0]);
    this.#blockCols = Math.ceil(cols / block[1]);
    const blocks = (count / cols / this.#height) * this.#blockRows * this.#blockCols;
    this.signal = new Float64Array(blocks);
    this.noise = new Float64Array(blocks);
  }

  /** The first block of those that a row goes through. */
  firstOf(row: number): number {
    const slice = Math.floor(row / this.#height);
    return (slice * this.#blockRows + Math.floor((row % this.#height) / this.#block[0])) * this.#blockCols;
  }

  /** The block that lost most; `null` where nothing was lost. */
  worst(): WorstBlock | null {
    const { signal, noise } = this;
    let worst: WorstBlock | null = null;
    for (let at = 0; at < noise.length; at++) {
      if (noise[at] === 0) continue;
      // Whatever is not finite makes the noise so.
      const noiseToSignal = noise[at]! < Infinity ? noise[at]! / signal[at]! : Infinity;
      if (worst !== null && noiseToSignal <= worst.noiseToSignal) continue;
      const blockRow = Math.floor(at / this.#blockCols);
      const [slice, inSlice] = [Math.floor(blockRow / this.#blockRows), blockRow % this.#blockRows];
      const row = slice * this.#height + inSlice * this.#block[0];
      worst = { row, col: (at % this.#blockCols) * this.#block[1], noiseToSignal };
    }
    return worst;
  }
}

/** Whether sums of sixteen values in a row tell what is in each block: see {@link worstOfGroups}. */
export function areGroupsWhole(cols: number, blockCols: number): boolean {
  return cols % GROUP_SIZE === 0 && (blockCols % GROUP_SIZE === 0 || blockCols >= cols);
}

/** The length of `groupSums` for so many values. */
export function groupSumsLength(count: number): number {
  return (2 * count) / GROUP_SIZE;
}

/**
 * The block that lost most, from what {@link Engine.compare} gives as `groupSums`.
 * @param shape [rows, cols] of a slice
 * @param block [rows, cols]
 */
export function worstOfGroups(
  groupSums: Float64Array,
  shape: readonly [number, number],
  block: readonly [number, number],
): WorstBlock | null {
  const [, cols] = shape;
  const blocks = new Blocks((groupSums.length * GROUP_SIZE) / 2, shape, block);
  const { signal, noise } = blocks;
  const perRow = cols / GROUP_SIZE;
  const perBlock = block[1] / GROUP_SIZE;
  for (let i = 0, row = 0; i < groupSums.length; row++) {
    const first = blocks.firstOf(row);
    for (let at = first, part = 0; part < perRow; at++) {
      let power = 0;
      let errors = 0;
      const end = Math.min(perRow, part + perBlock);
      for (; part < end; part++, i += 2) {
        power += groupSums[i]!;
        errors += groupSums[i + 1]!;
      }
      signal[at]! += power;
      noise[at]! += errors;
    }
  }
  return blocks.worst();
}

/**
 * The block that lost most; `null` where nothing was lost.
 * @param x values, whole rows of one slice or several whole slices
 * @param y what became of them
 * @param shape [rows, cols] of a slice
 * @param block [rows, cols]
 */
export function worstBlockOf(
  x: Float32Array,
  y: Float32Array,
  shape: readonly [number, number],
  block: readonly [number, number],
): WorstBlock | null {
  const [, cols] = shape;
  const [, blockCols] = block;
  const blocks = new Blocks(x.length, shape, block);
  const { signal, noise } = blocks;
  for (let i = 0, row = 0; i < x.length; row++) {
    const first = blocks.firstOf(row);
    const last = i + cols;
    for (let at = first; i < last; at++) {
      const end = Math.min(last, i + blockCols);
      let [power, errors] = sumsOf(x, y, i, end);
      if (Number.isNaN(errors)) {
        // NaN and Inf that are the same on both sides are no noise.
        power = 0;
        errors = 0;
        for (let j = i; j < end; j++) {
          if (!Number.isFinite(x[j]) && Object.is(x[j], y[j])) continue;
          power += x[j]! ** 2;
          errors += (x[j]! - y[j]!) ** 2;
        }
      }
      i = end;
      signal[at]! += power;
      noise[at]! += errors;
    }
  }
  return blocks.worst();
}

/** Sums of squares of values and of errors. Four at a time: one sum would wait for each addition. */
function sumsOf(x: Float32Array, y: Float32Array, start: number, end: number): [number, number] {
  let power0 = 0;
  let power1 = 0;
  let power2 = 0;
  let power3 = 0;
  let errors0 = 0;
  let errors1 = 0;
  let errors2 = 0;
  let errors3 = 0;
  let j = start;
  for (; j + 4 <= end; j += 4) {
    const a = x[j]!;
    const b = x[j + 1]!;
    const c = x[j + 2]!;
    const d = x[j + 3]!;
    const e = a - y[j]!;
    const f = b - y[j + 1]!;
    const g = c - y[j + 2]!;
    const h = d - y[j + 3]!;
    power0 += a * a;
    power1 += b * b;
    power2 += c * c;
    power3 += d * d;
    errors0 += e * e;
    errors1 += f * f;
    errors2 += g * g;
    errors3 += h * h;
  }
  for (; j < end; j++) {
    power0 += x[j]! ** 2;
    errors0 += (x[j]! - y[j]!) ** 2;
  }
  return [power0 + power1 + (power2 + power3), errors0 + errors1 + (errors2 + errors3)];
}
