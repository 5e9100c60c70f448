import { BF16, F32, Half } from "../../lanes/half";
import { Simd } from "../../lanes/simd";
import { decodePanel, PANEL_ROWS } from "./panel";
import { widenPanel } from "./plain-panel";
import { Weights } from "./right-operand";
import { Subnormals } from "./subnormals";
import { DEPTH, multiplyPanel, STAGED_ROW, Tile } from "./tile";

/** Rows of x per pass over the weights, in tiles: their staged columns stay in a second-level cache. */
const TILES: usize = 32;

/** Panels whose sums wait side by side, so that a row of the result is written 128 columns at a time. */
const PANELS: usize = 16;

/** The rooms of a product's working memory, one after another. */
abstract class Work {
  static panel: usize = 0;
  @inline static get spread(): usize {
    return Work.panel + (DEPTH << 5);
  }
  @inline static get zeros(): usize {
    return Work.spread + (DEPTH << 4);
  }
  @inline static get product(): usize {
    return Work.zeros + DEPTH;
  }
  @inline static get sums(): usize {
    return Work.product + ((TILES * Tile.rows) << 5);
  }
  @inline static get staged(): usize {
    return Work.sums + ((PANELS * TILES * Tile.rows) << 5);
  }
}

/** Bytes that `multiplyPanels` needs for x[rows, cols]. */
export function workspaceOfPanels(rows: usize, cols: usize): usize {
  const depths = (cols + DEPTH - 1) / DEPTH;
  return Work.staged - Work.panel + min(rows, TILES * Tile.rows) * depths * STAGED_ROW;
}

/**
 * dst[rows, N] <- x[rows, K] . weights[N, K]^T in float32 or bfloat16. The weights are decoded a panel of eight rows and 512 columns at a time, and
 * each panel meets all rows of x while it is in the first-level cache; sums of 512 products are added up in float32.
 */
export function multiplyPanels<F>(
  type: i32,
  work: usize,
  dst: usize,
  x: usize,
  rows: usize,
  isFused: bool,
): void {
  Work.panel = work;
  if (Subnormals.list) memory.fill(Work.zeros, 0, DEPTH);
  let passes = (rows + TILES * Tile.rows - 1) / (TILES * Tile.rows);
  const width: usize = type == 0 ? 4 : 2;
  const rowBytes = Weights.rows * width;
  while (rows) {
    const height = (rows + passes - 1) / passes--;
    stage(x, height, Weights.cols);
    for (let n: usize = 0; n < Weights.rows; n += PANELS * PANEL_ROWS) {
      const columns = min(PANELS * PANEL_ROWS, Weights.rows - n);
      sumPanels<F>(n, columns, height, isFused);
      for (let m: usize = 0; m < height; m++) {
        const at = dst + m * rowBytes + n * width;
        if (type == 0) writeRow<F32>(at, Work.sums + (m << 5), height << 5, columns);
        else writeRow<BF16>(at, Work.sums + (m << 5), height << 5, columns);
      }
    }
    x += height * Weights.cols * 4;
    dst += height * rowBytes;
    rows -= height;
  }
}

/** staged[K / 512][rows][512] <- x[rows, K], padded with zeros to a multiple of 16 columns. */
function stage(x: usize, rows: usize, cols: usize): void {
  let dst = Work.staged;
  for (let k: usize = 0; k < cols; k += DEPTH) {
    const bytes: usize = 4 * min(DEPTH, cols - k);
    const padding: usize = (64 - (bytes & 63)) & 63;
    for (let m: usize = 0; m < rows; m++) {
      memory.copy(dst, x + 4 * (m * cols + k), bytes);
      if (padding) memory.fill(dst + bytes, 0, padding);
      dst += STAGED_ROW;
    }
  }
}

/** sums[panels][rows][8] of weights n .. n + width. */
function sumPanels<F>(n: usize, width: usize, rows: usize, isFused: bool): void {
  let staged = Work.staged;
  const panelBytes = rows << 5;
  for (let k: usize = 0; k < Weights.cols; k += DEPTH) {
    const columns = min(DEPTH, Weights.paddedCols - k);
    let sums = Work.sums;
    for (let row: usize = 0; row < width; row += PANEL_ROWS) {
      if (Half.has<F>()) widenPanel<F>(Work.panel, n + row, k, columns);
      else decodePanel<F>(Work.panel, Work.spread, Work.zeros, n + row, k, columns, isFused);
      // The next panel's codes come to the first-level cache while this one is multiplied: eight rows are more than a prefetcher follows.
      if (Half.has<F>()) {
        // Rows of values are long enough for the prefetcher.
      } else if (row + PANEL_ROWS < width) touch(n + row + PANEL_ROWS, k, columns);
      else if (k + DEPTH < Weights.cols) touch(n, k + DEPTH, DEPTH);
      else touch(n + width, 0, DEPTH);
      if (k == 0) {
        multiplyPanel(sums, staged, rows, Work.panel, columns);
      } else {
        multiplyPanel(Work.product, staged, rows, Work.panel, columns);
        addTo(sums, Work.product, panelBytes);
      }
      sums += panelBytes;
    }
    staged += rows * STAGED_ROW;
  }
}

/** Has the codes of a panel fetched by reading a byte in 64, each 64 of a row being about one cache line. */
function touch(n: usize, from: usize, columns: usize): void {
  const end = min(from + columns, Weights.cols);
  for (let row: usize = 0; row < PANEL_ROWS; row++) {
    const codes = Weights.row(n + row);
    for (let at = codes + from; at < codes + end; at += 64) load<u8>(at);
  }
}

/** dst[] += src[]; a multiple of 32 bytes. */
function addTo(dst: usize, src: usize, bytes: usize): void {
  const end = dst + bytes;
  if (dst < end)
    do {
      v128.store(dst, f32x4.add(v128.load(dst), v128.load(src)));
      v128.store(dst, f32x4.add(v128.load(dst, 16), v128.load(src, 16)), 16);
      dst += 32;
      src += 32;
    } while (dst < end);
}

/** One row of the result, from eight sums of each panel. */
function writeRow<T>(dst: usize, sums: usize, panelBytes: usize, width: usize): void {
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
    // The product's room is free at this time.
    Eight.write<T>(Work.product, sums, zero);
    memory.copy(dst, Work.product, rest * Half.size<T>());
  }
}

/** Stores eight sums as elements of the result. Adding +0 makes an underflowed sum +0, whatever the codes behind a row are. */
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
