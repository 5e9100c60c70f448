import { Integers } from "../../lanes/integers";
import { Magnitudes } from "../../lanes/magnitudes";
import { Simd } from "../../lanes/simd";
import { MatrixRecord } from "../matrix";
import { Scratch } from "../scratch";

/** Columns of weights that share a scale. */
export const INT7_BLOCK: usize = 32;

/** Rows of weights that lie together. */
export const GROUP: usize = 12;

/** Below this, all of a block counts as 0: its scale would have no inverse. */
const SMALLEST: f32 = 1e-30;

export function blocksOf(cols: usize): usize {
  return (cols + INT7_BLOCK - 1) / INT7_BLOCK;
}

/** Values of a row on their way to bytes, sixteen at a time. */
abstract class BlockOfValues {
  /** Largest magnitude of n values; NaN, if one is: as integers the bits of NaN are above those of Inf. */
  static amax(x: usize, n: usize): f32 {
    const absMask = Magnitudes.absMask(Simd.opaqueZero());
    let highest = i32x4.splat(0);
    const end = x + 4 * n;
    while (x < end) {
      const from = BlockOfValues.whole(x, end);
      highest = Magnitudes.highest(highest, v128.load(from), absMask);
      highest = Magnitudes.highest(highest, v128.load(from, 16), absMask);
      highest = Magnitudes.highest(highest, v128.load(from, 32), absMask);
      highest = Magnitudes.highest(highest, v128.load(from, 48), absMask);
      x += 64;
    }
    return Magnitudes.value(Magnitudes.largest(highest));
  }

  /** Where the next sixteen values are, followed by zeros if there are fewer before `end`. */
  @inline static whole(x: usize, end: usize): usize {
    return x + 64 <= end ? x : Scratch.padInput(x, end - x);
  }

  /**
   * `width` bytes at dst <- the nearest integers of n values times a factor, and zeros; returns -64 times
   * their sum. With a factor of 0 all are zeros, be the values NaN.
   */
  static round(dst: usize, x: usize, n: usize, width: usize, factor: f32): i32 {
    const stop = dst + width;
    if (factor == 0) {
      for (; dst < stop; dst += 16) v128.store(dst, i32x4.splat(0));
      return 0;
    }
    const factors = f32x4.splat(factor);
    const large = Integers.large(Simd.opaqueZero());
    let sum = i32x4.splat(0);
    const end = x + 4 * n;
    do {
      const from = BlockOfValues.whole(min(x, end), end);
      const a = Integers.rounded(v128.load(from), factors, large);
      const b = Integers.rounded(v128.load(from, 16), factors, large);
      const c = Integers.rounded(v128.load(from, 32), factors, large);
      const d = Integers.rounded(v128.load(from, 48), factors, large);
      v128.store(dst, Integers.bytes(a, b, c, d));
      sum = i32x4.add(sum, i32x4.add(i32x4.add(a, b), i32x4.add(c, d)));
      dst += 16;
      x += 64;
    } while (dst < stop);
    return Integers.offset(sum);
  }
}

/**
 * Rows first .. first + rows of dst <- x[rows, cols] as int8 from -127 to 127, in blocks of a multiple of 16
 * columns with a float32 scale each, amax / 127: codes [rows][block * blocks], the last block filled up with
 * zeros, and offsets[rows][blocks] (int32), -64 times the sums of a block's codes. A block with NaN or Inf
 * has NaN as its scale.
 */
export function quantizeInt8(dst: MatrixRecord, first: usize, x: usize, rows: usize): void {
  const cols = dst.cols;
  const block = dst.blockCols;
  const blocks = (cols + block - 1) / block;
  let codes = dst.codes + first * blocks * block;
  let scales = dst.scales + 4 * first * blocks;
  let offsets = dst.offsets + 4 * first * blocks;
  for (; rows; rows--) {
    for (let k: usize = 0; k < cols; k += block) {
      const from = x + 4 * k;
      const n = min(block, cols - k);
      const amax = BlockOfValues.amax(from, n);
      const isUsual = amax >= SMALLEST && amax < Infinity;
      store<f32>(scales, isUsual ? amax / 127 : amax < SMALLEST ? 0 : NaN);
      store<i32>(offsets, BlockOfValues.round(codes, from, n, block, isUsual ? 127 / amax : 0));
      codes += block;
      scales += 4;
      offsets += 4;
    }
    x += 4 * cols;
  }
}

/** Bytes of `packInt7` for n rows of k columns: codes, and scales behind them. */
export function packedBytes(n: usize, k: usize): usize {
  const groups = (n + GROUP - 1) / GROUP;
  return groups * GROUP * blocksOf(k) * (INT7_BLOCK + 4);
}

/**
 * Packs up to twelve rows of weights, float32 x[rows, cols], as integers from -63 to 63, + 64, in blocks of
 * 32 columns with a float32 scale each, amax / 63.
 *
 *     codes[K / 4][12 rows][4 columns]   a vector holds four columns of four rows
 *     scales[K / 32][12 rows]
 *
 * Rows and columns past the end are zeros.
 */
export function packInt7(codes: usize, scales: usize, x: usize, rows: usize, cols: usize): void {
  const blocks = blocksOf(cols);
  for (let row: usize = 0; row < GROUP; row++) {
    for (let block: usize = 0; block < blocks; block++) {
      const k = block * INT7_BLOCK;
      const n: usize = row < rows ? min(INT7_BLOCK, cols - k) : 0;
      const from = x + 4 * (row * cols + k);
      const amax = BlockOfValues.amax(from, n);
      const isUsual = amax >= SMALLEST && amax < Infinity;
      store<f32>(scales + 4 * (block * GROUP + row), isUsual ? amax / 63 : amax < SMALLEST ? 0 : NaN);
      const bytes = Scratch.output;
      BlockOfValues.round(bytes, from, n, INT7_BLOCK, isUsual ? 63 / amax : 0);
      v128.store(bytes, Integers.raised(v128.load(bytes)));
      v128.store(bytes, Integers.raised(v128.load(bytes, 16)), 16);
      let dst = codes + k * GROUP + 4 * row;
      for (let i: usize = 0; i < INT7_BLOCK; i += 4, dst += 4 * GROUP) store<i32>(dst, load<i32>(bytes + i));
    }
  }
}
