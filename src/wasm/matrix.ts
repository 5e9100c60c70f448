import { SCALE_TYPE_ID, type ScaleTypeId } from "../tensor/formats.ts";
import type { Arena } from "./arena.ts";
import { RecordLayout, type RecordOf } from "./record.ts";

/**
 * What the codes of a matrix are: row by row those of E4M3 (0) and E5M2 (1); in groups of twelve rows those
 * of E2M1 (2) and integers of 7 bits (3); row by row integers of 8 bits (4). See `gemm` and `gemmIntegers` of
 * Kernels. `quantize` writes E2M1 and E2M3 (5) row by row, a byte a code.
 */
export type MatrixFormat = 0 | 1 | 2 | 3 | 4 | 5;

export const INT7_CODES = 3;
export const INT8_CODES = 4;

/** bfloat16 scales: those of E2M1 codes whose scales are powers of two. */
export const BF16_SCALES = 2;

const FIELDS = {
  format: "u32",
  scaleType: "u32",
  /** Where the codes and the scales begin, in bytes. */
  codes: "u32",
  scales: "u32",
  /** Where the offsets begin, which integers of 8 bits alone have: see `quantizeInt8` of Kernels. */
  offsets: "u32",
  /** How many rows the first one is below the top of the block to which the first row of scales belongs. */
  firstRow: "u32",
  rows: "u32",
  cols: "u32",
  /**
   * Bytes from one row of codes to the next, and from one row of scales to the next, where codes lie row by
   * row.
   */
  stride: "u32",
  scaleStride: "u32",
  blockRows: "u32",
  blockCols: "u32",
  /** What `analyse` finds: the list of subnormal codes, or 0, and the exponent fields of the scales. */
  list: "u32",
  lowestScale: "u32",
  highestScale: "u32",
} as const;

/** A matrix in the memory of the kernels: where its codes and scales are, and how they lie. */
export interface MatrixRecord extends RecordOf<typeof FIELDS> {
  readonly format: MatrixFormat;
  readonly scaleType: ScaleTypeId | typeof BF16_SCALES;
}

export const MATRIX: RecordLayout<MatrixRecord> = new RecordLayout<MatrixRecord>(FIELDS);

/** Left out, blockRows is 1, stride and scaleStride are those of rows without gaps, and all else is 0. */
export type MatrixFields = Pick<
  MatrixRecord,
  "format" | "scaleType" | "codes" | "scales" | "rows" | "cols" | "blockCols"
> &
  Partial<MatrixRecord>;

/**
 * The record of a matrix of which the fields that matter are given. Small products make one each: no object
 * is spread.
 */
export function matrixRecord(fields: MatrixFields): MatrixRecord {
  const { format, scaleType, codes, scales, rows, cols, blockCols } = fields;
  const { offsets = 0, firstRow = 0, blockRows = 1, list = 0, lowestScale = 0, highestScale = 0 } = fields;
  const scaleBytes = scaleType === SCALE_TYPE_ID.ue8m0 ? 1 : 4;
  const { stride = cols, scaleStride = Math.ceil(cols / blockCols) * scaleBytes } = fields;
  // biome-ignore format: a table of fields
  return {
    format, scaleType, codes, scales, offsets, firstRow, rows, cols, stride, scaleStride, blockRows, blockCols,
    list, lowestScale, highestScale,
  };
}

/** Reads the record of a matrix at an address. */
export function readMatrix(buffer: ArrayBuffer, at: number): MatrixRecord {
  const words = new Uint32Array(buffer, at, MATRIX.fields.length);
  return Object.fromEntries(MATRIX.fields.map((name, i) => [name, words[i]])) as unknown as MatrixRecord;
}

/**
 * Writes the record of a matrix into memory, and calls `body` with its address: it is there until `body`
 * returns.
 */
export function withMatrix<T>(arena: Arena, matrix: MatrixRecord, body: (at: number) => T): T {
  return arena.frame([MATRIX.bytes], (at) => {
    MATRIX.write(arena.buffer, at, matrix);
    return body(at);
  });
}
