import { Fp8 } from "../../lanes/fp8";
import { F32, Half } from "../../lanes/half";
import { Scale } from "../../lanes/scale";
import { Simd } from "../../lanes/simd";
import { MatrixRecord } from "../matrix";
import { Scratch } from "../scratch";
import { Values } from "../values";

/**
 * Elements of a piece: what is read twice, for its scales and for its codes, so it should stay in a cache
 * between the two. One row: 4 KiB of float32 was best at every size from L2 to memory. Many rows: whole rows,
 * of up to 32,768 columns in blocks of 128 rows, since rows that follow one another are read 1.5 times as
 * fast as pieces of rows at a distance.
 */
const ROW_PIECE: usize = 1024;
const BLOCKS_PIECE: usize = 1 << 22;

/** The codes and scales of a matrix <- values[rows, cols], as `quantize` of src/wasm/kernels.ts says. */
export function quantize<F, T>(
  matrix: MatrixRecord,
  src: usize,
  rounding: i32,
  amaxFloor: i32,
  zeroScale: i32,
): void {
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
  const rowBytes = cols * Half.size<T>();
  const budget = blockRows == 1 ? ROW_PIECE : BLOCKS_PIECE;
  const pieceBlocks = min(max(budget / blockRows / blockCols, 1), Scratch.blocks);
  const pieceCols = pieceBlocks * blockCols;
  let scaleRow = matrix.scales;
  for (let row: usize = 0; row < rows; row += blockRows, scaleRow += matrix.scaleStride) {
    const height = min(blockRows, rows - row);
    let scales = scaleRow;
    for (let col: usize = 0; col < cols; col += pieceCols) {
      const width = min(pieceCols, cols - col);
      const blocks = (width + blockCols - 1) / blockCols;
      const values = src + row * rowBytes + col * Half.size<T>();
      const codes = matrix.codesOf(row) + col;
      for (let r: usize = 0; r < height; r++) maximaOfRow<T>(values + r * rowBytes, width, blockCols, r == 0);
      if (isUe8m0) ue8m0Scales<F, T>(scales, blocks, rounding, amaxFloor, zeroScale);
      else f32Scales<F, T>(scales, blocks, amaxFloor, zeroScale);
      for (let r: usize = 0; r < height; r++) {
        const at = codes + r * matrix.stride;
        if (isUe8m0) encodeRow<F, T>(at, values + r * rowBytes, width, blockCols, scales);
        else divideRow<F, T>(at, values + r * rowBytes, width, blockCols, scales);
      }
      scales += blocks * matrix.scaleBytes;
    }
  }
}

/** Takes a row of values into the running maxima of the blocks it crosses. */
function maximaOfRow<T>(src: usize, n: usize, blockCols: usize, isFirst: bool): void {
  const whole: usize = blockCols & 15 ? 0 : n / blockCols;
  let maxima = Scratch.maxima;
  if (whole) maximaOfBlocks<T>(maxima, src, whole, blockCols, isFirst);
  maxima += 16 * whole;
  for (let i = whole * blockCols; i < n; i += blockCols) {
    maximaOfBlock<T>(maxima, src + i * Half.size<T>(), min(blockCols, n - i), isFirst);
    maxima += 16;
  }
}

/** Takes in one row of `blocks` blocks of whole vectors of sixteen values, without a call. */
function maximaOfBlocks<T>(maxima: usize, src: usize, blocks: usize, blockCols: usize, isFirst: bool): void {
  const magnitudeMask = Scale.magnitudeMask<T>(Simd.opaqueZero());
  const blockBytes = blockCols * Half.size<T>();
  do {
    let amax = isFirst ? i32x4.splat(0) : v128.load(maxima);
    const end = src + blockBytes;
    do {
      amax = Scale.larger<T>(amax, v128.load(src), magnitudeMask);
      amax = Scale.larger<T>(amax, v128.load(src, 16), magnitudeMask);
      if (idof<T>() == idof<F32>()) {
        amax = Scale.larger<T>(amax, v128.load(src, 32), magnitudeMask);
        amax = Scale.larger<T>(amax, v128.load(src, 48), magnitudeMask);
      }
      src += 16 * Half.size<T>();
    } while (src < end);
    v128.store(maxima, amax);
    maxima += 16;
  } while (--blocks);
}

/** Folds one row of one block of any width. */
function maximaOfBlock<T>(maxima: usize, src: usize, n: usize, isFirst: bool): void {
  const magnitudeMask = Scale.magnitudeMask<T>(Simd.opaqueZero());
  let amax = isFirst ? i32x4.splat(0) : v128.load(maxima);
  const end = src + n * Half.size<T>();
  for (; src + 16 <= end; src += 16) amax = Scale.larger<T>(amax, v128.load(src), magnitudeMask);
  if (src < end) amax = Scale.larger<T>(amax, v128.load(Scratch.padInput(src, end - src)), magnitudeMask);
  v128.store(maxima, amax);
}

/** Turns the running maxima into scale bytes, four blocks at a time. */
function ue8m0Scales<F, T>(dst: usize, blocks: usize, rounding: i32, amaxFloor: i32, zeroScale: i32): void {
  const smallestAmaxes = i32x4.splat(Scale.smallestAmax<F>(rounding, amaxFloor));
  const offsets = i32x4.splat(Scale.offset<F>(rounding));
  const limits = i32x4.splat(Scale.limit<F>(rounding));
  const zeroScales = i32x4.splat(zeroScale);
  let i: usize = 0;
  do {
    const bytes = Scale.bytes(Scale.ue8m0(amaxes<T>(i), smallestAmaxes, offsets, limits, zeroScales));
    if (i + 4 <= blocks) store<u32>(dst + i, bytes);
    else for (let k: usize = i; k < blocks; k++) store<u8>(dst + k, bytes >> (8 * <u32>(k - i)));
    i += 4;
  } while (i < blocks);
}

/** Turns the running maxima into float32 multipliers, four blocks at a time. */
function f32Scales<F, T>(dst: usize, blocks: usize, amaxFloor: i32, zeroScale: i32): void {
  for (let i: usize = 0; i < blocks; i += 4) {
    const scales = Scale.f32<F>(amaxes<T>(i), amaxFloor, zeroScale);
    v128.store(Scratch.output, scales);
    memory.copy(dst + 4 * i, Scratch.output, 4 * min<usize>(4, blocks - i));
  }
}

/** float32 bits of the maxima of blocks i..i+3. */
function amaxes<T>(i: usize): v128 {
  const at = Scratch.maxima + 16 * i;
  return Scale.amaxOfEach<T>(v128.load(at), v128.load(at, 16), v128.load(at, 32), v128.load(at, 48));
}

/** codes[n] <- values[n] over 2^(byte - 127), one scale byte per blockCols values. */
function encodeRow<F, T>(codes: usize, src: usize, n: usize, blockCols: usize, scales: usize): void {
  let whole: usize = blockCols & 15 ? 0 : n / blockCols;
  let maxima = Scratch.maxima;
  const end = codes + n;
  do {
    if (whole) {
      const done = encodeBlocks<F, T>(codes, src, whole, blockCols, scales, maxima);
      codes += done * blockCols;
      src += done * blockCols * Half.size<T>();
      scales += done;
      maxima += 16 * done;
      whole -= done;
      if (codes == end) return;
    }
    // A block that is ragged, or whose scale is NaN or near an end of the range.
    const length = min(blockCols, end - codes);
    const byte = <i32>load<u8>(scales);
    if (byte == 0xff) memory.fill(codes, Fp8.nan(), length);
    else if (Fp8.scaleIsNear<F>(byte)) encodeBlock<F, T>(codes, src, length, 1, byte, false);
    else encodeBlock<F, T>(codes, src, length, Scale.nearFactor(byte), Scale.nearByte(byte), false);
    codes += length;
    src += length * Half.size<T>();
    scales++;
    maxima += 16;
    if (whole) whole--;
  } while (codes < end);
}

/**
 * Encodes blocks of whole vectors of sixteen values, up to one with a scale that `Fp8.round` cannot take;
 * returns how many. There is no call in here: none of the constants has to be saved across one.
 */
function encodeBlocks<F, T>(
  codes: usize,
  src: usize,
  blocks: usize,
  blockCols: usize,
  scales: usize,
  maxima: usize,
): usize {
  const zero = Simd.opaqueZero();
  const absMask = Fp8.absMask(zero);
  const exponentMask = Fp8.exponentMask(zero);
  const mergeWeights = Fp8.mergeWeights<F>(zero);
  const topCode = Fp8.topCode<F>(zero);
  const signMask = Fp8.signMask(zero);
  const first = scales;
  const last = scales + blocks;
  do {
    let byte = <i32>load<u8>(scales);
    if (!Fp8.scaleIsNear<F>(byte)) {
      // Zeros have the same codes at every scale; anything else is left to the caller.
      if (!Scale.isZero(v128.load(maxima))) break;
      byte = 127;
    }
    const bits = Fp8.threshold<F>(byte);
    const threshold = i32x4.splat(bits);
    const addend = i32x4.splat(Fp8.powerAddend<F>(bits));
    const end = codes + blockCols;
    do {
      const a = Values.load0<T>(src, zero);
      const b = Values.load1<T>(src, zero);
      const c = Values.load2<T>(src, zero);
      const d = Values.load3<T>(src, zero);
      v128.store(
        codes,
        Fp8.encode<F>(a, b, c, d, threshold, addend, absMask, exponentMask, mergeWeights, topCode, signMask),
      );
      codes += 16;
      src += 16 * Half.size<T>();
    } while (codes < end);
    maxima += 16;
  } while (++scales < last);
  return scales - first;
}

/** codes[n] <- values[n] over a float32 multiplier per blockCols values. */
function divideRow<F, T>(codes: usize, src: usize, n: usize, blockCols: usize, scales: usize): void {
  for (let i: usize = 0; i < n; i += blockCols) {
    const length = min(blockCols, n - i);
    const scale = load<f32>(scales);
    if (Scale.isNan(scale)) memory.fill(codes + i, Fp8.nan(), length);
    else encodeBlock<F, T>(codes + i, src + i * Half.size<T>(), length, scale, 127, true);
    scales += 4;
  }
}

/**
 * codes[n] <- (values[n] / factor, or * factor) over 2^(byte - 127): any n, a byte near enough for
 * `Fp8.round`.
 */
function encodeBlock<F, T>(codes: usize, src: usize, n: usize, factor: f32, byte: i32, divide: bool): void {
  const zero = Simd.opaqueZero();
  const absMask = Fp8.absMask(zero);
  const exponentMask = Fp8.exponentMask(zero);
  const mergeWeights = Fp8.mergeWeights<F>(zero);
  const topCode = Fp8.topCode<F>(zero);
  const signMask = Fp8.signMask(zero);
  const threshold = i32x4.splat(Fp8.threshold<F>(byte));
  const addend = i32x4.splat(Fp8.powerAddend<F>(Fp8.threshold<F>(byte)));
  const factors = f32x4.splat(factor);
  const full = codes + (n & ~15);
  if (codes < full)
    do {
      let a = Values.load0<T>(src, zero);
      let b = Values.load1<T>(src, zero);
      let c = Values.load2<T>(src, zero);
      let d = Values.load3<T>(src, zero);
      if (divide) {
        a = f32x4.div(a, factors);
        b = f32x4.div(b, factors);
        c = f32x4.div(c, factors);
        d = f32x4.div(d, factors);
      } else {
        a = f32x4.mul(a, factors);
        b = f32x4.mul(b, factors);
        c = f32x4.mul(c, factors);
        d = f32x4.mul(d, factors);
      }
      v128.store(
        codes,
        Fp8.encode<F>(a, b, c, d, threshold, addend, absMask, exponentMask, mergeWeights, topCode, signMask),
      );
      codes += 16;
      src += 16 * Half.size<T>();
    } while (codes < full);
  const rest = n & 15;
  if (rest) {
    encodeBlock<F, T>(Scratch.output, Scratch.padInput(src, rest * Half.size<T>()), 16, factor, byte, divide);
    Scratch.copyOutput(codes, rest);
  }
}
