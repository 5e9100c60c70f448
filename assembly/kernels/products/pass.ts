import { MatrixRecord } from "../matrix";

/** The most rows of x that one pass takes. */
export const FEW_PASS_ROWS: usize = 4;

/** As many products as float32 sums well. */
const LONG_RUN: usize = 2048;

/** Bytes of the fields, and of the arrays behind them. */
const FIELD_BYTES: usize = (offsetof<Pass>() + 15) & ~15;
const X_FACTOR_BYTES: usize = 4 * FEW_PASS_ROWS;
const SUM_FACTOR_BYTES: usize = 4 * FEW_PASS_ROWS;
const LISTED_BYTES: usize = 8 * FEW_PASS_ROWS;
const SUM_BYTES: usize = 16 * 2 * FEW_PASS_ROWS;

/**
 * One pass over the weights with up to four rows of x: a record in the working memory of a product. The sum
 * of a row of weights is made of runs: the products of a run are summed, multiplied by its scale, and added.
 */
@unmanaged
export class Pass {
  weights: MatrixRecord = changetype<MatrixRecord>(0);
  /** Columns of a run. */
  runCols: usize = 0;
  /** From the scale of one run to the next; 0 where all of them are `one`. */
  scaleBytes: usize = 0;
  isUe8m0: bool = false;
  /** Whether the scales are in x, which meets one row of blocks at a time. */
  isFolded: bool = false;
  one: f32 = 1;
  /**
   * A row of weights that is read in place of one with many subnormal codes, which `multiplyByTable` does.
   */
  spareRow: usize = 0;

  /** Begins a pass. */
  set(weights: MatrixRecord, isFolded: bool, spareRow: usize): void {
    this.weights = weights;
    this.isFolded = isFolded;
    this.one = 1;
    this.spareRow = spareRow;
    this.runCols = isFolded ? LONG_RUN : weights.runCols;
    this.isUe8m0 = !isFolded && weights.isUe8m0;
    this.scaleBytes = isFolded ? 0 : weights.scaleBytes;
  }

  /** Where the scales of the runs of row n are. */
  scalesOf(n: usize): usize {
    return this.isFolded ? changetype<usize>(this) + offsetof<Pass>("one") : this.weights.scalesOf(n);
  }

  /** What each row of x is multiplied by before it meets the codes: float32[4]. */
  @inline get xFactors(): usize {
    return changetype<usize>(this) + FIELD_BYTES;
  }

  /** What the sums of each row of x are multiplied by: float32[4]. */
  @inline get sumFactors(): usize {
    return this.xFactors + X_FACTOR_BYTES;
  }

  /** Each row of x times the subnormal codes in the list of a row of weights: float64[4]. */
  @inline get listed(): usize {
    return this.sumFactors + SUM_FACTOR_BYTES;
  }

  /** Sums of some rows of weights with each row of x, four lanes each. */
  @inline get sums(): usize {
    return this.listed + LISTED_BYTES;
  }

  /** Where the rest of the working memory begins: float32 scales, and x in the order of the codes. */
  @inline get rest(): usize {
    return this.sums + SUM_BYTES;
  }

  /** Bytes in front of the rest. */
  static get bytes(): usize {
    return FIELD_BYTES + X_FACTOR_BYTES + SUM_FACTOR_BYTES + LISTED_BYTES + SUM_BYTES;
  }
}
