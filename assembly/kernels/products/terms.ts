import { Weights } from "./right-operand";

/** The sum of a row is made of runs: the products of a run are summed, multiplied by its scale, and added. */
export abstract class Terms {
  /** Columns of a run. */
  static cols: usize = 0;
  static isUe8m0: bool = false;
  static scaleBytes: usize = 0;
  /** Where there is a 1, if that is every scale; else 0. */
  static one: usize = 0;

  /** Blocks, and their scales. */
  static setScaled(): void {
    Terms.cols = Weights.blockCols;
    Terms.isUe8m0 = Weights.isUe8m0;
    Terms.scaleBytes = Weights.scaleBytes;
    Terms.one = 0;
  }

  /** As many products as float32 sums well, where the scales are in x; `one` has room for a float32. */
  static setFolded(one: usize): void {
    store<f32>(one, 1);
    Terms.cols = 2048;
    Terms.isUe8m0 = false;
    Terms.scaleBytes = 0;
    Terms.one = one;
  }

  /** Where the scales of row n are. */
  @inline static scalesOf(n: usize): usize {
    return Terms.one ? Terms.one : Weights.scalesOf(n);
  }
}
