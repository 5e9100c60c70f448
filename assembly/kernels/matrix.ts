/** What the codes of a matrix are: see src/wasm/matrix.ts. */
export const E4M3_CODES: i32 = 0;
export const E2M1_CODES: i32 = 2;
export const INT7_CODES: i32 = 3;

/**
 * A matrix, as the host has written it down: the fields of `Matrix` of src/wasm/matrix.ts, which says what they mean, in the order of MATRIX_FIELDS there.
 */
@unmanaged
export class Matrix {
  format: i32 = 0;
  scaleType: i32 = 0;
  codes: usize = 0;
  scales: usize = 0;
  offsets: usize = 0;
  firstRow: usize = 0;
  rows: usize = 0;
  cols: usize = 0;
  blockRows: usize = 0;
  blockCols: usize = 0;
  list: usize = 0;
  lowestScale: i32 = 0;
  highestScale: i32 = 0;
}
