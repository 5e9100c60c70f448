import type { Strip } from "../plan/strip.ts";
import { scalesOfStrip } from "../run/rows.ts";

/** Scales of one strip, row by row of blocks, as exponents. */
interface StripScales {
  readonly strip: Strip;
  readonly exponents: Int16Array<ArrayBuffer>;
  readonly scaleCols: number;
}

/** Scales of a weight as a picture: a cell is a block, or the one with the largest scale of several. */
export interface ScaleMap {
  readonly rows: number;
  readonly cols: number;
  /** floor(log2(scale)) of each cell, [rows, cols]. */
  readonly exponents: Int16Array<ArrayBuffer>;
  /**
   * The block each cell shows: its place, counted over the whole weight, is blockRow * blockCols + blockCol.
   */
  readonly places: Int32Array<ArrayBuffer>;
  readonly blockCols: number;
  /** Scales that the picture stands for. */
  readonly scales: number;
  readonly block: readonly [number, number];
}

/** Cells a side, at most. */
const MAP_SIZE = 256;

/** The picture of a weight's scales; `null` where it has none. @param shape of the weight */
export function scaleMapOf(
  strips: readonly StripScales[],
  shape: readonly number[],
  block: readonly [number, number],
): ScaleMap | null {
  const scaleCols = strips[0]?.scaleCols ?? 0;
  const scales = strips.reduce((n, { exponents }) => n + exponents.length, 0);
  if (scales === 0 || scaleCols === 0) return null;
  const scaleRows = scales / scaleCols;
  const [rows, cols] = [Math.min(MAP_SIZE, scaleRows), Math.min(MAP_SIZE, scaleCols)];
  const map = new Int16Array(rows * cols).fill(-32768);
  const places = new Int32Array(rows * cols);
  let row = 0;
  for (const { exponents, strip } of strips) {
    const { first } = scalesOfStrip({ shape, block }, strip);
    for (let i = 0; i < exponents.length; i++) {
      const r = Math.floor(((row + Math.floor(i / scaleCols)) * rows) / scaleRows);
      const at = r * cols + Math.floor(((i % scaleCols) * cols) / scaleCols);
      if (exponents[i]! > map[at]!) {
        map[at] = exponents[i]!;
        places[at] = first + i;
      }
    }
    row += exponents.length / scaleCols;
  }
  return { rows, cols, exponents: map, places, blockCols: scaleCols, scales, block };
}
