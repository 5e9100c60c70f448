import { F32 } from "../../lanes/half";
import { Random } from "../../lanes/random";
import { Stochastic } from "../../lanes/stochastic";
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
