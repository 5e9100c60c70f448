import type { Conversion } from "./conversion.ts";
import { type Matrix, matrixOf, type PlainWeight, plainShape, type ScaledWeight } from "./weights.ts";

/**
 * Some rows of one slice of a weight: the unit of work. How a weight is cut depends on its shape and blocks alone, so
 * that sums over strips come out the same whoever computes them.
 */
export interface Strip {
  readonly slice: number;
  readonly firstRow: number;
  readonly rows: number;
}

/** Elements of a strip, unless one row of blocks has more: a few megabytes with everything that belongs to it. */
const STRIP_ELEMENTS = 1 << 20;

/** Cuts a weight into strips of whole blocks, both of what it is and of what it becomes. */
export function* stripsOf({ from, into }: Conversion): Generator<Strip> {
  const { slices, rows, cols } = matrixOf(from.shape);
  // Where one block of scales serves all rows, any of them can be read by themselves.
  const read = from.kind === "scaled" && from.block[0] < rows ? from.block[0] : 1;
  const write = into.kind === "scaled" ? into.scheme.block[0] : 1;
  const unit = leastCommonMultiple(read, write);
  // What is to be transposed is taken whole: its first column is spread over all rows.
  const isTurned = from.kind === "scaled" && from.transposed && into.kind === "plain";
  yield* cut({ slices, rows, cols }, unit, isTurned);
}

/** Cuts two weights of one shape into the same strips, of whole blocks of both. */
export function* sharedStrips(
  a: PlainWeight | ScaledWeight,
  b: PlainWeight | ScaledWeight,
): Generator<Strip> {
  const matrix = matrixOf(plainShape(a));
  const [first, second] = [a, b].map((weight) =>
    weight.kind === "scaled" && weight.block[0] < matrix.rows ? weight.block[0] : 1,
  ) as [number, number];
  const isTurned = [a, b].some((weight) => weight.kind === "scaled" && weight.transposed);
  yield* cut(matrix, leastCommonMultiple(first, second), isTurned);
}

function* cut({ slices, rows, cols }: Matrix, unit: number, whole: boolean): Generator<Strip> {
  if (slices * rows * cols === 0) return;
  const height = whole ? rows : Math.max(1, Math.floor(STRIP_ELEMENTS / cols / unit)) * unit;
  for (let slice = 0; slice < slices; slice++) {
    for (let firstRow = 0; firstRow < rows; firstRow += height) {
      yield { slice, firstRow, rows: Math.min(height, rows - firstRow) };
    }
  }
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return (a / x) * b;
}
