import { floatsOf } from "../js/half.ts";
import { type CheckedTensor, checkValues } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { SCALE_TYPE_ID, VALUE_TYPE_ID } from "../tensor/formats.ts";
import { gridOf, type Values } from "../tensor/tensor.ts";
import { transposed } from "../tensor/transpose.ts";
import type { Arena } from "../wasm/arena.ts";
import type { Kernels } from "../wasm/kernels.ts";
import { INT7_CODES, MATRIX, type MatrixRecord, matrixRecord } from "../wasm/matrix.ts";
import type { Int8Block } from "./activations.ts";
import { putScales, typesOf } from "./right.ts";

/** Rows of weights that lie together. */
export const GROUP = 12;

/** Columns of integers of 7 bits that share a scale. */
const INT7_BLOCK = 32;

/** Where the kernels find a matrix of weights as integers, in groups of twelve rows. */
export interface IntegerWeights {
  readonly matrixAt: number;
}

/** Reserves memory of so many bytes, which stays until it is released; gives its address. */
export type Allocate = (bytes: number) => number;

/** High-precision weights `[..., N, K]`, row-major. */
export interface PlainWeights {
  readonly values: Values;
  readonly shape: readonly number[];
}

/** float32 weights [slices, rows, cols], which are not transposed. */
export interface FloatWeights {
  readonly values: Float32Array;
  readonly shape: readonly number[];
  readonly slices: number;
  readonly rows: number;
  readonly cols: number;
}

/**
 * Columns that share a scale in a product of weights in blocks of `blockCols` with int8 activations: the
 * more, the faster, as long as they fill the rows.
 * @returns undefined, if blocks of weights begin or end in the middle of sixteen columns
 */
export function integerBlockOf(blockCols: number, cols: number): Int8Block | undefined {
  const isWhole = blockCols >= cols;
  if (cols % 128 === 0 && (isWhole || blockCols % 128 === 0)) return 128;
  if (isWhole || blockCols % 32 === 0) return 32;
  return blockCols % 16 === 0 ? 16 : undefined;
}

/** High-precision weights as float32, `[..., N, K]`, transposed if they lie as `[..., K, N]`. */
export function floatWeights(weights: PlainWeights, isTransposed: boolean): FloatWeights {
  const { slices, rows, cols, elements } = gridOf("pack: w", weights.shape, [1, 1]);
  const values = floatsOf(checkValues("pack: w.values", weights.values, elements));
  const leading = weights.shape.slice(0, -2);
  if (!isTransposed) return { values, shape: [...leading, rows, cols], slices, rows, cols };
  return {
    values: transposed(values, rows, cols),
    shape: [...leading, cols, rows],
    slices,
    rows: cols,
    cols: rows,
  };
}

/** Matrices `[rows, cols]` that become integers of 7 bits as their rows come, by way of float32. */
export class Int7Packer {
  readonly #kernels: Kernels;
  readonly #arena: Arena;
  readonly #rows: number;
  readonly #cols: number;
  /** Bytes of a matrix. */
  readonly #bytes: number;
  readonly #start: number;
  readonly #matrices: number;

  constructor(
    kernels: Kernels,
    arena: Arena,
    allocate: Allocate,
    [slices, rows, cols]: readonly [number, number, number],
  ) {
    this.#kernels = kernels;
    this.#arena = arena;
    this.#rows = rows;
    this.#cols = cols;
    this.#bytes = kernels.int7Bytes(rows, cols) >>> 0;
    this.#start = allocate(slices * this.#bytes);
    this.#matrices = allocate(slices * MATRIX.bytes);
  }

  /**
   * Packs rows first .. first + count of a slice, `first` being a multiple of twelve.
   * @param read writes up to twelve rows, from `row` of the slice on, as float32 to an address
   */
  pack(
    slice: number,
    first: number,
    count: number,
    read: (values: number, row: number, count: number) => void,
  ): void {
    const { codes, scales } = this.#addressesOf(slice);
    const cols = this.#cols;
    const blocks = Math.ceil(cols / INT7_BLOCK);
    this.#arena.frame([4 * GROUP * cols], (values) => {
      for (let row = first; row < first + count; row += GROUP) {
        const n = Math.min(GROUP, first + count - row);
        read(values, row, n);
        const block = row * blocks;
        this.#kernels.packInt7(codes + INT7_BLOCK * block, scales + 4 * block, values, n, cols);
      }
    });
  }

  #addressesOf(slice: number): { codes: number; scales: number } {
    const codes = this.#start + slice * this.#bytes;
    const groups = Math.ceil(this.#rows / GROUP);
    return { codes, scales: codes + groups * GROUP * INT7_BLOCK * Math.ceil(this.#cols / INT7_BLOCK) };
  }

  /** Writes down the matrix of a slice whose rows have all come. */
  writeMatrix(slice: number): IntegerWeights & { readonly matrix: MatrixRecord } {
    const { codes, scales } = this.#addressesOf(slice);
    const matrixAt = this.#matrices + slice * MATRIX.bytes;
    const matrix = int7Matrix(codes, scales, this.#rows, this.#cols);
    MATRIX.write(this.#arena.buffer, matrixAt, matrix);
    return { matrixAt, matrix };
  }
}

/** Packs each slice as integers of 7 bits. `read` writes up to twelve rows as float32 to an address. */
function packSlices(
  kernels: Kernels,
  arena: Arena,
  allocate: Allocate,
  size: readonly [slices: number, rows: number, cols: number],
  read: (values: number, slice: number, first: number, count: number) => void,
): IntegerWeights[] {
  const packer = new Int7Packer(kernels, arena, allocate, size);
  return Array.from({ length: size[0] }, (_, slice) => {
    packer.pack(slice, 0, size[1], (values, first, count) => read(values, slice, first, count));
    return { matrixAt: packer.writeMatrix(slice).matrixAt };
  });
}

/** What `packInt7` of the kernels has made of all groups of a matrix. */
export function int7Matrix(codes: number, scales: number, rows: number, cols: number): MatrixRecord {
  const types = { format: INT7_CODES, scaleType: SCALE_TYPE_ID.f32 } as const;
  return matrixRecord({ ...types, codes, scales, rows, cols, blockCols: INT7_BLOCK });
}

/** float32[cols] at dst <- one row of integers of 7 bits, which lie as `packInt7` of the kernels says. */
export function readInt7Row(buffer: ArrayBuffer, dst: number, w: MatrixRecord, row: number): void {
  const blocks = Math.ceil(w.cols / INT7_BLOCK);
  const group = Math.floor(row / GROUP);
  const inGroup = row % GROUP;
  const size = GROUP * blocks;
  const codes = new Uint8Array(buffer, w.codes + group * size * INT7_BLOCK, size * INT7_BLOCK);
  const scales = new Float32Array(buffer, w.scales + 4 * group * size, size);
  const values = new Float32Array(buffer, dst, w.cols);
  for (let k = 0; k < w.cols; k++) {
    const code = codes[(k >> 2) * (4 * GROUP) + 4 * inGroup + (k & 3)]! - 64;
    values[k] = code * scales[Math.floor(k / INT7_BLOCK) * GROUP + inGroup]!;
  }
}

/** float32 weights as integers of 7 bits. */
export function packValuesAsInt7(
  kernels: Kernels,
  arena: Arena,
  allocate: Allocate,
  w: FloatWeights,
): IntegerWeights[] {
  const { values, slices, rows, cols } = w;
  return packSlices(kernels, arena, allocate, [slices, rows, cols], (dst, slice, first, count) => {
    const start = (slice * rows + first) * cols;
    new Float32Array(arena.buffer, dst, count * cols).set(values.subarray(start, start + count * cols));
  });
}

/** FP8 weights, and FP4 ones that have become FP8, as integers of 7 bits. */
export function packCodesAsInt7(
  kernels: Kernels,
  arena: Arena,
  allocate: Allocate,
  { format, block, codes, scales, grid }: CheckedTensor,
): IntegerWeights[] {
  const { slices, rows, cols } = grid;
  const gridCols = Math.ceil(cols / block[1]);
  const gridRows = Math.ceil(rows / block[0]);
  const types = typesOf(format, scales);
  const [blockRows, blockCols] = block;
  return packSlices(kernels, arena, allocate, [slices, rows, cols], (values, slice, first, count) => {
    const firstBlock = Math.floor(first / blockRows);
    const firstScale = (slice * gridRows + firstBlock) * gridCols;
    const endScale = (slice * gridRows + Math.ceil((first + count) / blockRows)) * gridCols;
    const ownScales = scales.subarray(firstScale, endScale);
    arena.frame([MATRIX.bytes, count * cols, ownScales.byteLength], (matrixAt, codesAt, scalesAt) => {
      const start = (slice * rows + first) * cols;
      new Uint8Array(arena.buffer, codesAt, count * cols).set(codes.subarray(start, start + count * cols));
      putScales(arena.buffer, scalesAt, ownScales);
      const firstRow = first - firstBlock * blockRows;
      const addresses = { codes: codesAt, scales: scalesAt, firstRow };
      MATRIX.write(
        arena.buffer,
        matrixAt,
        matrixRecord({ ...types, ...addresses, rows: count, cols, blockRows, blockCols }),
      );
      kernels.dequantize(matrixAt, VALUE_TYPE_ID.f32, values);
    });
  });
}

/** Why weights have no products with int8 activations. */
export function noInt8Products(where: string, reason: "format" | "blocks", got: string): BlockscaleError {
  const expected =
    reason === "format"
      ? "E4M3, E2M3 or E2M1 codes: those of E5M2 take more than the two planes of 7 bits"
      : "blocks of a multiple of 16 columns";
  return new BlockscaleError("option", {
    where,
    expected,
    got,
    fix: 'Use activations "f32", or pack the weights as integers: pack(w, { weights: "int7" }).',
  });
}
