/**
 * `blockscale/scale-layouts`: scales as GPU kernels want them. Rearrangements, each with its inverse, of
 * row-major UE8M0 bytes or float32 multipliers `[rows, cols]`: one row per row (or block of rows) of the
 * matrix, one column per block along K. Padding is 0.
 * @module
 */
import { checkArray } from "./checks.ts";
import { BlockscaleError } from "./errors.ts";

/**
 * Rows in whole vectors of 16 bytes, as the tensor memory accelerator
 * reads them: DeepGEMM's get_tma_aligned_size.
 */
function alignedRows(rows: number): number {
  return Math.ceil(rows / 4) * 4;
}

/**
 * Rows and columns of a matrix of scales: `[ceil(N / r), ceil(K / c)]`
 * for a tensor [N, K] in blocks of [r, c].
 */
export type GridSize = readonly [rows: number, cols: number];

function checkSize(where: string, size: GridSize): GridSize {
  const isSize =
    Array.isArray(size) && size.length === 2 && size.every((n) => Number.isSafeInteger(n) && n >= 0);
  // No zero hides an absurd size: [2^40, 0] is refused as well.
  if (isSize && Math.max(1, size[0]) * Math.max(1, size[1]) <= 2 ** 31) return size;
  throw new BlockscaleError("shape", {
    where: `${where}: size`,
    expected: "[rows, cols] of the scales, at most 2^31 of them",
    got: Array.isArray(size) ? `[${size.join(", ")}]` : String(size),
    fix: "For a tensor [N, K] in blocks of [r, c] that is [ceil(N / r), ceil(K / c)].",
  });
}

/**
 * Four UE8M0 bytes of a row in an int32, the first one lowest: `[rows, ceil(cols / 4)]`.
 * DeepGEMM's pack_ue8m0_to_int.
 */
export function packScales(scales: Uint8Array, size: GridSize): Int32Array {
  const [rows, cols] = checkSize("packScales", size);
  checkArray("packScales: scales", scales, "Uint8Array", rows * cols);
  const words = Math.ceil(cols / 4);
  const packed = new Int32Array(rows * words);
  scales.forEach((byte, i) => {
    const col = i % cols;
    packed[((i - col) / cols) * words + (col >> 2)]! |= byte << (8 * (col & 3));
  });
  return packed;
}

/** The inverse of {@link packScales}. */
export function unpackScales(packed: Int32Array, size: GridSize): Uint8Array {
  const [rows, cols] = checkSize("unpackScales", size);
  const words = Math.ceil(cols / 4);
  checkArray("unpackScales: packed", packed, "Int32Array", rows * words);
  return Uint8Array.from({ length: rows * cols }, (_, i) => {
    const col = i % cols;
    return packed[((i - col) / cols) * words + (col >> 2)]! >>> (8 * (col & 3));
  });
}

/**
 * Column by column, each padded to a multiple of four rows: element [i, j] is at `j * ceil4(rows) + i`.
 * For float32 multipliers DeepGEMM's get_mn_major_tma_aligned_tensor; with {@link packScales} before it,
 * get_mn_major_tma_aligned_packed_ue8m0_tensor.
 */
export function toMnMajor<T extends Float32Array | Int32Array>(scales: T, size: GridSize): T {
  const [rows, cols] = checkSize("toMnMajor", size);
  checkArray("toMnMajor: scales", scales, nameOf(scales), rows * cols);
  const stride = alignedRows(rows);
  const out = new (scales.constructor as new (length: number) => T)(stride * cols);
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) out[col * stride + row] = scales[row * cols + col]!;
  }
  return out;
}

/** The inverse of {@link toMnMajor}. */
export function fromMnMajor<T extends Float32Array | Int32Array>(scales: T, size: GridSize): T {
  const [rows, cols] = checkSize("fromMnMajor", size);
  const stride = alignedRows(rows);
  checkArray("fromMnMajor: scales", scales, nameOf(scales), stride * cols);
  const out = new (scales.constructor as new (length: number) => T)(rows * cols);
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) out[row * cols + col] = scales[col * stride + row]!;
  }
  return out;
}

function nameOf(scales: Float32Array | Int32Array): "Int32Array" | "Float32Array" {
  return scales instanceof Int32Array ? "Int32Array" : "Float32Array";
}

const TILE_ROWS = 128;
const TILE_COLS = 4;
const TILE = TILE_ROWS * TILE_COLS;

/**
 * Index of the scale [row, col]: tiles of 128 x 4 in the order of rows, and within
 * a tile four rows, 32 apart, side by side.
 */
function swizzledIndex(row: number, col: number, tilesAcross: number): number {
  const tile = Math.floor(row / TILE_ROWS) * tilesAcross + Math.floor(col / TILE_COLS);
  const inTile = row % TILE_ROWS;
  return tile * TILE + (inTile % 32) * 16 + Math.floor(inTile / 32) * 4 + (col % TILE_COLS);
}

/** The 128x4 swizzle of UE8M0 bytes that cuBLAS wants for MX operands: torchao's to_blocked. */
export function swizzleScales(scales: Uint8Array, size: GridSize): Uint8Array {
  const [rows, cols] = checkSize("swizzleScales", size);
  checkArray("swizzleScales: scales", scales, "Uint8Array", rows * cols);
  const across = Math.ceil(cols / TILE_COLS);
  const out = new Uint8Array(Math.ceil(rows / TILE_ROWS) * across * TILE);
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) out[swizzledIndex(row, col, across)] = scales[row * cols + col]!;
  }
  return out;
}

/** The inverse of {@link swizzleScales}. */
export function unswizzleScales(swizzled: Uint8Array, size: GridSize): Uint8Array {
  const [rows, cols] = checkSize("unswizzleScales", size);
  const across = Math.ceil(cols / TILE_COLS);
  checkArray(
    "unswizzleScales: swizzled",
    swizzled,
    "Uint8Array",
    Math.ceil(rows / TILE_ROWS) * across * TILE,
  );
  return Uint8Array.from({ length: rows * cols }, (_, i) => {
    const col = i % cols;
    return swizzled[swizzledIndex((i - col) / cols, col, across)]!;
  });
}
