import { SCALE_TYPE_ID, type ScaleTypeId } from "../tensor/formats.ts";
import type { Arena } from "./arena.ts";

/**
 * What the codes of a matrix are: row by row those of E4M3 (0) and E5M2 (1); in groups of twelve rows those
 * of E2M1 (2) and integers of 7 bits (3); row by row integers of 8 bits (4). See `gemm` and `gemmIntegers` of
 * Kernels.
 */
export type MatrixFormat = 0 | 1 | 2 | 3 | 4;

export const INT7_FORMAT = 3;
export const INT8_FORMAT = 4;

/** bfloat16 scales: those of E2M1 codes whose scales are powers of two. */
export const BF16_SCALES = 2;

/**
 * A matrix in the memory of the kernels, which take the place of such a record: a pointer, instead of a dozen
 * numbers.
 */
export interface Matrix {
  readonly format: MatrixFormat;
  readonly scaleType: ScaleTypeId | typeof BF16_SCALES;
  /** Where they begin, in bytes. */
  readonly codes: number;
  readonly scales: number;
  /** Integers of 8 bits have them: see `quantizeInt8` of Kernels. */
  readonly offsets: number;
  /** Which row of its block the first one is. */
  readonly firstRow: number;
  readonly rows: number;
  readonly cols: number;
  /**
   * Bytes from one row of codes to the next, and from one row of scales to the next, where codes lie row by
   * row.
   */
  readonly stride: number;
  readonly scaleStride: number;
  readonly blockRows: number;
  readonly blockCols: number;
  /** What `analyse` finds: the list of subnormal codes, or 0, and the exponent fields of the scales. */
  readonly list: number;
  readonly lowestScale: number;
  readonly highestScale: number;
}

/** What may be left out is 0, or what it is for rows that follow one another without gaps. */
export type MatrixParts = Pick<
  Matrix,
  "format" | "scaleType" | "codes" | "scales" | "rows" | "cols" | "blockCols"
> &
  Partial<Matrix>;

/** A matrix of which the fields that matter are given. Small products make one each: no object is spread. */
export function matrixOf(parts: MatrixParts): Matrix {
  const { format, scaleType, codes, scales, rows, cols, blockCols } = parts;
  const { offsets = 0, firstRow = 0, blockRows = 1, list = 0, lowestScale = 0, highestScale = 0 } = parts;
  const scaleBytes = scaleType === SCALE_TYPE_ID.ue8m0 ? 1 : 4;
  const { stride = cols, scaleStride = Math.ceil(cols / blockCols) * scaleBytes } = parts;
  // biome-ignore format: the order is that of MATRIX_FIELDS
  return {
    format, scaleType, codes, scales, offsets, firstRow, rows, cols, stride, scaleStride, blockRows, blockCols,
    list, lowestScale, highestScale,
  };
}

/**
 * In the order of the fields of `Matrix` of assembly/kernels/matrix.ts, each of them 32 bits. A test compares
 * both.
 */
export const MATRIX_FIELDS: readonly (keyof Matrix)[] = Object.keys(
  matrixOf({
    format: 0,
    scaleType: SCALE_TYPE_ID.f32,
    codes: 0,
    scales: 0,
    rows: 0,
    cols: 0,
    blockCols: 1,
  }),
) as (keyof Matrix)[];

export const MATRIX_BYTES: number = 4 * MATRIX_FIELDS.length;

/** Writes a matrix to a place for the kernels. */
export function writeMatrix(buffer: ArrayBuffer, at: number, matrix: Matrix): void {
  const words = new Uint32Array(buffer, at, MATRIX_FIELDS.length);
  for (let i = 0; i < words.length; i++) words[i] = matrix[MATRIX_FIELDS[i]!];
}

/** The matrix at a place. */
export function readMatrix(buffer: ArrayBuffer, at: number): Matrix {
  const words = new Uint32Array(buffer, at, MATRIX_FIELDS.length);
  return Object.fromEntries(MATRIX_FIELDS.map((name, i) => [name, words[i]])) as unknown as Matrix;
}

/** Calls `body` with the place of a matrix that is written down for as long as that takes. */
export function withMatrix<T>(arena: Arena, matrix: Matrix, body: (at: number) => T): T {
  return arena.frame([MATRIX_BYTES], (at) => {
    writeMatrix(arena.buffer, at, matrix);
    return body(at);
  });
}
