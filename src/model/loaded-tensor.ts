import { readInt7Row } from "../products/pack-integers.ts";
import { type PreparedWeights, putSubnormals } from "../products/right.ts";
import type { FormatId, ScaleTypeId, ValueTypeId } from "../tensor/formats.ts";
import { VALUE_TYPE_ID } from "../tensor/formats.ts";
import type { Arena } from "../wasm/arena.ts";
import { type MatrixRecord, matrixRecord, withMatrix } from "../wasm/matrix.ts";
import type { ModelKernels } from "./kernels.ts";
import type { Range } from "./team.ts";

/** The rows of a tensor that one member holds, before any of its bytes have come. A plain record. */
export interface DeclaredRows {
  readonly key: string;
  /** The name of the tensor in the checkpoint. */
  readonly name: string;
  /** Matrices of `[rows, cols]` in it: the experts of a stack, else 1. */
  readonly slices: number;
  readonly cols: number;
  /** Whether it is multiplied by, and is no router: only such weights may become integers. */
  readonly isMultiplied: boolean;
  /** Which rows of each slice these are, of how many. */
  readonly range: Range;
  readonly totalRows: number;
  readonly inFile:
    | { readonly kind: "plain"; readonly type: ValueTypeId }
    | {
        readonly kind: "scaled";
        readonly format: FormatId;
        /** Codes of four or six bits, which have become E4M3 codes of the same values. */
        readonly isSubByte?: boolean;
        readonly scaleType: ScaleTypeId;
        readonly block: readonly [number, number];
      };
}

/** Rows of a slice of a declared tensor: codes or values, and the scales of all blocks that they touch. */
export interface LoadedRows {
  readonly key: string;
  readonly slice: number;
  /** Index of the first of them in the tensor; `first - range.start` is a multiple of twelve. */
  readonly first: number;
  readonly values: Uint8Array;
  readonly scales: Uint8Array | null;
}

/** A tensor in memory. */
export interface LoadedTensor {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly range: Range;
  readonly totalRows: number;
  /** Whether the file has codes of less than a byte. */
  readonly isSubByte: boolean;
  readonly slices: readonly Slice[];
}

export type Slice =
  | ({ readonly kind: "scaled" } & PreparedWeights)
  | PlainSlice
  /**
   * Integers of 7 bits in groups of twelve rows: see `packInt7` of the kernels. `matrixAt`: the address of
   * their matrix.
   */
  | { readonly kind: "int7"; readonly matrixAt: number; readonly matrix: MatrixRecord };

interface PlainSlice {
  readonly kind: "plain";
  readonly type: ValueTypeId;
  readonly start: number;
}

/** A slice in memory in the form that it has in the file. */
export type FileSlice = PlainSlice | { readonly kind: "scaled"; readonly matrix: MatrixRecord };

/** Bytes of a value or code. */
export function widthOf(inFile: DeclaredRows["inFile"] | FileSlice): number {
  if (inFile.kind === "scaled") return 1;
  return inFile.type === VALUE_TYPE_ID.f32 ? 4 : 2;
}

/** Bytes of the scales of a row of blocks. */
export function scaleRowOf(inFile: DeclaredRows["inFile"], cols: number): number {
  if (inFile.kind === "plain") return 0;
  return Math.ceil(cols / inFile.block[1]) * (inFile.scaleType === 0 ? 1 : 4);
}

/** Describes rows in memory at `start`, the first of which is row `first` of the tensor. */
export function fileSliceAt(
  { inFile, cols }: DeclaredRows,
  { start, scales, first, rows }: { start: number; scales: number; first: number; rows: number },
): FileSlice {
  if (inFile.kind === "plain") return { kind: "plain", type: inFile.type, start };
  const { format, scaleType } = inFile;
  const [blockRows, blockCols] = inFile.block;
  const firstRow = first % blockRows;
  const matrix = { format, scaleType, codes: start, scales, firstRow, rows, cols, blockRows, blockCols };
  return { kind: "scaled", matrix: matrixRecord(matrix) };
}

/**
 * dst[rows, cols] <- rows `first` and on of a slice as float32: halves are widened, codes and integers
 * dequantised. The listed subnormal codes are written back for that time.
 */
export function readRowsAsFloat32(
  kernels: ModelKernels,
  arena: Arena,
  dst: number,
  slice: FileSlice | Slice,
  first: number,
  rows: number,
  cols: number,
): void {
  if (slice.kind === "int7") {
    for (let i = 0; i < rows; i++) readInt7Row(arena.buffer, dst + 4 * i * cols, slice.matrix, first + i);
  } else if (slice.kind === "plain")
    kernels.widen(slice.type, dst, slice.start + first * cols * widthOf(slice), rows * cols);
  else {
    const { matrix } = slice;
    const codes = matrix.codes + first * matrix.stride;
    const part = { ...matrix, codes, firstRow: matrix.firstRow + first, rows };
    putSubnormals(arena.buffer, matrix, first, rows, "codes");
    withMatrix(arena, part, (at) => kernels.dequantize(at, VALUE_TYPE_ID.f32, dst));
    putSubnormals(arena.buffer, matrix, first, rows, "zeros");
  }
}
