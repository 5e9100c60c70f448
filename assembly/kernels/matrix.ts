import { Scale } from "../lanes/scale";
import { Simd } from "../lanes/simd";

/** What the codes of a matrix are: see src/wasm/matrix.ts. */
export const E4M3_CODES: i32 = 0;
export const E2M1_CODES: i32 = 2;
export const INT7_CODES: i32 = 3;

/** What its scales are, if they are not float32; see `MatrixRecord` of src/wasm/matrix.ts. */
export const UE8M0: i32 = 0;
export const BF16_SCALES: i32 = 2;

/** The UE8M0 byte of 1. */
export const UE8M0_ONE: i32 = 127;

/**
 * A matrix, a record that the host has written: the fields of `MatrixRecord` of src/wasm/matrix.ts, which
 * says what they mean, in the order of FIELDS there. The methods are for codes that lie row by row; as the
 * right operand of a product it has N rows of K columns.
 */
@unmanaged
export class MatrixRecord {
  format: i32 = 0;
  scaleType: i32 = 0;
  codes: usize = 0;
  scales: usize = 0;
  offsets: usize = 0;
  firstRow: usize = 0;
  rows: usize = 0;
  cols: usize = 0;
  stride: usize = 0;
  scaleStride: usize = 0;
  blockRows: usize = 0;
  blockCols: usize = 0;
  list: usize = 0;
  lowestScale: i32 = 0;
  highestScale: i32 = 0;

  /**
   * K rounded up to whole vectors of 16 codes. The extra codes are those of the next row; x is zero there.
   */
  @inline get paddedCols(): usize {
    return (this.cols + 15) & ~15;
  }

  /** Columns that share a scale: those of a block, or the whole row with its padding. */
  @inline get runCols(): usize {
    return this.blockCols < this.cols ? this.blockCols : this.paddedCols;
  }

  /** Whether a vector of sixteen codes never has more than one scale. */
  @inline get isAligned(): bool {
    return (this.runCols & 15) == 0;
  }

  @inline get isUe8m0(): bool {
    return this.scaleType == UE8M0;
  }

  /** Bytes of one scale. */
  @inline get scaleBytes(): usize {
    return this.isUe8m0 ? 1 : 4;
  }

  /** Whether blocks follow one another as in one long row: they are one row high, and end where rows end. */
  @inline get isOneRow(): bool {
    if (this.blockRows != 1 || this.stride != this.cols || this.cols % this.blockCols) return false;
    return this.scaleStride == (this.cols / this.blockCols) * this.scaleBytes;
  }

  /** The row to read for row n: the last one if n is past the end. */
  @inline clampRow(n: usize): usize {
    return min(n, this.rows - 1);
  }

  /** Address of the codes of a row. */
  @inline codesOf(n: usize): usize {
    return this.codes + n * this.stride;
  }

  /** Address of the scales of a row. */
  @inline scalesOf(n: usize): usize {
    return this.scales + ((this.firstRow + n) / this.blockRows) * this.scaleStride;
  }

  /** One past the last row of the block that row n is in. */
  @inline blockEnd(n: usize): usize {
    return min(n + this.blockRows - ((this.firstRow + n) % this.blockRows), this.rows);
  }

  /** The scale at an address. */
  @inline scale(at: usize): f32 {
    return this.isUe8m0 ? Scale.power(load<u8>(at)) : load<f32>(at);
  }

  /** The scale of column k, of a row of them. */
  @inline scaleAt(scales: usize, k: usize): f32 {
    return this.scale(scales + (k / this.blockCols) * this.scaleBytes);
  }

  /** The scales at four addresses as lanes. NaN becomes another number. */
  @inline scalesAt(a: usize, b: usize, c: usize, d: usize): v128 {
    return this.isUe8m0
      ? Scale.powers(Simd.lanes(load<u8>(a), load<u8>(b), load<u8>(c), load<u8>(d)))
      : Simd.lanes(load<i32>(a), load<i32>(b), load<i32>(c), load<i32>(d));
  }

  /** What `scale` gives, in a hot loop, where `isUe8m0` is in a local. NaN becomes another number. */
  @inline static finiteScale(isUe8m0: bool, at: usize): f32 {
    return isUe8m0 ? Scale.finitePower(load<u8>(at)) : load<f32>(at);
  }

  /** A copy of the record at another address. */
  copyTo(at: usize): MatrixRecord {
    memory.copy(at, changetype<usize>(this), offsetof<MatrixRecord>());
    return changetype<MatrixRecord>(at);
  }

  /** dst[n] <- the scales at `src` as float32. NaN becomes another number. */
  copyScales(dst: usize, src: usize, n: usize): void {
    if (!this.isUe8m0) {
      memory.copy(dst, src, 4 * n);
      return;
    }
    const full = src + (n & ~3);
    const end = src + n;
    for (; src < full; src += 4, dst += 16) v128.store(dst, Scale.powers(Simd.widen4(v128.load32_zero(src))));
    for (; src < end; src++, dst += 4) store<f32>(dst, Scale.finitePower(load<u8>(src)));
  }
}

/** Bytes of a matrix, and of what follows it on a boundary of 16. */
export const MATRIX_BYTES: usize = (offsetof<MatrixRecord>() + 15) & ~15;
