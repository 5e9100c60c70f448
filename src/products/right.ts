import { checkTensor, type Fp8Tensor } from "../tensor/checks.ts";
import {
  FORMAT_ID,
  type FormatId,
  SCALE_TYPE_ID,
  type Scales,
  type ScaleTypeId,
  scaleTypeOf,
} from "../tensor/formats.ts";
import { asFp8 } from "../tensor/sub-byte.ts";
import type { BlockScaled, Format } from "../tensor/tensor.ts";
import { transposeTensor } from "../tensor/transpose.ts";
import type { Arena } from "../wasm/arena.ts";
import type { Kernels } from "../wasm/kernels.ts";
import { MATRIX, type MatrixRecord, readMatrix } from "../wasm/matrix.ts";

/**
 * Checks the right operand of a product, which then has FP8 codes and lies as [..., N, K].
 * @param isTransposed whether it was given as [..., K, N]
 */
export function checkRightOperand(where: string, tensor: BlockScaled, isTransposed: boolean): Fp8Tensor {
  const checked = asFp8(checkTensor(where, tensor));
  return isTransposed ? transposeTensor(checked) : checked;
}

/** What codes and scales are, in a {@link MatrixRecord}. */
export function typesOf(format: Format, scales: Scales): { format: FormatId; scaleType: ScaleTypeId } {
  return { format: FORMAT_ID[format], scaleType: SCALE_TYPE_ID[scaleTypeOf(scales)] };
}

/** Copies scales into memory, as bytes. */
export function putScales(buffer: ArrayBuffer, at: number, scales: Scales): void {
  const bytes = new Uint8Array(scales.buffer, scales.byteOffset, scales.byteLength);
  new Uint8Array(buffer, at, bytes.length).set(bytes);
}

/** Weights that have been analysed, and whose few subnormal codes are in a list. */
export interface PreparedWeights {
  /** Where the kernels find the matrix. */
  readonly matrixAt: number;
  readonly matrix: MatrixRecord;
  /** Rows that are computed in float64, since they hold NaN or leave float32. */
  readonly float64Rows: readonly number[];
}

/**
 * Bytes reserved behind codes: kernels read up to 15 past their end. They also read one byte before; that
 * address is always valid.
 */
export const MARGIN = 16;

/** A list has room for one subnormal code in 64 of a row; rows with more are decoded by table. */
const CODES_PER_ENTRY = 64;

/**
 * Bytes of a list with `entries` subnormal codes. With 0 entries: only the row starts, which `analyse`
 * writes.
 */
const listBytes = (rows: number, entries: number): number => 4 * (rows + 1 + entries);

/** Bytes of the longest list there can be. */
export const mostListBytes = (rows: number, cols: number): number =>
  listBytes(rows, Math.ceil((rows * cols) / CODES_PER_ENTRY));

/**
 * Runs the kernel `analyse` on a matrix that was written down; returns the rows that need float64.
 * @param flags address for a byte a row
 * @param list address for the beginning of a list
 */
export function runAnalyse(
  kernels: Kernels,
  arena: Arena,
  matrixAt: number,
  rows: number,
  [flags, list]: readonly [flags: number, list: number],
): number[] {
  if (kernels.analyse(matrixAt, flags, list) === 0) return [];
  return [...new Uint8Array(arena.buffer, flags, rows)].flatMap((flag, row) => (flag ? [row] : []));
}

/** What `analyse` has found of a matrix, and the beginning of the list that it asks for. */
export interface Analysis extends Pick<PreparedWeights, "matrix" | "float64Rows"> {
  readonly starts: Uint32Array;
}

/** Analyses each slice; nothing of it stays in memory. */
export function analyseEach(kernels: Kernels, arena: Arena, slices: readonly MatrixRecord[]): Analysis[] {
  return slices.map((slice) =>
    arena.frame([MATRIX.bytes, slice.rows, listBytes(slice.rows, 0)], (matrixAt, flags, list) => {
      MATRIX.write(arena.buffer, matrixAt, slice);
      const float64Rows = runAnalyse(kernels, arena, matrixAt, slice.rows, [flags, list]);
      const matrix = readMatrix(arena.buffer, matrixAt);
      const starts = new Uint32Array(arena.buffer, list, matrix.list === 0 ? 0 : slice.rows + 1).slice();
      return { matrix, float64Rows, starts };
    }),
  );
}

/**
 * Moves the subnormal codes of analysed slices to lists that stay, as the matrices do.
 * @param allocate reserves memory that stays, and gives its address
 */
export function keepLists(
  kernels: Kernels,
  arena: Arena,
  found: readonly Analysis[],
  allocate: (bytes: number) => number,
): PreparedWeights[] {
  const bytesOf = ({ starts }: Analysis) =>
    starts.length === 0 ? 0 : listBytes(starts.length - 1, starts.at(-1)!);
  const start = allocate(found.length * MATRIX.bytes + found.reduce((sum, one) => sum + bytesOf(one), 0));
  let end = start + found.length * MATRIX.bytes;
  return found.map((one, i) => {
    const { starts, float64Rows } = one;
    const matrix = { ...one.matrix, list: starts.length === 0 ? 0 : end };
    const matrixAt = start + i * MATRIX.bytes;
    MATRIX.write(arena.buffer, matrixAt, matrix);
    new Uint32Array(arena.buffer, end, starts.length).set(starts);
    end += bytesOf(one);
    kernels.listSubnormals(matrixAt);
    return { matrixAt, matrix, float64Rows };
  });
}

/**
 * Writes the codes that `keepLists` moved out of some rows back into them, or zeros again. Products must find
 * zeros there; whoever reads the rows themselves needs the codes.
 */
export function putSubnormals(
  buffer: ArrayBuffer,
  { list, codes, stride, rows }: MatrixRecord,
  first: number,
  count: number,
  put: "codes" | "zeros",
): void {
  if (list === 0) return;
  const starts = new Uint32Array(buffer, list, rows + 1);
  // The top bit of a start says that its row has too many for the list.
  const startOf = (row: number) => starts[row]! & 0x7fff_ffff;
  const entries = new Uint32Array(buffer, list + listBytes(rows, 0), startOf(rows));
  const bytes = new Uint8Array(buffer, codes, rows * stride);
  for (let row = first; row < first + count; row++)
    for (const entry of entries.subarray(startOf(row), startOf(row + 1)))
      bytes[row * stride + (entry >>> 8)] = put === "codes" ? entry & 0xff : 0;
}
