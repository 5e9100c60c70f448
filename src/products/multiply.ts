import { narrow } from "../js/half.ts";
import { bitsOf } from "../js/scale.ts";
import { VALUE_TYPE_ID } from "../tensor/formats.ts";
import type { BlockScaled, Format } from "../tensor/tensor.ts";
import type { Arena } from "../wasm/arena.ts";
import type { Kernels } from "../wasm/kernels.ts";
import { MATRIX, matrixRecord } from "../wasm/matrix.ts";
import { Int8Activations, type Int8Block } from "./activations.ts";
import type { Left } from "./left.ts";
import { ResidentMatrix } from "./resident.ts";
import { MARGIN, mostListBytes, type PreparedWeights, putScales, runAnalyse, typesOf } from "./right.ts";

/** The size of a right operand. */
interface RightShape {
  /** `[..., N, K]` */
  readonly shape: readonly number[];
  readonly slices: number;
  readonly rows: number;
  readonly cols: number;
}

/** The size, format and block of a right operand of codes. */
interface RightCodes extends RightShape {
  readonly format: Format;
  readonly block: readonly [number, number];
}

/** A right operand of codes that is in the engine's memory, slice by slice. */
export interface PackedCodes extends RightCodes {
  readonly kind: "packedCodes";
  readonly weights: readonly PreparedWeights[];
  /** How products round x for them, unless a product says otherwise. */
  readonly activations: "f32" | "int8" | "auto" | undefined;
}

/** A right operand of codes that is copied into memory a chunk at a time. */
export interface StreamedCodes extends RightCodes, Pick<BlockScaled, "codes" | "scales"> {
  readonly kind: "streamed";
}

/** Weights in memory for products with int8 activations alone. */
export interface PackedIntegers extends RightShape {
  readonly kind: "packedInt7" | "packedFp4";
  /** Where the kernels find the matrix of each slice. */
  readonly weights: readonly { readonly matrixAt: number }[];
  /** Columns of x that share a scale. */
  readonly xBlockCols: Int8Block;
}

export type Right = PackedCodes | StreamedCodes | PackedIntegers;

/** A product that is being computed. */
export interface Product {
  readonly kernels: Kernels;
  readonly arena: Arena;
  readonly left: Left;
  readonly right: Right;
  /** An array, or a matrix in the engine's memory, which the kernels write into where they can. */
  readonly out: Float32Array | Uint16Array | ResidentMatrix;
  readonly type: "f32" | "bf16";
}

/** Rows of x that follow one another and meet the same slice of w. */
export interface SliceRows {
  readonly start: number;
  readonly end: number;
  readonly slice: number;
}

/**
 * Codes copied in at a time. 1 Mi stay in a cache while they are used; 16 Mi pay where many rows of x share
 * one copy.
 */
const CHUNK_CODES = 2 ** 20;
const LARGE_CHUNK_CODES = 2 ** 24;

/** Rows of x in memory at a time; about those of a pass of the kernel, TILES * Tile.rows: 160 or 192. */
const STAGED_X_ROWS = 192;

/** Elements of x and the result that are in memory at a time. */
const MOST_ELEMENTS = 2 ** 23;

/** out[start .. end, N] <- the same rows of x . w[slice]^T, with start, end and slice of `sliceRows` */
export function multiply(product: Product, sliceRows: SliceRows): void {
  const { kernels, arena, left, right, out, type } = product;
  const { rows: n, cols: k } = right;
  const m = sliceRows.end - sliceRows.start;
  if (m === 0 || n === 0) return;
  const limit = m <= STAGED_X_ROWS ? CHUNK_CODES : LARGE_CHUNK_CODES;
  const chunkRows =
    right.kind !== "streamed" ? n : Math.min(n, Math.max(8, Math.floor(limit / Math.max(1, k)) & ~7));
  const mostRows = Math.max(STAGED_X_ROWS, Math.floor(MOST_ELEMENTS / (k + chunkRows)));
  // Passes of about the same height: which kernel does a row depends on m, not on what is left for the last
  // pass.
  const passRows = Math.ceil(m / Math.ceil(m / mostRows));
  for (let first = 0; first < n; first += chunkRows) {
    const rows = Math.min(chunkRows, n - first);
    const isInMemory = left.values instanceof ResidentMatrix || left.values instanceof Int8Activations;
    const sizes = [
      isInMemory ? 0 : 4 * passRows * k,
      8 * k,
      out instanceof ResidentMatrix && rows === n ? 0 : (type === "f32" ? 4 : 2) * passRows * rows,
      (left.values instanceof Int8Activations
        ? kernels.integerWorkspace(passRows)
        : kernels.gemmWorkspace(passRows, k)) >>> 0,
    ] as const;
    arena.frame(sizes, (x, float64Row, dst, work) =>
      withRows(product, sliceRows.slice, first, rows, (weights) => {
        for (let start = sliceRows.start; start < sliceRows.end; start += passRows) {
          const end = Math.min(start + passRows, sliceRows.end);
          multiplyPass(product, weights, first, { start, end }, [x, dst, work]);
        }
        if ("matrix" in weights && (weights.float64Rows.length > 0 || left.float64Values.size > 0))
          multiplyFloat64Rows(product, weights, first, sliceRows, float64Row);
      }),
    );
  }
}

/**
 * Calls `body` with rows first .. first + rows of a slice of the weights, which are taken into memory for
 * that time unless they are there.
 */
function withRows(
  { kernels, arena, right }: Product,
  slice: number,
  first: number,
  rows: number,
  body: (weights: PreparedWeights | { readonly matrixAt: number }) => void,
): void {
  if (right.kind !== "streamed") body(right.weights[slice]!);
  else
    arena.frame(stagedSizes(right, rows), (...addresses) =>
      body(stage(kernels, arena, right, slice, first, rows, addresses)),
    );
}

/** Addresses of rows of a record in memory, and of what `analyse` needs; or the bytes of each. */
type Staging = readonly [matrixAt: number, codes: number, scales: number, flags: number, list: number];

/** Bytes for `rows` rows of a record: the matrix, its codes and scales, and what `analyse` needs. */
function stagedSizes({ cols, block, scales }: StreamedCodes, rows: number): Staging {
  // Rows that begin inside of a block reach into one more.
  const scaleRows = Math.ceil(rows / block[0]) + 1;
  return [
    MATRIX.bytes,
    rows * cols + MARGIN,
    scaleRows * Math.ceil(cols / block[1]) * scales.BYTES_PER_ELEMENT,
    rows,
    mostListBytes(rows, cols),
  ];
}

/** Takes rows first .. first + rows of a slice into memory. */
function stage(
  kernels: Kernels,
  arena: Arena,
  right: StreamedCodes,
  slice: number,
  first: number,
  rows: number,
  [matrixAt, codes, scales, flags, list]: Staging,
): PreparedWeights {
  const { rows: n, cols, block } = right;
  const start = (slice * n + first) * cols;
  new Uint8Array(arena.buffer, codes, rows * cols).set(right.codes.subarray(start, start + rows * cols));
  const gridCols = Math.ceil(cols / block[1]);
  const sliceTop = slice * Math.ceil(n / block[0]);
  const top = (sliceTop + Math.floor(first / block[0])) * gridCols;
  const bottom = (sliceTop + Math.ceil((first + rows) / block[0])) * gridCols;
  putScales(arena.buffer, scales, right.scales.subarray(top, bottom));
  const [blockRows, blockCols] = block;
  const types = typesOf(right.format, right.scales);
  const firstRow = first % blockRows;
  const matrix = matrixRecord({ ...types, codes, scales, firstRow, rows, cols, blockRows, blockCols });
  MATRIX.write(arena.buffer, matrixAt, matrix);
  const float64Rows = runAnalyse(kernels, arena, matrixAt, rows, [flags, list]);
  kernels.listSubnormals(matrixAt);
  return { matrixAt, matrix, float64Rows };
}

/** out[start .. end, first .. first + rows of the weights] <- rows start .. end of x . weights^T */
function multiplyPass(
  product: Product,
  weights: PreparedWeights | { readonly matrixAt: number },
  first: number,
  { start, end }: { readonly start: number; readonly end: number },
  [x, dst, work]: readonly [x: number, dst: number, work: number],
): void {
  const { kernels, arena, left, right, out, type } = product;
  const rows = "matrix" in weights ? weights.matrix.rows : right.rows;
  const { cols } = right;
  const m = end - start;
  const n = right.rows;
  const isInPlace = out instanceof ResidentMatrix && rows === n;
  const target = isInPlace ? out.address("gemm: out") + 4 * start * n : dst;
  if (left.values instanceof Int8Activations) {
    kernels.gemmIntegers(weights.matrixAt, VALUE_TYPE_ID[type], target, left.values.matrixAt, start, m, work);
  } else {
    let source = x;
    if (left.values instanceof ResidentMatrix) source = left.values.address("gemm: x") + 4 * start * cols;
    else new Float32Array(arena.buffer, x, m * cols).set(left.values.subarray(start * cols, end * cols));
    kernels.gemm(weights.matrixAt, VALUE_TYPE_ID[type], target, source, m, work);
  }
  if (isInPlace) return;
  const array = arrayOf(out);
  const result =
    type === "f32"
      ? new Float32Array(arena.buffer, dst, m * rows)
      : new Uint16Array(arena.buffer, dst, m * rows);
  if (rows === n) array.set(result, start * n);
  else
    for (let row = 0; row < m; row++)
      array.set(result.subarray(row * rows, (row + 1) * rows), (start + row) * n + first);
}

/**
 * The results that the kernel `gemm` does not compute: those of rows of the weights that need float64, and
 * all results of rows of x that need it.
 * @param float64Row working memory for a row of float64
 */
function multiplyFloat64Rows(
  { kernels, arena, left, right, out, type }: Product,
  { matrixAt, matrix, float64Rows }: PreparedWeights,
  first: number,
  sliceRows: SliceRows,
  float64Row: number,
): void {
  const { rows, cols } = matrix;
  const staged = new Float64Array(arena.buffer, float64Row, cols);
  const array = arrayOf(out);
  const { values } = left;
  const rowOf = (m: number): ArrayLike<number> => {
    if (values instanceof Int8Activations) return values.row(m);
    const all = values instanceof ResidentMatrix ? values.view("gemm: x") : values;
    return all.subarray(m * cols, (m + 1) * cols);
  };
  const compute = (m: number, row: number): void => {
    const exact = kernels.dotFloat64(matrixAt, float64Row, row);
    // As in the kernels, what underflows is 0 and not -0.
    const sum = Math.fround(exact) + 0;
    array[m * right.rows + first + row] = type === "f32" ? sum : narrow(VALUE_TYPE_ID.bf16, bitsOf(sum));
  };
  for (let m = sliceRows.start; m < sliceRows.end; m++) {
    const exact = left.float64Values.get(m);
    staged.set(exact ?? rowOf(m));
    if (exact === undefined) for (const row of float64Rows) compute(m, row);
    else for (let row = 0; row < rows; row++) compute(m, row);
  }
}

/**
 * The result as an array; of a matrix in memory a view, which must not outlive the next growth of that
 * memory.
 */
function arrayOf(out: Product["out"]): Float32Array | Uint16Array {
  return out instanceof ResidentMatrix ? out.view("gemm: out") : out;
}
