import { arrayLike, type CheckedTensor } from "../tensor/checks.ts";
import type { BlockScaled } from "../tensor/tensor.ts";

/** The rows of a right operand that one worker holds: `start` to `end`, whole blocks. */
export interface ThreadRows {
  readonly start: number;
  readonly end: number;
}

/**
 * N rows in equal parts, as far as blocks allow it; a part may be empty, but
 * the first one only if there are no rows.
 */
export function threadRowsOf(rows: number, blockRows: number, count: number): ThreadRows[] {
  const gridRows = Math.ceil(rows / blockRows);
  const edge = (part: number): number => Math.min(rows, Math.ceil((part * gridRows) / count) * blockRows);
  return Array.from({ length: count }, (_, part) => ({ start: edge(part), end: edge(part + 1) }));
}

/** The weights of a range of rows, in arrays of their own, since they are transferred to the worker. */
export function cutRows(tensor: CheckedTensor, { start, end }: ThreadRows): BlockScaled {
  const { format, shape, block, codes, scales, grid } = tensor;
  const { slices, rows, cols } = grid;
  const gridCols = Math.ceil(cols / block[1]);
  const gridRows = Math.ceil(rows / block[0]);
  const top = Math.ceil(start / block[0]);
  const bottom = Math.ceil(end / block[0]);
  return {
    format,
    shape: [...shape.slice(0, -2), end - start, cols],
    block,
    codes: take(codes, slices, rows * cols, start * cols, end * cols),
    scales: take(scales, slices, gridRows * gridCols, top * gridCols, bottom * gridCols),
  };
}

/** Elements start to end of each of `slices` parts of an array. */
function take<T extends Uint8Array | Float32Array>(
  values: T,
  slices: number,
  size: number,
  start: number,
  end: number,
): T {
  const out = arrayLike(values, slices * (end - start));
  for (let i = 0; i < slices; i++)
    out.set(values.subarray(i * size + start, i * size + end), i * (end - start));
  return out;
}

/**
 * Columns start to end of out[rows, n] <- part[rows, end - start]. Rows whose expert is -1 stay as they are.
 */
export function putColumns(
  out: Float32Array | Uint16Array,
  part: Float32Array | Uint16Array,
  n: number,
  { start, end }: ThreadRows,
  experts: Int32Array | undefined,
): void {
  const width = end - start;
  for (let row = 0; row * n < out.length; row++) {
    if (experts !== undefined && experts[row] === -1) continue;
    out.set(part.subarray(row * width, (row + 1) * width), row * n + start);
  }
}
