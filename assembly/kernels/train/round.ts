import { Compare } from "../../lanes/compare";
import { F32 } from "../../lanes/half";
import { Rounded } from "../../lanes/rounded";
import { Scale } from "../../lanes/scale";
import { Simd } from "../../lanes/simd";
import { MATRIX_BYTES, UE8M0_ONE } from "../matrix";
import { Scratch } from "../scratch";

/**
 * Columns that are rounded at a time, in blocks of one row and of more: they are read twice, and stay in a
 * cache in between.
 */
const ROW_COLUMNS: usize = 1024;
const TILE_COLUMNS: usize = 256;

/**
 * Bytes of working memory for the roundings of so many columns or fewer: `round` takes three numbers for each
 * column; stochastic ones a matrix record, and a byte for each value of a row of blocks and for each block.
 */
export function roundWorkspace(cols: usize, blockRows: usize): usize {
  return max<usize>(12 * (max<usize>(ROW_COLUMNS, cols) + 16), MATRIX_BYTES + 2 * blockRows * cols);
}

/** The arguments of `round`: a RoundingCall of src/train/calls.ts, which says what they mean. */
@unmanaged
export class RoundingCall {
  format: u32 = 0;
  dst: usize = 0;
  dstStride: usize = 0;
  src: usize = 0;
  srcStride: usize = 0;
  rows: usize = 0;
  cols: usize = 0;
  blockRows: usize = 0;
  blockCols: usize = 0;
  rounding: i32 = 0;
  sums: usize = 0;
  work: usize = 0;
}

/**
 * dst[rows, cols] <- what the codes of format F and the UE8M0 scales of src stand for, as `quantize` makes
 * them.
 */
export function round<F>(call: RoundingCall): void {
  const dstStride = call.dstStride;
  const stride = call.srcStride;
  const blockRows = call.blockRows;
  const blockCols = call.blockCols;
  const sums = call.sums;
  const work = call.work;
  let rows = call.rows;
  let cols = call.cols;
  if (blockRows == 1 && cols % blockCols == 0 && dstStride == cols && stride == cols) {
    // Blocks that end where rows end follow one another as in one long row.
    cols *= rows;
    rows = cols ? 1 : 0;
  }
  const pieceCols = max((blockRows == 1 ? ROW_COLUMNS : TILE_COLUMNS) / blockCols, 1) * blockCols;
  for (let row: usize = 0; row < rows; row += blockRows) {
    const height = min(blockRows, rows - row);
    for (let col: usize = 0; col < cols; col += pieceCols) {
      const width = min(pieceCols, cols - col);
      const to = call.dst + 4 * (row * dstStride + col);
      const from = call.src + 4 * (row * stride + col);
      const thresholds = work + 4 * ((width + 3) & ~3);
      // Blocks of one row find their maxima in the row itself.
      const isRow = height == 1 && blockCols > 1;
      if (!isRow) maximaOfColumns(work, from, stride, height, width);
      const isNear = setThresholds<F>(thresholds, isRow ? from : work, width, blockCols, call.rounding);
      for (let r: usize = 0; r < height; r++) {
        const out = to + 4 * r * dstStride;
        roundRow<F>(out, from + 4 * r * stride, width, thresholds, isNear);
        if (sums) countRow<F>(sums, from + 4 * r * stride, out, width, thresholds, isNear);
      }
    }
  }
}

/**
 * maxima[width] <- the largest magnitude of each column, as bits; 0 behind the last one, up to a whole
 * vector.
 */
function maximaOfColumns(maxima: usize, src: usize, stride: usize, rows: usize, width: usize): void {
  const magnitudeMask = Scale.magnitudeMask<F32>(Simd.opaqueZero());
  const full = width & ~3;
  if (full < width) v128.store(maxima + 4 * full, i32x4.splat(0));
  for (let row: usize = 0; row < rows; row++, src += 4 * stride) {
    for (let i: usize = 0; i < full; i += 4) {
      const before = row ? v128.load(maxima + 4 * i) : i32x4.splat(0);
      v128.store(maxima + 4 * i, Scale.larger<F32>(before, v128.load(src + 4 * i), magnitudeMask));
    }
    for (let i = full; i < width; i++) {
      const most = Scale.larger<F32>(
        v128.load32_zero(maxima + 4 * i),
        v128.load32_zero(src + 4 * i),
        magnitudeMask,
      );
      v128.store_lane<u32>(maxima + 4 * i, most, 0);
    }
  }
}

/**
 * thresholds[width] <- that of each column's block, four blocks at a time, from the largest magnitude of each
 * column or, in blocks of one row, from the values.
 * @returns whether all of them are near
 */
function setThresholds<F>(
  thresholds: usize,
  maxima: usize,
  width: usize,
  blockCols: usize,
  rounding: i32,
): bool {
  const smallestAmaxes = i32x4.splat(Scale.smallestAmax<F>(rounding, 0));
  const offsets = i32x4.splat(Scale.offset<F>(rounding));
  const limits = i32x4.splat(Scale.limit<F>(rounding));
  const zeroScales = i32x4.splat(UE8M0_ONE);
  let isNear = true;
  for (let col: usize = 0; col < width; col += 4 * blockCols) {
    const at = maxima + 4 * col;
    const remaining = width - col;
    const amaxes =
      blockCols == 1
        ? v128.load(at)
        : Simd.maxOfEach(
            maximaOfBlock(at, 0, blockCols, remaining),
            maximaOfBlock(at, 1, blockCols, remaining),
            maximaOfBlock(at, 2, blockCols, remaining),
            maximaOfBlock(at, 3, blockCols, remaining),
          );
    const bytes = Scale.ue8m0(amaxes, smallestAmaxes, offsets, limits, zeroScales);
    if (Rounded.someAreFar<F>(bytes)) isNear = false;
    const values = Rounded.thresholds<F>(bytes);
    const to = thresholds + 4 * col;
    if (blockCols == 1) {
      v128.store(to, values);
      continue;
    }
    v128.store(Scratch.output, values);
    for (let i: usize = 0; i < 4; i++)
      spreadTo(to, i, blockCols, remaining, load<i32>(Scratch.output + 4 * i));
  }
  return isNear;
}

/**
 * Four running maxima of block i of those in the `remaining` columns from `at` on; 0 where there is no such
 * block.
 */
function maximaOfBlock(at: usize, i: usize, blockCols: usize, remaining: usize): v128 {
  const start = min(i * blockCols, remaining);
  const end = min(start + blockCols, remaining);
  const magnitudeMask = Scale.magnitudeMask<F32>(Simd.opaqueZero());
  let most = i32x4.splat(0);
  let col = start;
  for (; col + 4 <= end; col += 4) most = Scale.larger<F32>(most, v128.load(at + 4 * col), magnitudeMask);
  for (; col < end; col++) most = Scale.larger<F32>(most, v128.load32_zero(at + 4 * col), magnitudeMask);
  return most;
}

/** A threshold for each column of block i. */
function spreadTo(at: usize, i: usize, blockCols: usize, remaining: usize, threshold: i32): void {
  const start = min(i * blockCols, remaining);
  const end = min(start + blockCols, remaining);
  let col = start;
  for (; col + 4 <= end; col += 4) v128.store(at + 4 * col, i32x4.splat(threshold));
  for (; col < end; col++) store<i32>(at + 4 * col, threshold);
}

/** dst[width] <- src[width], rounded by the thresholds of its columns. */
function roundRow<F>(dst: usize, src: usize, width: usize, thresholds: usize, isNear: bool): void {
  const zero = Simd.opaqueZero();
  const absMask = Rounded.absMask(zero);
  const exponentMask = Rounded.exponentMask(zero);
  const rise = Rounded.rise<F>(zero);
  const span = Rounded.span<F>(zero);
  const end = src + 4 * width;
  const full = isNear ? src + 4 * (width & ~3) : src;
  for (const wide = src + ((full - src) & ~31); src < wide; src += 32, dst += 32, thresholds += 32) {
    const a = Rounded.nearest(v128.load(src), v128.load(thresholds), absMask, exponentMask, rise, span);
    const b = Rounded.nearest(
      v128.load(src, 16),
      v128.load(thresholds, 16),
      absMask,
      exponentMask,
      rise,
      span,
    );
    v128.store(dst, a);
    v128.store(dst, b, 16);
  }
  for (; src < full; src += 16, dst += 16, thresholds += 16)
    v128.store(
      dst,
      Rounded.nearest(v128.load(src), v128.load(thresholds), absMask, exponentMask, rise, span),
    );
  for (; src < end; src += 4, dst += 4, thresholds += 4)
    store<f32>(dst, Rounded.value<F>(load<f32>(src), load<i32>(thresholds)));
}

/** Adds to the sums what the rounding of a row did. */
function countRow<F>(
  sums: usize,
  src: usize,
  dst: usize,
  width: usize,
  thresholds: usize,
  isNear: bool,
): void {
  const zero = Simd.opaqueZero();
  const absMask = Rounded.absMask(zero);
  const span = Rounded.span<F>(zero);
  let maxima = f32x4.splat(0);
  let zeros = i32x4.splat(0);
  let saturations = i32x4.splat(0);
  const full = isNear ? width & ~3 : 0;
  for (let i: usize = 0; i < full; i += 4) {
    const x = v128.load(src + 4 * i);
    maxima = Compare.largerMagnitude(maxima, x);
    zeros = Compare.countFlushed(zeros, x, v128.load(dst + 4 * i));
    saturations = Rounded.countCut(saturations, x, v128.load(thresholds + 4 * i), absMask, span);
  }
  let amax = max<f64>(load<f64>(sums, 32), <f64>Compare.largest(maxima));
  let flushed = Compare.total(zeros);
  let saturated = Compare.total(saturations);
  for (let i = full; i < width; i++) {
    const x = <f64>abs<f32>(load<f32>(src + 4 * i));
    const y = <f64>abs<f32>(load<f32>(dst + 4 * i));
    if (x > amax) amax = x;
    if (x != 0 && y == 0) flushed++;
    if (x > y && x > Rounded.largest<F>(load<i32>(thresholds + 4 * i))) saturated++;
  }
  store<f64>(sums, amax, 32);
  store<f64>(sums, load<f64>(sums, 56) + <f64>flushed, 56);
  store<f64>(sums, load<f64>(sums, 64) + <f64>saturated, 64);
}
