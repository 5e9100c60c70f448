import { Fp8 } from "../lanes/fp8";
import { BF16, F32, Half } from "../lanes/half";
import { Scale } from "../lanes/scale";
import { Simd } from "../lanes/simd";
import { Scratch } from "./scratch";
import { Values } from "./values";

/** Scale types; ids of src/wasm/exports.ts. */
export const UE8M0 = 0;

/** dst[rows, cols] <- codes[rows, cols] times one scale per block, as `dequantize` of src/wasm/exports.ts says. */
export function dequantize<F, T>(
  scaleType: i32,
  dst: usize,
  codes: usize,
  scales: usize,
  rows: usize,
  cols: usize,
  blockRows: usize,
  blockCols: usize,
): void {
  assert(blockRows > 0 && blockCols > 0, "a block has rows and columns");
  if (blockRows == 1 && cols % blockCols == 0) {
    // Blocks that end where rows end follow one another as in one long row.
    cols *= rows;
    rows = cols ? 1 : 0;
  }
  const scaleRowBytes = ((cols + blockCols - 1) / blockCols) * (scaleType == UE8M0 ? 1 : 4);
  let untilNext = blockRows;
  for (let row: usize = 0; row < rows; row++) {
    if (scaleType == UE8M0) dequantizeRow<F, T>(dst, codes, cols, blockCols, scales);
    else multiplyRow<F, T>(dst, codes, cols, blockCols, scales);
    dst += cols * Half.size<T>();
    codes += cols;
    if (--untilNext == 0) {
      untilNext = blockRows;
      scales += scaleRowBytes;
    }
  }
}

/** dst[n] <- codes[n] times 2^(byte - 127), one scale byte per blockCols codes. */
export function dequantizeRow<F, T>(
  dst: usize,
  codes: usize,
  n: usize,
  blockCols: usize,
  scales: usize,
): void {
  const zero = Simd.opaqueZero();
  const magnitudeMask = Fp8.magnitudeMask(zero);
  const one = Fp8.one(zero);
  const normalIndex = Fp8.normalIndex<F>(zero);
  const specialOffset = Fp8.specialOffset<F>(zero);
  const placeMask = Fp8.placeMask<F>(zero);
  const empty = i32x4.splat(zero);
  const end = codes + n;
  while (codes < end) {
    const length = min(blockCols, end - codes);
    const byte = <i32>load<u8>(scales++);
    if (!Fp8.scaleIsPlain<F>(byte)) {
      multiplyBlock<F, T>(dst, codes, length, Scale.power(byte));
      dst += length * Half.size<T>();
      codes += length;
      continue;
    }
    const addends = Fp8.addends<F>(Fp8.corrections<F>(), byte);
    const tableLow = Simd.lowBytes(addends, Fp8.specials<F>());
    const tableHigh = Simd.highBytes(addends, Fp8.specials<F>());
    const full = codes + (length & ~15);
    // Loops are tested at the end: V8 11 (Node 20) runs them up to twice as fast as loops tested at the start.
    if (codes < full)
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
          );
        }
        dst += 16 * Half.size<T>();
        codes += 16;
      } while (codes < full);
    const rest = length & 15;
    if (rest) {
      dequantizeRow<F, T>(Scratch.output, Scratch.take(codes, rest), 16, 16, scales - 1);
      Scratch.give(dst, rest * Half.size<T>());
      dst += rest * Half.size<T>();
      codes += rest;
    }
  }
}

/** dst[n] <- codes[n] times a float32 multiplier per blockCols codes. */
function multiplyRow<F, T>(dst: usize, codes: usize, n: usize, blockCols: usize, scales: usize): void {
  for (let i: usize = 0; i < n; i += blockCols) {
    multiplyBlock<F, T>(dst + i * Half.size<T>(), codes + i, min(blockCols, n - i), load<f32>(scales));
    scales += 4;
  }
}

/** dst[n] <- codes[n] times scale, for any scale at all: the product in float32, then rounded to T. */
function multiplyBlock<F, T>(dst: usize, codes: usize, n: usize, scale: f32): void {
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
      );
      dst += 16 * Half.size<T>();
      codes += 16;
    } while (codes < full);
  const rest = n & 15;
  if (rest) {
    multiplyBlock<F, T>(Scratch.output, Scratch.take(codes, rest), 16, scale);
    Scratch.give(dst, rest * Half.size<T>());
  }
}

/** dst[n] <- codes[n] as float32, unscaled. */
export function decode<F>(dst: usize, codes: usize, n: usize): void {
  store<u8>(Scratch.maxima, 127);
  if (n) dequantizeRow<F, F32>(dst, codes, n, n, Scratch.maxima);
}
