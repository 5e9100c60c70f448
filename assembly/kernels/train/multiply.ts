import { F32 } from "../../lanes/half";
import { Simd } from "../../lanes/simd";
import { MATRIX_BYTES, MatrixRecord } from "../matrix";
import { PANEL_ROWS } from "../products/panel";
import { addTo, PANELS, stage, TILES, Work } from "../products/panels";
import { widenPanel } from "../products/plain-panel";
import { DEPTH, multiplyPanel, STAGED_ROW, Tile } from "../products/tile";
import { transpose } from "./transpose";

/** The arguments of `multiply`: a ProductCall of src/train/calls.ts, which says what they mean. */
@unmanaged
export class ProductCall {
  dst: usize = 0;
  dstStride: usize = 0;
  x: usize = 0;
  xStride: usize = 0;
  isXTransposed: u32 = 0;
  w: usize = 0;
  wStride: usize = 0;
  isWTransposed: u32 = 0;
  m: usize = 0;
  n: usize = 0;
  k: usize = 0;
  factor: f32 = 0;
  work: usize = 0;
}

/**
 * dst[m, n] += factor * x . w^T in float32, or with a factor of 0 dst <- x . w^T. As both operands are copied
 * to where the micro-kernel reads them, it costs next to nothing to transpose them on the way.
 *
 * Each value is the sum of k products in their order, 512 at a time, however many rows and columns are asked
 * for.
 */
export function multiply(call: ProductCall): void {
  const n = call.n;
  const k = call.k;
  const weights = changetype<MatrixRecord>(call.work);
  weights.codes = call.w;
  weights.rows = n;
  weights.cols = k;
  weights.stride = 4 * call.wStride;
  const panel = call.work + MATRIX_BYTES;
  const dstStride = call.dstStride;
  const xStride = call.xStride;
  const isXTransposed = call.isXTransposed != 0;
  const isWTransposed = call.isWTransposed != 0;
  let dst = call.dst;
  let x = call.x;
  let m = call.m;
  let passes = (m + TILES * Tile.rows - 1) / (TILES * Tile.rows);
  while (m) {
    const height = (m + passes - 1) / passes--;
    if (isXTransposed) stageTransposed(Work.staged(panel), x, height, k, xStride);
    else stage(Work.staged(panel), x, height, k, xStride);
    for (let col: usize = 0; col < n; col += PANELS * PANEL_ROWS) {
      const width = min(PANELS * PANEL_ROWS, n - col);
      sumPanels(panel, weights, isWTransposed, col, width, height);
      for (let row: usize = 0; row < height; row++) {
        const sums = Work.sums(panel) + (row << 5);
        addRow(dst + 4 * (row * dstStride + col), sums, height << 5, width, call.factor);
      }
    }
    x += 4 * height * (isXTransposed ? 1 : xStride);
    dst += 4 * height * dstStride;
    m -= height;
  }
}

/** dst[K / 512][rows][512] <- the transpose of x[K, rows]. */
function stageTransposed(dst: usize, x: usize, rows: usize, cols: usize, stride: usize): void {
  for (let k: usize = 0; k < cols; k += DEPTH, dst += rows * STAGED_ROW)
    transpose(dst, STAGED_ROW / 4, x + 4 * k * stride, stride, min(DEPTH, cols - k), rows);
}

/** sums[panels][rows][8] <- staged x . `width` rows of the weights, from row n on. */
function sumPanels(
  panel: usize,
  weights: MatrixRecord,
  isTransposed: bool,
  n: usize,
  width: usize,
  rows: usize,
): void {
  const panelBytes = rows << 5;
  let staged = Work.staged(panel);
  if (weights.cols == 0) memory.fill(Work.sums(panel), 0, PANELS * panelBytes);
  for (let k: usize = 0; k < weights.cols; k += DEPTH, staged += rows * STAGED_ROW) {
    const columns = min(DEPTH, weights.cols - k);
    let sums = Work.sums(panel);
    for (let row: usize = 0; row < width; row += PANEL_ROWS, sums += panelBytes) {
      if (isTransposed) copyPanel(panel, weights, n + row, k, columns);
      else widenPanel<F32>(panel, weights, n + row, k, columns);
      if (k == 0) {
        multiplyPanel(sums, staged, rows, panel, columns);
      } else {
        multiplyPanel(Work.product(panel), staged, rows, panel, columns);
        addTo(sums, Work.product(panel), panelBytes);
      }
    }
  }
}

/** panel[columns][8] <- columns n .. n + 7 of transposed weights, rows from .. from + columns. */
function copyPanel(panel: usize, weights: MatrixRecord, n: usize, from: usize, columns: usize): void {
  let src = weights.codesOf(from) + 4 * n;
  const end = panel + 32 * columns;
  const width = min(PANEL_ROWS, weights.rows - n);
  if (width < PANEL_ROWS) {
    // What is behind the last column of a panel is some number: its sums are not read.
    for (; panel < end; panel += 32, src += weights.stride) memory.copy(panel, src, 4 * width);
    return;
  }
  for (; panel < end; panel += 32, src += weights.stride) {
    v128.store(panel, v128.load(src));
    v128.store(panel, v128.load(src, 16), 16);
  }
}

/** dst[width] += factor * a row of the sums, of which each panel has eight; a factor of 0 stores them. */
function addRow(dst: usize, sums: usize, panelBytes: usize, width: usize, factor: f32): void {
  // Sums below float32's range may be -0: adding +0 makes them +0.
  const zeros = f32x4.splat(0);
  const factors = f32x4.splat(factor);
  const end = dst + 4 * (width & ~7);
  for (; dst < end; dst += 32, sums += panelBytes) {
    const a = f32x4.add(v128.load(sums), zeros);
    const b = f32x4.add(v128.load(sums, 16), zeros);
    v128.store(dst, factor == 0 ? a : Simd.madd(a, factors, v128.load(dst)));
    v128.store(dst, factor == 0 ? b : Simd.madd(b, factors, v128.load(dst, 16)), 16);
  }
  const rest: usize = 4 * (width & 7);
  if (rest) {
    v128.store(sums, f32x4.add(v128.load(sums), zeros));
    v128.store(sums, f32x4.add(v128.load(sums, 16), zeros), 16);
    for (let i: usize = 0; i < rest; i += 4)
      store<f32>(
        dst + i,
        factor == 0 ? load<f32>(sums + i) : load<f32>(dst + i) + factor * load<f32>(sums + i),
      );
  }
}
