import { arrayLike, type Fp8Tensor } from "./checks.ts";

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

/** A tensor with rows and columns exchanged, those of the block and the scales too: no value changes. */
export function transposeTensor(tensor: Fp8Tensor): Fp8Tensor {
  const { format, shape, block, codes, scales, scaleType, grid } = tensor;
  const { rows, cols, gridRows, gridCols } = grid;
  return {
    format,
    shape: [...shape.slice(0, -2), cols, rows],
    block: [block[1], block[0]],
    codes: transposed(codes, rows, cols),
    scales: transposed(scales, gridRows, gridCols),
    scaleType,
    grid: {
      ...grid,
      ...{ rows: cols, cols: rows, gridRows: gridCols, gridCols: gridRows },
      block: [grid.block[1], grid.block[0]],
    },
  };
}
