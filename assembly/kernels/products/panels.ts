import { BF16, F32, Half } from "../../lanes/half";
import { Simd } from "../../lanes/simd";
import { MatrixRecord } from "../matrix";
import { prefetch } from "../prefetch";
import { decodePanel, PANEL_ROWS } from "./panel";
import { widenPanel } from "./plain-panel";
import { DEPTH, multiplyPanel, STAGED_ROW, Tile } from "./tile";

/** Rows of x per pass over the weights, in tiles: their staged columns stay in a second-level cache. */
export const TILES: usize = 32;

/** Panels whose sums wait side by side, so that a row of the result is written 128 columns at a time. */
export const PANELS: usize = 16;

/** The areas of a product's working memory, one after another; a panel is the first one. */
export abstract class Work {
  @inline static spread(panel: usize): usize {
    return panel + (DEPTH << 5);
  }
  @inline static zeros(panel: usize): usize {
    return Work.spread(panel) + (DEPTH << 4);
  }
  @inline static product(panel: usize): usize {
    return Work.zeros(panel) + DEPTH;
  }
  @inline static sums(panel: usize): usize {
    return Work.product(panel) + ((TILES * Tile.rows) << 5);
  }
  @inline static staged(panel: usize): usize {
    return Work.sums(panel) + ((PANELS * TILES * Tile.rows) << 5);
  }
}

/** Bytes that `multiplyPanels` needs for x[rows, cols]. */
export function workspaceOfPanels(rows: usize, cols: usize): usize {
  const depths = (cols + DEPTH - 1) / DEPTH;
  return Work.staged(0) + min(rows, TILES * Tile.rows) * depths * STAGED_ROW;
}

/**
 * dst[rows, N] <- x[rows, K] . weights[N, K]^T in float32 or bfloat16. The weights are decoded a panel of
 * eight rows and 512 columns at a time, and each panel meets all rows of x while it is in the first-level
 * cache; sums of 512 products are added up in float32.
 * @typeParam W format of codes; or F32, BF16 or F16, for values without scales
 * @param unitFitsScales whether each scale times `Shifted.unit` is a float32; true for values without scales
 */
export function multiplyPanels<W>(
  weights: MatrixRecord,
  type: i32,
  work: usize,
  dst: usize,
  x: usize,
  rows: usize,
  unitFitsScales: bool,
): void {
  if (weights.list) memory.fill(Work.zeros(work), 0, DEPTH);
  let passes = (rows + TILES * Tile.rows - 1) / (TILES * Tile.rows);
  const width: usize = type == 0 ? 4 : 2;
  const rowBytes = weights.rows * width;
  while (rows) {
    const height = (rows + passes - 1) / passes--;
    stage(Work.staged(work), x, height, weights.cols, weights.cols);
    for (let n: usize = 0; n < weights.rows; n += PANELS * PANEL_ROWS) {
      const columns = min(PANELS * PANEL_ROWS, weights.rows - n);
      sumPanels<W>(work, weights, n, columns, height, unitFitsScales);
      for (let m: usize = 0; m < height; m++) {
        const at = dst + m * rowBytes + n * width;
        if (type == 0) writeRow<F32>(at, work, m, height << 5, columns);
        else writeRow<BF16>(at, work, m, height << 5, columns);
      }
    }
    x += height * weights.cols * 4;
    dst += height * rowBytes;
    rows -= height;
  }
}

/**
 * dst[K / 512][rows][512] <- x[rows, K], whose rows are `stride` values apart; padded with zeros to a
 * multiple of 16 columns.
 */
export function stage(dst: usize, x: usize, rows: usize, cols: usize, stride: usize): void {
  for (let k: usize = 0; k < cols; k += DEPTH) {
    const bytes: usize = 4 * min(DEPTH, cols - k);
    const padding: usize = (64 - (bytes & 63)) & 63;
    for (let m: usize = 0; m < rows; m++) {
      memory.copy(dst, x + 4 * (m * stride + k), bytes);
      if (padding) memory.fill(dst + bytes, 0, padding);
      dst += STAGED_ROW;
    }
  }
}

/** sums[panels][rows][8] <- staged x . rows n .. n + width of the weights. */
function sumPanels<W>(
  panel: usize,
  weights: MatrixRecord,
  n: usize,
  width: usize,
  rows: usize,
  unitFitsScales: bool,
): void {
  let staged = Work.staged(panel);
  const panelBytes = rows << 5;
  for (let k: usize = 0; k < weights.cols; k += DEPTH) {
    const columns = min(DEPTH, weights.paddedCols - k);
    let sums = Work.sums(panel);
    for (let row: usize = 0; row < width; row += PANEL_ROWS) {
      if (Half.has<W>()) widenPanel<W>(panel, weights, n + row, k, columns);
      else
        decodePanel<W>(
          panel,
          Work.spread(panel),
          Work.zeros(panel),
          weights,
          n + row,
          k,
          columns,
          unitFitsScales,
        );
      // The next panel's codes come to the first-level cache while this one is multiplied: eight rows are
      // more than a prefetcher follows.
      if (Half.has<W>()) {
        // Rows of values are long enough for the prefetcher.
      } else if (row + PANEL_ROWS < width) prefetchPanel(weights, n + row + PANEL_ROWS, k, columns);
      else if (k + DEPTH < weights.cols) prefetchPanel(weights, n, k + DEPTH, DEPTH);
      else prefetchPanel(weights, n + width, 0, DEPTH);
      if (k == 0) {
        multiplyPanel(sums, staged, rows, panel, columns);
      } else {
        multiplyPanel(Work.product(panel), staged, rows, panel, columns);
        addTo(sums, Work.product(panel), panelBytes);
      }
      sums += panelBytes;
    }
    staged += rows * STAGED_ROW;
  }
}

/** Has the codes of a panel fetched, row by row. */
function prefetchPanel(weights: MatrixRecord, n: usize, from: usize, columns: usize): void {
  const known = min(columns, weights.cols - from);
  for (let row: usize = 0; row < PANEL_ROWS; row++)
    prefetch(weights.codesOf(weights.clampRow(n + row)) + from, known);
}

/** dst[] += src[]; a multiple of 32 bytes. */
export function addTo(dst: usize, src: usize, bytes: usize): void {
  const end = dst + bytes;
  if (dst < end)
    do {
      v128.store(dst, f32x4.add(v128.load(dst), v128.load(src)));
      v128.store(dst, f32x4.add(v128.load(dst, 16), v128.load(src, 16)), 16);
      dst += 32;
      src += 32;
    } while (dst < end);
}

/** dst[width] <- row m of the sums: eight of each panel. */
function writeRow<T>(dst: usize, work: usize, m: usize, panelBytes: usize, width: usize): void {
  let sums = Work.sums(work) + (m << 5);
  const zero = Simd.opaqueZero();
  const end = dst + (width & ~7) * Half.size<T>();
  if (dst < end)
    do {
      Eight.write<T>(dst, sums, zero);
      dst += 8 * Half.size<T>();
      sums += panelBytes;
    } while (dst < end);
  const rest = width & 7;
  if (rest) {
    // Nothing is in the area for a product at this time.
    const product = Work.product(work);
    Eight.write<T>(product, sums, zero);
    memory.copy(dst, product, rest * Half.size<T>());
  }
}

/**
 * Stores eight sums as elements of the result. Adding +0 makes an underflowed sum +0, whatever the codes
 * behind a row are.
 */
abstract class Eight {
  @inline static write<T>(dst: usize, sums: usize, zero: i32): void {
    const zeros = f32x4.splat(0);
    const a = f32x4.add(v128.load(sums), zeros);
    const b = f32x4.add(v128.load(sums, 16), zeros);
    if (idof<T>() == idof<F32>()) {
      v128.store(dst, a);
      v128.store(dst, b, 16);
    } else {
      v128.store(dst, Half.narrow<T>(a, b, zero));
    }
  }
}
