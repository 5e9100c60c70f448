import type { ModelKernels } from "../model/kernels.ts";
import type { FormatId, RoundingId, ValueTypeId } from "../tensor/formats.ts";

/** What the wasm builds for models export for training. All values are float32, counts are elements. */
export interface TrainKernels extends ModelKernels {
  /**
   * Bytes of the kernels' own working memory. Instances that share a memory need a
   * place of their own for it: `moveScratch`.
   */
  scratchBytes(): number;
  moveScratch(place: number): void;

  /**
   * dst[m, n] += factor * x[m, k] w[n, k]^T, or dst <- x w^T with a factor of 0. A transposed operand lies
   * as [k, m] or [k, n]. Strides are from row to row, in values. Each value is summed in the same order whatever
   * m and n are.
   * @param work `plainWorkspace(m, k)` bytes
   */
  multiply(
    dst: number,
    dstStride: number,
    x: number,
    xStride: number,
    isXTransposed: number,
    w: number,
    wStride: number,
    isWTransposed: number,
    m: number,
    n: number,
    k: number,
    factor: number,
    work: number,
  ): void;

  /** dst[cols, rows] <- the transpose of src[rows, cols]. Strides are from row to row, in values. */
  transpose(dst: number, dstStride: number, src: number, stride: number, rows: number, cols: number): void;

  /** Bytes of working memory for `round` of any rows of so many columns or fewer. */
  roundWorkspace(cols: number, blockRows: number): number;

  /**
   * dst[rows, cols] <- src quantised with UE8M0 scales and dequantised again. Strides are from row to row, in
   * values. `sums`: address of nine float64, to three of which the kernel adds what `compare` would: the
   * largest magnitude, and how many values were flushed to 0 and cut to the largest code; or 0, and then dst
   * may be src.
   */
  round(
    format: FormatId,
    dst: number,
    dstStride: number,
    src: number,
    stride: number,
    rows: number,
    cols: number,
    blockRows: number,
    blockCols: number,
    rounding: RoundingId,
    sums: number,
    work: number,
  ): void;

  /**
   * Chooses the random words of the next stochastic roundings: element i of a tensor takes word i of this
   * stream. All four are numbers of 32 bits.
   */
  setDraws(seed: number, stream: number, step: number, part: number): void;

  /**
   * dst[n] <- src[n] rounded stochastically to codes times 2^exponent. src[0] is element `first` of its
   * tensor.
   */
  roundStochastic(
    format: FormatId,
    dst: number,
    src: number,
    n: number,
    exponent: number,
    first: number,
  ): void;

  /** As `round`, with stochastic rounding to codes. Row 0 of src is row `firstRow` of its tensor. */
  roundBlocksStochastic(
    matrix: number,
    dst: number,
    src: number,
    rounding: RoundingId,
    firstRow: number,
    work: number,
  ): void;

  /**
   * dst[rows, cols] <- src rounded to NVFP4 with a float32 for each row instead of
   * one for the tensor. work: as for `round`.
   */
  roundNvfp4(
    dst: number,
    src: number,
    rows: number,
    cols: number,
    isStochastic: number,
    firstRow: number,
    work: number,
  ): void;

  /**
   * Multiplies each 16 values of a row of x[rows, cols] by a 16x16 Hadamard matrix with random signs, which are
   * the bits of word 0 of the stream.
   */
  hadamard(x: number, rows: number, cols: number): void;

  /** dx[rows, cols] += the gradient of rmsNorm; dweight[cols] += that of its weight. */
  rmsNormBackward(
    dx: number,
    dweight: number,
    dy: number,
    x: number,
    weight: number,
    rows: number,
    cols: number,
    epsilon: number,
  ): void;

  /** act[n] <- silu(gate) * up; n a multiple of 4. */
  swiglu(act: number, gate: number, up: number, n: number): void;

  /** dgate[n] and dup[n], from dact, gate and up, whose places they may take; n a multiple of 4. */
  swigluBackward(dgate: number, dup: number, dact: number, gate: number, up: number, n: number): void;

  /** p[n, n] <- softmax of scale * p, of row i over its first i + 1 columns. */
  causalSoftmax(p: number, n: number, scale: number): void;

  /** ds[n, n] <- scale * p (dp - sum of p dp, by row); ds may be dp. */
  softmaxBackward(ds: number, dp: number, p: number, n: number, scale: number): void;

  /**
   * logits[rows, n] <- factor times the gradient of the summed cross-entropy,
   * which is returned; targets[rows] are int32.
   */
  crossEntropy(logits: number, targets: number, rows: number, n: number, factor: number): number;

  /** The sum of x[n] squared, in float64. */
  sumOfSquares(x: number, n: number): number;

  /** A step of AdamW, m and v float32 or bfloat16; see assembly/kernels/train/optimizer.ts. */
  adamw(
    type: ValueTypeId,
    weights: number,
    gradient: number,
    m: number,
    v: number,
    n: number,
    factor: number,
    rate: number,
    beta1: number,
    beta2: number,
    epsilon: number,
    correction: number,
    decay: number,
  ): void;
}
