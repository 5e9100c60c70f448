import {
  type MatrixShape,
  matrixOf,
  type PlainWeight,
  plainShape,
  type ScaledWeight,
} from "../read/weights.ts";
import type { WeightConversion } from "./conversion.ts";

/**
 * Some rows of one slice of a weight, or several small slices whole: the unit of work. How a weight is cut
 * depends on its shape and blocks alone, so that sums over strips come out the same whoever computes them.
 */
export interface Strip {
  /** The first slice, and the first row in it. */
  readonly slice: number;
  readonly firstRow: number;
  /** Rows of the strip, those of all its slices together where it holds several. */
  readonly rows: number;
}

/** Shape of the rows of a strip: `[rows, cols]`, or `[slices, rows, cols]` of several slices. */
export function stripShape(shape: readonly number[], strip: Strip): number[] {
  const { rows, cols } = matrixOf(shape);
  return strip.rows > rows ? [strip.rows / rows, rows, cols] : [strip.rows, cols];
}

/**
 * Elements of a strip, unless one row of blocks has more: a few megabytes with everything that belongs to it.
 */
const STRIP_ELEMENTS = 1 << 20;

/** Cuts a weight into strips of whole blocks, both of what it is and of what it becomes. */
export function* stripsOf({ from, into }: WeightConversion): Generator<Strip> {
  const { slices, rows, cols } = matrixOf(from.shape);
  const unit = rowUnitOf({ from, into });
  // What is to be transposed is taken whole: its first column is spread over all rows.
  const isTransposed = from.transposed === true && (from.kind === "plain" || into.kind === "plain");
  yield* cutIntoStrips({ slices, rows, cols }, unit, isTransposed);
}

/** Cuts two weights of one shape into the same strips, of whole blocks of both. */
export function* sharedStrips(
  a: PlainWeight | ScaledWeight,
  b: PlainWeight | ScaledWeight,
): Generator<Strip> {
  const isTransposed = a.transposed === true || b.transposed === true;
  yield* cutIntoStrips(
    matrixOf(plainShape(a)),
    leastCommonMultiple(rowsTogether(a), rowsTogether(b)),
    isTransposed,
  );
}

/** The number of rows of a strip of a conversion is a multiple of this, except where a slice ends. */
export function rowUnitOf({ from, into }: WeightConversion): number {
  return leastCommonMultiple(rowsTogether(from), into.kind === "scaled" ? into.scheme.block[0] : 1);
}

/**
 * Rows that have to be read together: where one block of scales serves all
 * rows, any of them can be read by itself.
 */
export function rowsTogether(weight: PlainWeight | ScaledWeight): number {
  if (weight.kind === "plain" && weight.transposed) return Math.max(1, matrixOf(weight.shape).rows);
  return weight.kind === "scaled" && weight.block[0] < matrixOf(weight.shape).rows ? weight.block[0] : 1;
}

function* cutIntoStrips({ slices, rows, cols }: MatrixShape, unit: number, whole: boolean): Generator<Strip> {
  if (slices * rows * cols === 0) return;
  const slicesPerStrip = Math.floor(STRIP_ELEMENTS / (rows * cols));
  if (slicesPerStrip > 1) {
    for (let slice = 0; slice < slices; slice += slicesPerStrip) {
      yield { slice, firstRow: 0, rows: rows * Math.min(slicesPerStrip, slices - slice) };
    }
    return;
  }
  const height = whole ? rows : Math.max(1, Math.floor(STRIP_ELEMENTS / cols / unit)) * unit;
  for (let slice = 0; slice < slices; slice++) {
    for (let firstRow = 0; firstRow < rows; firstRow += height) {
      yield { slice, firstRow, rows: Math.min(height, rows - firstRow) };
    }
  }
}

export function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return (a / x) * b;
}
