import { checkArray } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { notAMatrix } from "./left.ts";
import type { Right, SliceRows } from "./multiply.ts";

/** The rows of x that follow one another and meet the same slice of w: all rows, or those of each expert. */
export function sliceRowsOf(
  experts: Int32Array | undefined,
  rows: number,
  { slices, shape }: Right,
): SliceRows[] {
  if (experts === undefined) {
    if (slices !== 1) throw notAMatrix("gemm: w", shape);
    return [{ start: 0, end: rows, slice: 0 }];
  }
  const numbers = checkArray("gemm: experts", experts, "Int32Array", rows);
  const found: SliceRows[] = [];
  for (let start = 0, end = 0; start < rows; start = end) {
    const slice = numbers[start]!;
    if (slice < -1 || slice >= slices) throw noExpert(slice, start, slices);
    while (end < rows && numbers[end] === slice) end++;
    if (slice >= 0) found.push({ start, end, slice });
  }
  return found;
}

function noExpert(slice: number, row: number, slices: number): BlockscaleError {
  return new BlockscaleError("option", {
    where: `gemm: experts[${row}]`,
    expected: slices === 0 ? "-1, since w has no slices" : `-1, or a slice of w from 0 to ${slices - 1}`,
    got: String(slice),
    fix: "Stack the experts as w [E, N, K] and number them from 0.",
  });
}
