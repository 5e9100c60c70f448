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
  [rows, cols]: readonly [number, number],
  [blockRows, blockCols]: readonly [number, number],
): WorstBlock | null {
  // Several slices are whole.
  const height = Math.min(rows, x.length / cols);
  const down = Math.ceil(height / blockRows);
  const across = Math.ceil(cols / blockCols);
  const count = (x.length / cols / height) * down * across;
  const signal = new Float64Array(count);
  const noise = new Float64Array(count);
  for (let i = 0, row = 0; i < x.length; row++) {
    const first = (Math.floor(row / height) * down + Math.floor((row % height) / blockRows)) * across;
    for (let b = 0, left = cols; b < across; b++, left -= blockCols) {
      const end = i + Math.min(left, blockCols);
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
      signal[first + b]! += power;
      noise[first + b]! += errors;
    }
  }
  let worst: WorstBlock | null = null;
  for (let at = 0; at < count; at++) {
    if (noise[at] === 0) continue;
    // Whatever is not finite makes the noise so.
    const noiseToSignal = noise[at]! < Infinity ? noise[at]! / signal[at]! : Infinity;
    if (worst === null || noiseToSignal > worst.noiseToSignal) {
      const [slice, inSlice] = [Math.floor(at / across / down), Math.floor(at / across) % down];
      const [row, col] = [slice * height + inSlice * blockRows, (at % across) * blockCols];
      worst = { row, col, noiseToSignal };
    }
  }
  return worst;
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
