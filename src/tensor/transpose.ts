import { arrayLike, type CheckedTensor, checkTensor } from "./checks.ts";
import type { BlockScaled } from "./tensor.ts";

type Numbers = Uint8Array | Uint16Array | Float32Array;

/** Rows and columns that are moved together, so that both sides stay in a first-level cache. */
const TILE = 32;

/** out[cols, rows] <- the transpose of values[rows, cols]. */
export function transposeInto<T extends Numbers>(out: T, values: T, rows: number, cols: number): T {
  for (let top = 0; top < rows; top += TILE) {
    const bottom = Math.min(rows, top + TILE);
    for (let left = 0; left < cols; left += TILE) {
      const right = Math.min(cols, left + TILE);
      for (let row = top; row < bottom; row++) {
        for (let col = left; col < right; col++) out[col * rows + row] = values[row * cols + col]!;
      }
    }
  }
  return out;
}

/** The transposes of the matrices [rows, cols] that follow one another in `values`. */
export function transposed<T extends Numbers>(values: T, rows: number, cols: number): T {
  const out = arrayLike(values, values.length);
  const size = rows * cols;
  for (let at = 0; at < values.length; at += size) {
    transposeInto(out.subarray(at, at + size) as T, values.subarray(at, at + size) as T, rows, cols);
  }
  return out;
}

/**
 * Checks the right operand of a product, and transposes it to [..., N, K] if it lies as [..., K, N].
 */
export function checkRightOperand(
  where: string,
  tensor: BlockScaled,
  isTransposed: boolean,
): [tensor: BlockScaled, checked: CheckedTensor] {
  const checked = checkTensor(where, tensor);
  if (!isTransposed) return [tensor, checked];
  const turned = transpose(tensor);
  return [turned, checkTensor(where, turned)];
}

/**
 * A tensor with rows and columns exchanged, those of the block and the scales too: no value changes.
 * @param tensor a checked record of at least two dimensions
 */
function transpose(tensor: BlockScaled): BlockScaled {
  const { format, shape, block, codes, scales } = tensor;
  const rows = shape.at(-2) ?? 1;
  const cols = shape.at(-1) ?? 1;
  const leading = shape.slice(0, -2);
  return {
    format,
    shape: [...leading, cols, rows],
    block: [block[1], block[0]],
    codes: transposed(codes, rows, cols),
    scales: transposed(scales, Math.ceil(rows / block[0]), Math.ceil(cols / block[1])),
  };
}
