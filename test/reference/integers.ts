/** Products of integers as they are defined, for comparison. */

const f = Math.fround;

/** Nearest integer, ties to even. */
function nearest(x: number): number {
  const low = Math.floor(x);
  const part = x - low;
  if (part !== 0.5) return part < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

/** A row as integers with a scale for each block of columns. */
export interface RoundedRow {
  readonly integers: readonly number[];
  readonly scales: readonly number[];
}

/** Blocks of columns with a scale of amax / most, in float32. */
export function roundedRow(row: ArrayLike<number>, most: number, width: number): RoundedRow {
  const integers: number[] = [];
  const scales: number[] = [];
  for (let k = 0; k < row.length; k += width) {
    const block = Array.from(row).slice(k, k + width);
    const amax = block.reduce(
      (a, x) => (Number.isNaN(x) || Number.isNaN(a) ? Number.NaN : Math.max(a, Math.abs(x))),
      0,
    );
    const isUsual = amax >= f(1e-30) && amax < Infinity;
    scales.push(isUsual ? f(amax / most) : amax < f(1e-30) ? 0 : Number.NaN);
    const factor = isUsual ? f(most / amax) : 0;
    integers.push(...block.map((x) => nearest(f(x * factor)) || 0));
  }
  return { integers, scales };
}

/** Rows of x times rows of w: exact sums of blocks, unfused float32 after them. */
export function integerProduct(
  xs: readonly RoundedRow[],
  ws: readonly RoundedRow[],
  width: number,
): Float32Array {
  const out = xs.flatMap((x) =>
    ws.map((w) => {
      let total = 0;
      for (let b = 0; b < x.scales.length; b++) {
        let sum = 0;
        for (let c = b * width; c < Math.min(x.integers.length, (b + 1) * width); c++)
          sum += x.integers[c]! * w.integers[c]!;
        total = f(total + f(f(sum) * f(x.scales[b]! * w.scales[b]!)));
      }
      return total;
    }),
  );
  return Float32Array.from(out);
}
