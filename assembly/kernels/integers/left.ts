import { MatrixRecord } from "../matrix";

/**
 * Rows of x that are rounded to int8, for one product: a record in the product's working memory, since tiles
 * need these places and strides, and registers are scarce.
 */
@unmanaged
export class Left {
  /** Where the first row's int8 codes, float32 scales and int32 offsets are: see `quantizeInt8`. */
  codes: usize = 0;
  scales: usize = 0;
  offsets: usize = 0;
  /** Bytes from one row of codes to the next, and from one row of scales or offsets to the next. */
  codeStride: usize = 0;
  scaleStride: usize = 0;
  /** Columns that share a scale. */
  block: usize = 0;
  /** Where the weights are that come after a panel, of which a byte is read here and there: see `setNext`. */
  next: usize = 0;
  nextStep: usize = 0;

  /** Takes rows `first` and on of a matrix that `quantizeInt8` has made. */
  set(x: MatrixRecord, first: usize): void {
    const blocks = (x.cols + x.blockCols - 1) / x.blockCols;
    this.block = x.blockCols;
    this.codeStride = x.blockCols * blocks;
    this.scaleStride = 4 * blocks;
    this.codes = x.codes + first * this.codeStride;
    this.scales = x.scales + first * this.scaleStride;
    this.offsets = x.offsets + first * this.scaleStride;
  }

  /**
   * Has the weights that are needed next fetched to a cache while a panel is multiplied: tiles read a byte
   * of them for each block, `steps` in all. For weights in a third-level cache, 16 rows of x are some 5 %
   * faster. Bytes that are read all at once would be waited for.
   */
  @inline setNext(next: usize, bytes: usize, steps: usize): void {
    this.next = next;
    this.nextStep = bytes / steps;
  }

  /** Where the scale of the block that begins at x is. */
  @inline scaleOf(x: usize): usize {
    return this.scales + ((x - this.codes) / this.block) * 4;
  }

  /** Where the offset of that block is. */
  @inline offsetOf(x: usize): usize {
    return this.offsets + ((x - this.codes) / this.block) * 4;
  }
}

/** Bytes of the record, and of what follows it on a boundary of 16. */
export const LEFT_BYTES: usize = (offsetof<Left>() + 15) & ~15;
