import { Shifted } from "../../lanes/shifted";
import { MatrixRecord } from "../matrix";
import { FEW_ROWS, multiplyRows, scalingOf, workspaceOfRows } from "./few-rows";
import { multiplyPanels, workspaceOfPanels } from "./panels";

/** Bytes of working memory for x[rows, K], and for fewer rows. */
export function workspace(rows: usize, cols: usize): usize {
  return max(workspaceOfPanels(rows, cols), workspaceOfRows(min(rows, FEW_ROWS), cols));
}

/**
 * [rows, N] at dst <- x[rows, K] . weights[N, K]^T, by the method that suits the shapes; see `gemm` of
 * src/wasm/kernels.ts.
 */
export function multiply<F>(
  weights: MatrixRecord,
  type: i32,
  work: usize,
  dst: usize,
  x: usize,
  rows: usize,
): void {
  assert(weights.blockRows > 0 && weights.blockCols > 0, "a block has rows and columns");
  const n = rows * weights.rows;
  if (weights.cols == 0) memory.fill(dst, 0, n * (type == 0 ? 4 : 2));
  if (n == 0 || weights.cols == 0) return;
  const isFew = rows <= FEW_ROWS && weights.isAligned;
  const scaling = isFew ? scalingOf<F>(weights, work, x, rows) : 0;
  if (scaling) multiplyRows<F>(weights, type, work, dst, x, rows, scaling);
  else
    multiplyPanels<F>(weights, type, work, dst, x, rows, weights.highestScale <= Shifted.highestField<F>());
}
