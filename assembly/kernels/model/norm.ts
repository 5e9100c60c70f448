import { Simd } from "../../lanes/simd";

/**
 * dst[rows, cols] <- src[rows, cols] / sqrt(mean of its squares + epsilon) * weight[cols]. Rows are
 * `dstStride` and `srcStride` bytes apart; dst may be src.
 */
export function rmsNorm(
  dst: usize,
  dstStride: usize,
  src: usize,
  srcStride: usize,
  weight: usize,
  rows: usize,
  cols: usize,
  epsilon: f32,
): void {
  for (; rows; rows--) {
    const factor: f32 = 1 / sqrt(sumOfSquares(src, cols) / <f32>cols + epsilon);
    scaleRow(dst, src, weight, cols, factor);
    dst += dstStride;
    src += srcStride;
  }
}

/** dst[rows, cols] <- (src - mean) / sqrt(variance + epsilon) * weight + bias, by row; dst may be src. */
export function layerNorm(
  dst: usize,
  src: usize,
  weight: usize,
  bias: usize,
  rows: usize,
  cols: usize,
  epsilon: f32,
): void {
  for (; rows; rows--) {
    const mean: f32 = sum(src, cols) / <f32>cols;
    const end = src + 4 * cols;
    // The mean is taken away first: the difference of two large sums would lose what is asked for.
    let i = src;
    let o = dst;
    for (const full = src + 4 * (cols & ~3); i < full; i += 16, o += 16)
      v128.store(o, f32x4.sub(v128.load(i), f32x4.splat(mean)));
    for (; i < end; i += 4, o += 4) store<f32>(o, load<f32>(i) - mean);
    const factor: f32 = 1 / sqrt(sumOfSquares(dst, cols) / <f32>cols + epsilon);
    scaleRow(dst, dst, weight, cols, factor);
    addRow(dst, bias, cols);
    dst += 4 * cols;
    src += 4 * cols;
  }
}

/** dst[rows, cols] += row[cols], for each row. */
export function addToRows(dst: usize, stride: usize, row: usize, rows: usize, cols: usize): void {
  for (; rows; rows--, dst += stride) addRow(dst, row, cols);
}

function sumOfSquares(src: usize, cols: usize): f32 {
  let a = f32x4.splat(0);
  let b = f32x4.splat(0);
  const wide = src + 4 * (cols & ~7);
  const end = src + 4 * cols;
  for (; src < wide; src += 32) {
    const x = v128.load(src);
    const y = v128.load(src, 16);
    a = Simd.madd(x, x, a);
    b = Simd.madd(y, y, b);
  }
  let total = Simd.sum(f32x4.add(a, b));
  for (; src < end; src += 4) total += load<f32>(src) * load<f32>(src);
  return total;
}

function sum(src: usize, cols: usize): f32 {
  let a = f32x4.splat(0);
  const full = src + 4 * (cols & ~3);
  const end = src + 4 * cols;
  for (; src < full; src += 16) a = f32x4.add(a, v128.load(src));
  let total = Simd.sum(a);
  for (; src < end; src += 4) total += load<f32>(src);
  return total;
}

function scaleRow(dst: usize, src: usize, weight: usize, cols: usize, factor: f32): void {
  const factors = f32x4.splat(factor);
  const full = src + 4 * (cols & ~3);
  const end = src + 4 * cols;
  for (; src < full; src += 16, dst += 16, weight += 16)
    v128.store(dst, f32x4.mul(f32x4.mul(v128.load(src), factors), v128.load(weight)));
  for (; src < end; src += 4, dst += 4, weight += 4)
    store<f32>(dst, load<f32>(src) * factor * load<f32>(weight));
}

function addRow(dst: usize, src: usize, cols: usize): void {
  const full = src + 4 * (cols & ~3);
  const end = src + 4 * cols;
  for (; src < full; src += 16, dst += 16) v128.store(dst, f32x4.add(v128.load(dst), v128.load(src)));
  for (; src < end; src += 4, dst += 4) store<f32>(dst, load<f32>(dst) + load<f32>(src));
}
