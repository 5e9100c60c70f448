import type { FormatId, RoundingId, ValueTypeId } from "../tensor/formats.ts";
import type { MatrixRecord } from "./matrix.ts";

/**
 * The seam between TypeScript and the kernels: every export of the wasm builds, typed and documented.
 * A `matrix` is where a {@link MatrixRecord} was written: see matrix.ts.
 * Pointers are byte offsets into the imported memory, 16-byte aligned unless said otherwise; counts are
 * in elements. Kernels trust their arguments: the engine checks everything before it calls.
 * The same interface is implemented in plain TypeScript over an ArrayBuffer for hosts without WebAssembly.
 */
export interface Kernels {
  /** First byte that no static data occupies. Memory from here on belongs to the engine. */
  heapBase(): number;

  /**
   * codes[n] at dst <- float32[n] at src: round to nearest even, saturating; NaN is 0x7F with the sign kept.
   */
  encode(format: FormatId, dst: number, src: number, n: number): void;

  /** float32[n] at dst <- codes[n] at src; NaN and Inf stay what they are, signs too. */
  decode(format: FormatId, dst: number, src: number, n: number): void;

  /** float32[n] at dst <- bfloat16 or half values[n] at src, which it holds exactly. */
  widen(type: ValueTypeId, dst: number, src: number, n: number): void;

  /**
   * Quantises values[rows, cols] of a type at src, without gaps, to the codes and scales of a
   * {@link MatrixRecord} that lies row by row and begins with a block, ragged at the right and bottom edge.
   * `amaxFloor` is float32 bits; `zeroScale` a UE8M0 byte. E2M1 and E2M3 take float32 values alone, and
   * write a byte a code, its sign at bit 7.
   */
  quantize(
    matrix: number,
    type: ValueTypeId,
    src: number,
    rounding: RoundingId,
    amaxFloor: number,
    zeroScale: number,
  ): void;

  /**
   * values[rows, cols] of a type at dst, without gaps, <- a {@link MatrixRecord} of E4M3 or E5M2 that lies
   * row by row: code * scale in float32, then one rounding to the type.
   */
  dequantize(matrix: number, type: ValueTypeId, dst: number): void;

  /**
   * Compares values[n] of a value type with the float32[n] at `result` that a cast made of them, and adds to
   * nine float64 at `sums`: sums of x^2, (x - y)^2, y^2 and x * y; maxima of |x|, |x - y| and |x - y| / |x|;
   * how many x != 0 became 0; and how many were cut to the largest code, if `codes`, those of y, is not 0.
   * Each sixteen are summed by themselves first, even and odd elements apart, and the rest after the last
   * sixteen too. If `groupSums` is not 0, the sums of x^2 and (x - y)^2 of each sixteen, the last maybe
   * fewer, are written there.
   */
  compare(
    format: FormatId,
    type: ValueTypeId,
    sums: number,
    values: number,
    result: number,
    codes: number,
    groupSums: number,
    n: number,
  ): void;

  /**
   * Looks through the right operand of a product: the codes of a {@link MatrixRecord}, and its scales, whose
   * address is that of the row of scales of row 0. Writes:
   * - into the matrix: the lowest and the highest exponent field of the scales that count, and `list`, or 0
   * in its place if the list would be empty;
   * - to `flags`: a byte per row, 1 if it has to be computed by `dotFloat64`, since it has Inf or NaN or
   * leaves float32;
   * - to `list`: rows + 1 uint32, how many entries stand before each row, and how many there are in all.
   * `listSubnormals` writes the entries behind them.
   * @returns how many rows are for `dotFloat64`
   */
  analyse(matrix: number, flags: number, list: number): number;

  /**
   * Moves subnormal codes out of the weights into the list of the matrix, in the rows in which `analyse` has
   * found few of them: zeros take their place, and each becomes a uint32 behind what `analyse` has written.
   * For processors that multiply such numbers slowly. Does nothing where the matrix has no list.
   */
  listSubnormals(matrix: number): void;

  /** Bytes of working memory that `gemm` needs for this many rows or fewer, as an unsigned int32. */
  gemmWorkspace(rows: number, k: number): number;

  /**
   * [rows, N] at dst (float32 or bfloat16) <- float32 x[rows, K] times the transpose of a
   * {@link MatrixRecord} [N, K] of E4M3 or E5M2 codes that was analysed; rows for `dotFloat64` get arbitrary
   * numbers. One byte in front of the codes and up to 15 behind them are read. Products are summed in
   * float32 over the columns of a block, or over 512 or 2,048 columns, and then these sums; those of codes in
   * the list in float64.
   */
  gemm(matrix: number, type: ValueTypeId, dst: number, x: number, rows: number, work: number): void;

  /** The product of float64 x[K] and one row of an analysed matrix, summed in float64. */
  dotFloat64(matrix: number, x: number, row: number): number;

  /** 1 unless this host computes sums of integer products wrongly, as V8 11 does with relaxed SIMD. */
  hasTrueDots(): number;

  /**
   * Rows first .. first + rows of a {@link MatrixRecord} of integers from -127 to 127, in blocks of 1 x 16,
   * 32 or 128, <- float32 x[rows, K]. Codes are [rows, K in whole blocks]; float32 scales and int32
   * offsets are [rows, blocks]. An offset is -64 times the sum of a block's codes: it takes away the 64 that
   * is added to each weight. A block with NaN or Inf has NaN as
   * its scale.
   */
  quantizeInt8(matrix: number, first: number, x: number, rows: number): void;

  /** Bytes of n rows of k weights as integers of 7 bits: codes, and scales behind them. */
  int7Bytes(n: number, k: number): number;

  /**
   * Up to twelve rows of float32 weights as integers from -63 to 63 with a scale for 32 columns; see
   * assembly/kernels/integers/quantize.ts.
   */
  packInt7(codes: number, scales: number, x: number, rows: number, k: number): void;

  /** Bytes of working memory for `gemmIntegers`. */
  integerWorkspace(rows: number): number;

  /**
   * [rows, N] at dst (float32 or bfloat16) <- rows first .. first + rows of x, a {@link MatrixRecord} of
   * `quantizeInt8`, times the transpose of another matrix, which has one of:
   * - integers of `packInt7`, in blocks of 32;
   * - E2M1 codes[N / 12][K / 8][12 rows][4 bytes], each byte a code and, in its upper bits, that of four
   * columns later, with halved scales[N / 12][K / block][12] in float32 or bfloat16;
   * - E4M3 codes that were analysed, in blocks whose width is a multiple of those of x; subnormal codes in
   * the list count as 0.
   *
   * Error: see assembly/kernels/integers/product.ts.
   */
  gemmIntegers(
    matrix: number,
    type: ValueTypeId,
    dst: number,
    x: number,
    first: number,
    rows: number,
    work: number,
  ): void;
}
