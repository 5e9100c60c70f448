import { E2M1, E4M3, Format } from "../../lanes/format";
import { F32 } from "../../lanes/half";
import { Random } from "../../lanes/random";
import { Stochastic } from "../../lanes/stochastic";
import { decode } from "../casts/dequantize";
import { encode } from "../casts/encode";
import { quantize } from "../casts/quantize";
import { MATRIX_BYTES, MatrixRecord, UE8M0_ONE } from "../matrix";

/**
 * Which random words roundings take: a record that the host has written, RandomStream of src/train/calls.ts.
 * Element i of a tensor takes word i of the stream of this seed, step and micro-batch.
 */
@unmanaged
export class RandomStream {
  seed: u32 = 0;
  stream: u32 = 0;
  step: u32 = 0;
  microBatch: u32 = 0;

  /** Words index & ~3 and the three behind it. */
  @inline words(index: usize): v128 {
    return Random.words(<u32>(index >> 2), this.stream, this.step, this.microBatch, this.seed, 0);
  }
}

/**
 * dst[n] <- src[n] rounded stochastically to values of format F times 2^exponent; src[0] is element `first`
 * of its tensor. NaN stays.
 */
export function roundStochastic<F>(
  dst: usize,
  src: usize,
  n: usize,
  exponent: i32,
  first: usize,
  stream: RandomStream,
): void {
  let words = stream.words(first);
  for (let i: usize = 0; i < n; i++) {
    const index = first + i;
    if ((index & 3) == 0) words = stream.words(index);
    const x = load<f32>(src + 4 * i);
    const rounded = Stochastic.round<F>(x, exponent, Random.word(words, <u32>index & 3));
    store<f32>(dst + 4 * i, rounded);
  }
}

/**
 * dst[rows, cols] <- src rounded stochastically, in blocks of format F under UE8M0 scales as `quantize`
 * makes them. Row 0 is row `firstRow` of the tensor; dst may be src.
 * @param matrix what rows, columns and blocks src has; its addresses are not used
 * @param work memory for a matrix, one byte for each value of `blockRows` rows, and one for each of their
 * blocks
 */
export function roundBlocksStochastic<F>(
  matrix: MatrixRecord,
  dst: usize,
  src: usize,
  rounding: i32,
  firstRow: usize,
  stream: RandomStream,
  work: usize,
): void {
  const rows = matrix.rows;
  const cols = matrix.cols;
  const blockRows = matrix.blockRows;
  const blockCols = matrix.blockCols;
  const blocks = (cols + blockCols - 1) / blockCols;
  const blockRow = matrix.copyTo(work);
  blockRow.codes = work + MATRIX_BYTES;
  blockRow.scales = blockRow.codes + blockRows * cols;
  for (let row: usize = 0; row < rows; row += blockRows) {
    const height = min(blockRows, rows - row);
    blockRow.rows = height;
    quantize<F, F32>(blockRow, src + 4 * row * cols, rounding, 0, UE8M0_ONE);
    for (let r: usize = 0; r < height; r++) {
      for (let block: usize = 0; block < blocks; block++) {
        const col = block * blockCols;
        const at = (row + r) * cols + col;
        const n = min(blockCols, cols - col);
        const byte = <u32>load<u8>(blockRow.scales + block);
        if (byte == 0xff) for (let i: usize = 0; i < n; i++) store<f32>(dst + 4 * (at + i), NaN);
        else {
          const exponent = Stochastic.exponent(byte);
          roundStochastic<F>(dst + 4 * at, src + 4 * at, n, exponent, firstRow * cols + at, stream);
        }
      }
    }
  }
}

/**
 * dst[rows, cols] <- src rounded to NVFP4: E2M1 in blocks of 16 along a row, an E4M3 scale for each, and over
 * them a float32 for each row, its largest magnitude over 448 * 6. NVFP4 has one of these for a tensor; with
 * one for a row, rows do not depend on one another. dst may be src.
 * @param stream for stochastic rounding; 0: codes are the nearest
 * @param work five bytes for each block, and 64
 */
export function roundNvfp4(
  dst: usize,
  src: usize,
  rows: usize,
  cols: usize,
  firstRow: usize,
  stream: RandomStream | null,
  work: usize,
): void {
  const blocks = (cols + 15) / 16;
  const scales = work;
  const codes = scales + 4 * blocks + 64;
  for (let row: usize = 0; row < rows; row++) {
    const from = src + 4 * row * cols;
    const to = dst + 4 * row * cols;
    const rowScale: f32 = largest(from, cols) / (448 * 6);
    for (let block: usize = 0; block < blocks; block++) {
      const amax = largest(from + 64 * block, min<usize>(16, cols - 16 * block));
      store<f32>(scales + 4 * block, rowScale == 0 ? 0 : amax / 6 / rowScale);
    }
    encode<E4M3>(codes, scales, blocks);
    decode<E4M3>(scales, codes, blocks);
    for (let block: usize = 0; block < blocks; block++) {
      const n = min<usize>(16, cols - 16 * block);
      const at: usize = 64 * block;
      const scale: f32 = load<f32>(scales + 4 * block) * rowScale;
      for (let i: usize = 0; i < n; i++)
        store<f32>(to + at + 4 * i, scale == 0 ? 0 : load<f32>(from + at + 4 * i) / scale);
      const first = (firstRow + row) * cols + 16 * block;
      if (stream) roundStochastic<E2M1>(to + at, to + at, n, 0, first, stream);
      else roundToFp4(to + at, n);
      for (let i: usize = 0; i < n; i++) store<f32>(to + at + 4 * i, load<f32>(to + at + 4 * i) * scale);
    }
  }
}

/** The nearest E2M1, of two the even one: the spacing of magnitudes is 0.5 below 2, 1 below 4, 2 above. */
function roundToFp4(at: usize, n: usize): void {
  for (let i: usize = 0; i < n; i++, at += 4) {
    const x = load<f32>(at);
    const size = abs<f32>(x);
    const spacing: f32 = size < 2 ? 0.5 : size < 4 ? 1 : 2;
    store<f32>(at, copysign<f32>(min(nearest<f32>(size / spacing) * spacing, Format.max<E2M1>()), x));
  }
}

function largest(src: usize, n: usize): f32 {
  let most: f32 = 0;
  for (let i: usize = 0; i < n; i++) most = max(most, abs<f32>(load<f32>(src + 4 * i)));
  return most;
}

/**
 * x[rows, cols] in place, each sixteen values of a row times a Hadamard matrix of 16 over 4, whose rows have
 * random signs. It is orthogonal, so products of two operands that were both multiplied by it stay what they
 * are, and large values are spread out before they are rounded. What is left at the end of a row stays.
 */
export function hadamard(x: usize, rows: usize, cols: usize, stream: RandomStream): void {
  const signs = Random.word(stream.words(0), 0);
  const whole = cols & ~15;
  for (let row: usize = 0; row < rows; row++, x += 4 * cols) {
    for (let block: usize = 0; block < whole; block += 16) {
      const at = x + 4 * block;
      for (let i: usize = 0; i < 16; i++)
        store<f32>(at + 4 * i, ((signs >> <u32>i) & 1 ? -0.25 : 0.25) * load<f32>(at + 4 * i));
      for (let half: usize = 1; half < 16; half *= 2) {
        for (let i: usize = 0; i < 16; i++) {
          if (i & half) continue;
          const a = load<f32>(at + 4 * i);
          const b = load<f32>(at + 4 * (i + half));
          store<f32>(at + 4 * i, a + b);
          store<f32>(at + 4 * (i + half), a - b);
        }
      }
    }
  }
}
