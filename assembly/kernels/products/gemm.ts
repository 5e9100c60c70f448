import { Shifted } from "../../lanes/shifted";
import { FEW, multiplyRows, wayOf, workspaceOfRows } from "./few-rows";
import { multiplyPanels, workspaceOfPanels } from "./panels";
import { Weights } from "./right-operand";

/** Bytes of working memory for x[rows, K], and for fewer rows. */
export function workspace(rows: usize, cols: usize): usize {
  return max(workspaceOfPanels(rows, cols), workspaceOfRows(min(rows, FEW), cols));
}

/** [rows, N] at dst <- x[rows, K] . weights[N, K]^T, by the way that suits the shapes; see `gemm` of src/wasm/exports.ts. */
export function multiply<F>(
  type: i32,
  work: usize,
  dst: usize,
  x: usize,
  rows: usize,
  lowestScale: i32,
  highestScale: i32,
): void {
  const n = rows * Weights.rows;
  if (Weights.cols == 0) memory.fill(dst, 0, n * (type == 0 ? 4 : 2));
  if (n == 0 || Weights.cols == 0) return;
  const isFew = rows <= FEW && Weights.isAligned;
  const way = isFew ? wayOf<F>(work, x, rows, lowestScale, highestScale) : 0;
  if (way) multiplyRows<F>(type, work, dst, x, rows, way, highestScale);
  else multiplyPanels<F>(type, work, dst, x, rows, highestScale <= Shifted.highestField<F>());
}
