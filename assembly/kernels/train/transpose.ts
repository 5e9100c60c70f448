import { Simd } from "../../lanes/simd";

/**
 * Rows and columns that are transposed together: sixteen rows fill a cache line of what is written, and the
 * columns, each on a page of its own when there are many rows, stay in a first-level TLB.
 */
const HEIGHT: usize = 16;
const WIDTH: usize = 32;

abstract class Tile {
  /** Transposes 4x4 values; rows of src are `from` values apart, those of dst `to`. */
  @inline static transpose4x4(dst: usize, src: usize, to: usize, from: usize): void {
    const a = v128.load(src);
    const b = v128.load(src + 4 * from);
    const c = v128.load(src + 8 * from);
    const d = v128.load(src + 12 * from);
    const low01 = Simd.zip32Low(a, b);
    const low23 = Simd.zip32Low(c, d);
    const high01 = Simd.zip32High(a, b);
    const high23 = Simd.zip32High(c, d);
    v128.store(dst, Simd.lowHalves(low01, low23));
    v128.store(dst + 4 * to, Simd.highHalves(low01, low23));
    v128.store(dst + 8 * to, Simd.lowHalves(high01, high23));
    v128.store(dst + 12 * to, Simd.highHalves(high01, high23));
  }
}

/**
 * dst[cols, rows] <- the transpose of src[rows, cols], in tiles of 4x4. Rows of dst are `dstStride` values
 * apart, and those of src `stride`.
 */
export function transpose(
  dst: usize,
  dstStride: usize,
  src: usize,
  stride: usize,
  rows: usize,
  cols: usize,
): void {
  const wide = cols & ~3;
  const tall = rows & ~3;
  for (let left: usize = 0; left < wide; left += WIDTH) {
    const right = min(left + WIDTH, wide);
    for (let top: usize = 0; top < tall; top += HEIGHT) {
      const bottom = min(top + HEIGHT, tall);
      for (let col = left; col < right; col += 4)
        for (let row = top; row < bottom; row += 4)
          Tile.transpose4x4(
            dst + 4 * (col * dstStride + row),
            src + 4 * (row * stride + col),
            dstStride,
            stride,
          );
    }
  }
  for (let row: usize = 0; row < rows; row++)
    for (let col = row < tall ? wide : 0; col < cols; col++)
      store<f32>(dst + 4 * (col * dstStride + row), load<f32>(src + 4 * (row * stride + col)));
}
