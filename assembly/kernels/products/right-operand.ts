import { Scale } from "../../lanes/scale";
import { Simd } from "../../lanes/simd";
import { UE8M0 } from "../casts/dequantize";
import { Matrix } from "../matrix";

/** The right operand of the product that is being computed: N rows of K codes, and the rows of scales they belong to. */
export abstract class Weights {
  static codes: usize = 0;
  static rows: usize = 0;
  static cols: usize = 0;
  /** From one row of codes, or of values, to the next. */
  static rowBytes: usize = 0;
  static blockRows: usize = 0;
  /** Where one row ends in a block, further columns are padding: never more than a multiple of 16 above `cols`. */
  static blockCols: usize = 0;
  static scales: usize = 0;
  static isUe8m0: bool = false;
  /** Of one scale, and of a row of them. */
  static scaleBytes: usize = 0;
  static scaleRowBytes: usize = 0;
  /** Row of its block that row 0 is. */
  static firstRow: usize = 0;

  static set(matrix: Matrix): void {
    const cols = matrix.cols;
    const blockCols = matrix.blockCols;
    assert(matrix.blockRows > 0 && blockCols > 0, "a block has rows and columns");
    Weights.codes = matrix.codes;
    Weights.rows = matrix.rows;
    Weights.cols = cols;
    Weights.rowBytes = cols;
    Weights.scales = matrix.scales;
    Weights.firstRow = matrix.firstRow;
    Weights.blockRows = matrix.blockRows;
    const isWide = blockCols >= cols;
    Weights.blockCols = isWide ? max(Weights.paddedCols, 16) : blockCols;
    Weights.isUe8m0 = matrix.scaleType == UE8M0;
    Weights.scaleBytes = Weights.isUe8m0 ? 1 : 4;
    Weights.scaleRowBytes = (isWide ? 1 : (cols + blockCols - 1) / blockCols) * Weights.scaleBytes;
  }

  /** Values without scales, of so many bytes. */
  static setPlain(values: usize, rows: usize, cols: usize, valueBytes: usize): void {
    Weights.codes = values;
    Weights.rows = rows;
    Weights.cols = cols;
    Weights.rowBytes = cols * valueBytes;
  }

  /** K rounded up to whole vectors of 16 codes. The extra codes are those of the next row; x is zero there. */
  static get paddedCols(): usize {
    return (Weights.cols + 15) & ~15;
  }

  /** Whether a vector of sixteen codes never has more than one scale. */
  static get isAligned(): bool {
    return (Weights.blockCols & 15) == 0;
  }

  /** The codes of a row; past the end, of the last one. */
  @inline static row(n: usize): usize {
    return Weights.codes + min(n, Weights.rows - 1) * Weights.rowBytes;
  }

  /** The scales of a row, likewise. */
  @inline static scalesOf(n: usize): usize {
    return (
      Weights.scales +
      ((Weights.firstRow + min(n, Weights.rows - 1)) / Weights.blockRows) * Weights.scaleRowBytes
    );
  }

  /** One past the last row of the block that row n is in. */
  @inline static blockEnd(n: usize): usize {
    return min(n + Weights.blockRows - ((Weights.firstRow + n) % Weights.blockRows), Weights.rows);
  }

  @inline static scale(at: usize): f32 {
    return Weights.isUe8m0 ? Scale.power(load<u8>(at)) : load<f32>(at);
  }

  /** The scale of column k, of a row of them. */
  @inline static scaleAt(scales: usize, k: usize): f32 {
    return Weights.scale(scales + (k / Weights.blockCols) * Weights.scaleBytes);
  }

  /** dst[n] <- scales as float32; NaN is of no concern. */
  static copyScales(dst: usize, src: usize, n: usize): void {
    if (!Weights.isUe8m0) {
      memory.copy(dst, src, 4 * n);
      return;
    }
    const full = src + (n & ~3);
    const end = src + n;
    for (; src < full; src += 4, dst += 16) v128.store(dst, Scale.powers(Simd.widen4(v128.load32_zero(src))));
    for (; src < end; src++, dst += 4) store<f32>(dst, Scale.finitePower(load<u8>(src)));
  }

  /** `scale` in a hot loop, where `isUe8m0` is in a local and NaN is of no concern. */
  @inline static finiteScale(isUe8m0: bool, at: usize): f32 {
    return isUe8m0 ? Scale.finitePower(load<u8>(at)) : load<f32>(at);
  }

  /** Four scales as lanes. */
  @inline static scalesAt(a: usize, b: usize, c: usize, d: usize): v128 {
    return Weights.isUe8m0
      ? Scale.powers(Simd.lanes(load<u8>(a), load<u8>(b), load<u8>(c), load<u8>(d)))
      : Simd.lanes(load<i32>(a), load<i32>(b), load<i32>(c), load<i32>(d));
  }
}
