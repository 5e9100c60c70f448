import { Fp8 } from "../../lanes/fp8";
import { BF16, F32, Half } from "../../lanes/half";
import { Scale } from "../../lanes/scale";
import { Simd } from "../../lanes/simd";
import { MatrixRecord } from "../matrix";
import { Scratch } from "../scratch";
import { Values } from "../values";

/** dst[rows, cols] <- the codes of a matrix times its scales, as `dequantize` of src/wasm/kernels.ts says. */
export function dequantize<F, T>(matrix: MatrixRecord, dst: usize): void {
  const blockRows = matrix.blockRows;
  const blockCols = matrix.blockCols;
  assert(blockRows > 0 && blockCols > 0, "a block has rows and columns");
  let rows = matrix.rows;
  let cols = matrix.cols;
  if (matrix.isOneRow) {
    cols *= rows;
    rows = cols ? 1 : 0;
  }
  const isUe8m0 = matrix.isUe8m0;
  let codes = matrix.codes;
  let scales = matrix.scalesOf(0);
  let untilNext = blockRows - (matrix.firstRow % blockRows);
  for (let row: usize = 0; row < rows; row++) {
    if (isUe8m0) dequantizeRow<F, T>(dst, codes, cols, blockCols, scales);
    else multiplyRow<F, T>(dst, codes, cols, blockCols, scales);
    dst += cols * Half.size<T>();
    codes += matrix.stride;
    if (--untilNext == 0) {
      untilNext = blockRows;
      scales += matrix.scaleStride;
    }
  }
}

/** dst[n] <- codes[n] times 2^(byte - 127), one scale byte per blockCols codes. */
function dequantizeRow<F, T>(dst: usize, codes: usize, n: usize, blockCols: usize, scales: usize): void {
  let whole: usize = blockCols & 15 ? 0 : n / blockCols;
  const end = codes + n;
  do {
    if (whole) {
      const done = dequantizeBlocks<F, T>(dst, codes, whole, blockCols, scales);
      codes += done * blockCols;
      dst += done * blockCols * Half.size<T>();
      scales += done;
      whole -= done;
      if (codes == end) return;
    }
    // A block that is ragged, or whose scale makes results that are not normal float32.
    const length = min(blockCols, end - codes);
    multiplyBlock<F, T>(dst, codes, length, Scale.power(load<u8>(scales)));
    codes += length;
    dst += length * Half.size<T>();
    scales++;
    if (whole) whole--;
  } while (codes < end);
}

/**
 * Decodes blocks of whole vectors of sixteen codes, up to one that `Fp8.scaleIsNormal` refuses; returns how
 * many. There is no call in here: none of the constants has to be saved across one.
 */
function dequantizeBlocks<F, T>(
  dst: usize,
  codes: usize,
  blocks: usize,
  blockCols: usize,
  scales: usize,
): usize {
  const zero = Simd.opaqueZero();
  const magnitudeMask = Fp8.magnitudeMask(zero);
  const one = Fp8.one(zero);
  const normalIndex = Fp8.normalIndex<F>(zero);
  const specialOffset = Fp8.specialOffset<F>(zero);
  const placeMask = Fp8.placeMask<F>(zero);
  const empty = i32x4.splat(zero);
  const first = scales;
  const last = scales + blocks;
  do {
    let byte = <i32>load<u8>(scales);
    if (!Fp8.scaleIsNormal<F>(byte)) {
      // Zeros are zeros at every scale but NaN; anything else is left to the caller.
      if (byte == 0xff || !areZero(codes, blockCols, magnitudeMask)) break;
      byte = 127;
    }
    const addends = Fp8.addends<F>(Fp8.corrections<F>(), byte);
    const tableLow = Simd.lowBytes(addends, Fp8.specials<F>());
    const tableHigh = Simd.highBytes(addends, Fp8.specials<F>());
    const end = codes + blockCols;
    // Loops are tested at the end: V8 11 (Node 20) runs them up to twice as fast as loops tested at the
    // start.
    do {
      const x = v128.load(codes);
      const index = Fp8.index(x, magnitudeMask, one, normalIndex, specialOffset);
      const low = Simd.lookup(tableLow, index);
      const high = Simd.lookup(tableHigh, index);
      const a = Fp8.place<F>(Simd.zipBytesLow(empty, x), Simd.zipBytesLow(low, high), placeMask);
      const b = Fp8.place<F>(Simd.zipBytesHigh(empty, x), Simd.zipBytesHigh(low, high), placeMask);
      if (idof<T>() == idof<BF16>()) {
        v128.store(dst, a);
        v128.store(dst, b, 16);
      } else {
        Values.store<T>(
          dst,
          Simd.zip16Low(empty, a),
          Simd.zip16High(empty, a),
          Simd.zip16Low(empty, b),
          Simd.zip16High(empty, b),
          zero,
        );
      }
      codes += 16;
      dst += 16 * Half.size<T>();
    } while (codes < end);
  } while (++scales < last);
  return scales - first;
}

/** Whether n codes, a multiple of sixteen, are all 0 or -0. */
function areZero(codes: usize, n: usize, magnitudeMask: v128): bool {
  for (let i: usize = 0; i < n; i += 16) {
    if (!Fp8.areZero(v128.load(codes + i), magnitudeMask)) return false;
  }
  return true;
}

/** dst[n] <- codes[n] times a float32 multiplier per blockCols codes. */
function multiplyRow<F, T>(dst: usize, codes: usize, n: usize, blockCols: usize, scales: usize): void {
  for (let i: usize = 0; i < n; i += blockCols) {
    multiplyBlock<F, T>(dst + i * Half.size<T>(), codes + i, min(blockCols, n - i), load<f32>(scales));
    scales += 4;
  }
}

/** dst[n] <- codes[n] times scale, for any scale at all: the product in float32, then rounded to T. */
export function multiplyBlock<F, T>(dst: usize, codes: usize, n: usize, scale: f32): void {
  const zero = Simd.opaqueZero();
  const magnitudeMask = Fp8.magnitudeMask(zero);
  const one = Fp8.one(zero);
  const normalIndex = Fp8.normalIndex<F>(zero);
  const specialOffset = Fp8.specialOffset<F>(zero);
  const placeMask = Fp8.placeMask<F>(zero);
  const empty = i32x4.splat(zero);
  const addends = Fp8.addends<F>(Fp8.corrections<F>(), 127);
  const tableLow = Simd.lowBytes(addends, Fp8.specials<F>());
  const tableHigh = Simd.highBytes(addends, Fp8.specials<F>());
  const factor = f32x4.splat(scale);
  const full = codes + (n & ~15);
  if (codes < full)
    do {
      const x = v128.load(codes);
      const index = Fp8.index(x, magnitudeMask, one, normalIndex, specialOffset);
      const low = Simd.lookup(tableLow, index);
      const high = Simd.lookup(tableHigh, index);
      const a = Fp8.place<F>(Simd.zipBytesLow(empty, x), Simd.zipBytesLow(low, high), placeMask);
      const b = Fp8.place<F>(Simd.zipBytesHigh(empty, x), Simd.zipBytesHigh(low, high), placeMask);
      Values.store<T>(
        dst,
        f32x4.mul(Simd.zip16Low(empty, a), factor),
        f32x4.mul(Simd.zip16High(empty, a), factor),
        f32x4.mul(Simd.zip16Low(empty, b), factor),
        f32x4.mul(Simd.zip16High(empty, b), factor),
        zero,
      );
      dst += 16 * Half.size<T>();
      codes += 16;
    } while (codes < full);
  const rest = n & 15;
  if (rest) {
    multiplyBlock<F, T>(Scratch.output, Scratch.padInput(codes, rest), 16, scale);
    Scratch.copyOutput(dst, rest * Half.size<T>());
  }
}

/** dst[n] <- codes[n] as float32, unscaled. */
export function decode<F>(dst: usize, codes: usize, n: usize): void {
  // A scale of 1, in the memory of maxima, which is free here.
  const one = Scratch.maxima;
  store<u8>(one, 127);
  const whole = n & ~15;
  if (whole) dequantizeBlocks<F, F32>(dst, codes, 1, whole, one);
  multiplyBlock<F, F32>(dst + 4 * whole, codes + whole, n - whole, 1);
}
