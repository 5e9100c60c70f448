import type { BlockScaled } from "../../src/tensor/tensor.ts";
import { decodeCode } from "./cast.ts";
import { decodeScale } from "./scale.ts";

/** The elements of a block-scaled matrix [rows, cols], each exact in float64. */
export function elements(tensor: BlockScaled): Float64Array {
  const { format, block, codes, scales } = tensor;
  const cols = tensor.shape.at(-1) as number;
  const gridCols = Math.ceil(cols / block[1]);
  return Float64Array.from(codes, (code, i) => {
    const row = Math.floor(i / cols);
    const stored = scales[
      Math.floor(row / block[0]) * gridCols + Math.floor((i - row * cols) / block[1])
    ] as number;
    return decodeCode(format, code) * (scales instanceof Float32Array ? stored : decodeScale(stored));
  });
}

/** A product in float64, and what its error is measured against. */
export interface Product {
  /** sum of a * b */
  readonly sums: Float64Array;
  /** sum of |a| * |b| */
  readonly sizes: Float64Array;
  /** sum of |a| and of |b| per row, for what is lost below float32's smallest number. */
  readonly rowSizes: readonly [Float64Array, Float64Array];
}

/** a [m, k] . b [n, k]^T */
export function multiply(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  m: number,
  n: number,
  k: number,
): Product {
  const sums = new Float64Array(m * n);
  const sizes = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      let size = 0;
      for (let l = 0; l < k; l++) {
        const product = (a[i * k + l] as number) * (b[j * k + l] as number);
        sum += product;
        size += Math.abs(product);
      }
      sums[i * n + j] = sum;
      sizes[i * n + j] = size;
    }
  }
  return { sums, sizes, rowSizes: [rowSizes(a, m, k), rowSizes(b, n, k)] };
}

function rowSizes(values: ArrayLike<number>, rows: number, cols: number): Float64Array {
  return Float64Array.from({ length: rows }, (_, row) => {
    let size = 0;
    for (let i = row * cols; i < (row + 1) * cols; i++) size += Math.abs(values[i] as number);
    return size;
  });
}

/** DeepGEMM's calc_diff: 1 - 2 x.y / (x.x + y.y), about half the ratio of noise to signal. */
export function calcDiff(x: ArrayLike<number>, y: ArrayLike<number>): number {
  let xy = 0;
  let squares = 0;
  for (let i = 0; i < x.length; i++) {
    xy += (x[i] as number) * (y[i] as number);
    squares += (x[i] as number) ** 2 + (y[i] as number) ** 2;
  }
  return squares === 0 ? 0 : 1 - (2 * xy) / squares;
}
