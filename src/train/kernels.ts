import type { ModelKernels } from "../model/kernels.ts";
import type { FormatId, RoundingId } from "../tensor/formats.ts";
import type { MatrixRecord } from "../wasm/matrix.ts";
import type { AdamwCall, ProductCall, RandomStream, RoundingCall } from "./calls.ts";

/** What the wasm builds for models export for training. All values are float32, counts are elements. */
export interface TrainKernels extends ModelKernels {
  /**
   * Bytes of the kernels' own working memory. Instances that share a memory need a
   * address of their own for it: `moveScratch`.
   */
  scratchBytes(): number;
  moveScratch(address: number): void;

  /**
   * dst[m, n] += factor * x[m, k] w[n, k]^T, or dst <- x w^T with a factor of 0. Each value is summed in the
   * same order whatever m and n are. `call`: the address of a {@link ProductCall}.
   */
  multiply(call: number): void;

  /** dst[cols, rows] <- the transpose of src[rows, cols]. Strides are from row to row, in values. */
  transpose(dst: number, dstStride: number, src: number, stride: number, rows: number, cols: number): void;

  /**
   * Bytes of working memory for `round` and for stochastic roundings, of any rows of so many columns or
   * fewer.
   */
  roundWorkspace(cols: number, blockRows: number): number;

  /**
   * dst[rows, cols] <- src quantised with UE8M0 scales and dequantised again. `call`: the address of a
   * {@link RoundingCall}.
   */
  round(call: number): void;

  /**
   * dst[n] <- src[n] rounded stochastically to values of the format times 2^exponent. src[0] is element
   * `first` of its tensor, and takes that word of `stream`, the address of {@link RandomStream}.
   */
  roundStochastic(
    format: FormatId,
    dst: number,
    src: number,
    n: number,
    exponent: number,
    first: number,
    stream: number,
  ): void;

  /**
   * dst[rows, cols] <- src rounded stochastically, in blocks under UE8M0 scales. `matrix`, the address of a
   * {@link MatrixRecord}, says format, rows, columns and blocks; its addresses are not used. Row 0 of src is
   * row `firstRow` of its tensor.
   */
  roundBlocksStochastic(
    matrix: number,
    dst: number,
    src: number,
    rounding: RoundingId,
    firstRow: number,
    stream: number,
    work: number,
  ): void;

  /**
   * dst[rows, cols] <- src rounded to NVFP4 with a float32 for each row instead of one for the tensor:
   * stochastically, or to nearest where `stream` is 0.
   */
  roundNvfp4(
    dst: number,
    src: number,
    rows: number,
    cols: number,
    firstRow: number,
    stream: number,
    work: number,
  ): void;

  /**
   * Multiplies each 16 values of a row of x[rows, cols] by a 16x16 Hadamard matrix with random signs, which
   * are the bits of word 0 of `stream`.
   */
  hadamard(x: number, rows: number, cols: number, stream: number): void;

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

  /** dgate[n] and dup[n], from dact, gate and up, which they may overwrite; n a multiple of 4. */
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

  /** A step of AdamW. `call`: the address of an {@link AdamwCall}. */
  adamw(call: number): void;
}
