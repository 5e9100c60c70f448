import type { CheckedTensor } from "../tensor/checks.ts";
import { FORMAT_ID, SCALE_TYPE_ID, scaleTypeOf } from "../tensor/formats.ts";
import type { Grid } from "../tensor/tensor.ts";
import { MATRIX, matrixRecord } from "../wasm/matrix.ts";

/**
 * How a tensor passes through linear memory: in rectangles of whole blocks, each small enough that its values
 * and codes stay in a core's cache between the copy in, the kernel and the copy out. Working memory is that
 * of one chunk, however large the tensor; only a single block larger than a chunk needs more.
 */
export interface Chunk {
  /** Index of the chunk's first element in the tensor. */
  readonly start: number;
  readonly rows: number;
  readonly cols: number;
  /** Elements from one row of the chunk to the next; rows follow one another when it equals cols. */
  readonly stride: number;
  /** Index of the chunk's first scale, its scale rows and columns, and scales from one row to the next. */
  readonly scaleStart: number;
  readonly scaleRows: number;
  readonly scaleCols: number;
  readonly scaleStride: number;
}

/**
 * 64 Ki elements: the float32 and codes of a chunk are 320 KiB, under a third of a usual second-level cache.
 */
export const ROW_CHUNK: number = 1 << 16;

/**
 * Where a row of blocks spans many rows, 1 Mi elements (5 MiB): whole rows copied at once beat chunks of the
 * size above by two to one, for those have to be copied in pieces of a row.
 */
const TILE_CHUNK: number = 1 << 20;

/**
 * A single row of blocks may be longer than that, up to 4 Mi elements, and is still
 * faster in one piece (by a quarter to a half).
 */
const LONG_CHUNK = 1 << 22;

/** The chunks of a tensor, in the order of its memory. */
export function* chunksOf(grid: Grid): Generator<Chunk> {
  const [blockRows, blockCols] = grid.block;
  if (grid.elements === 0) return;
  if (blockRows === 1 && grid.cols % blockCols === 0) {
    yield* matrixChunks(0, 0, 1, grid.elements, 1, blockCols);
    return;
  }
  const sliceElements = grid.rows * grid.cols;
  const sliceBlocks = grid.gridRows * grid.gridCols;
  for (let slice = 0; slice < grid.slices; slice++) {
    yield* matrixChunks(
      slice * sliceElements,
      slice * sliceBlocks,
      grid.rows,
      grid.cols,
      blockRows,
      blockCols,
    );
  }
}

/** Chunks of one matrix: whole rows if a few of them fit, else pieces of one row of blocks. */
function* matrixChunks(
  start: number,
  scaleStart: number,
  rows: number,
  cols: number,
  blockRows: number,
  blockCols: number,
): Generator<Chunk> {
  const [usual, longest] = blockRows > 1 ? [TILE_CHUNK, LONG_CHUNK] : [ROW_CHUNK, ROW_CHUNK];
  const scaleStride = Math.ceil(cols / blockCols);
  const rowsOfBlocks = Math.max(1, Math.floor(usual / (blockRows * cols)));
  const colsOfBlocks = Math.max(1, Math.floor(longest / (blockRows * blockCols)));
  const height = Math.min(rows, rowsOfBlocks * blockRows);
  const width = blockRows * cols <= longest ? cols : Math.min(cols, colsOfBlocks * blockCols);
  for (let row = 0; row < rows; row += height) {
    const chunkRows = Math.min(height, rows - row);
    for (let col = 0; col < cols; col += width) {
      const chunkCols = Math.min(width, cols - col);
      yield {
        start: start + row * cols + col,
        rows: chunkRows,
        cols: chunkCols,
        stride: cols,
        scaleStart: scaleStart + (row / blockRows) * scaleStride + col / blockCols,
        scaleRows: Math.ceil(chunkRows / blockRows),
        scaleCols: Math.ceil(chunkCols / blockCols),
        scaleStride,
      };
    }
  }
}

export type Numbers = Uint8Array | Uint16Array | Float32Array;
export type Rectangle = Pick<Chunk, "start" | "rows" | "cols" | "stride">;

/** The scales of a chunk, as a rectangle of the scale array. */
export function scaleRectangle(chunk: Chunk): Rectangle {
  return { start: chunk.scaleStart, rows: chunk.scaleRows, cols: chunk.scaleCols, stride: chunk.scaleStride };
}

export function scaleView(
  scales: Uint8Array | Float32Array,
  buffer: ArrayBuffer,
  at: number,
  n: number,
): Numbers {
  return scaleTypeOf(scales) === "ue8m0" ? new Uint8Array(buffer, at, n) : new Float32Array(buffer, at, n);
}

/** Copies a rectangle of `tensor` into `contiguous`, row after row without gaps. */
export function gather(contiguous: Numbers, tensor: Numbers, { start, rows, cols, stride }: Rectangle): void {
  if (stride === cols) {
    contiguous.set(tensor.subarray(start, start + rows * cols));
    return;
  }
  for (let r = 0; r < rows; r++) {
    contiguous.set(tensor.subarray(start + r * stride, start + r * stride + cols), r * cols);
  }
}

/** Values in linear memory, of four bytes or two each. */
export function viewOf(
  buffer: ArrayBuffer,
  at: number,
  n: number,
  width: number,
): Float32Array | Uint16Array {
  return width === 4 ? new Float32Array(buffer, at, n) : new Uint16Array(buffer, at, n);
}

/** Copies a rectangle of values into linear memory. */
export function stage(
  buffer: ArrayBuffer,
  at: number,
  data: Float32Array | Uint16Array,
  part: Rectangle,
): void {
  gather(viewOf(buffer, at, part.rows * part.cols, data.BYTES_PER_ELEMENT), data, part);
}

/** Copies `contiguous` into a rectangle of `tensor`: the inverse of {@link gather}. */
export function scatter<A extends Numbers | Float64Array>(
  tensor: A,
  contiguous: A,
  { start, rows, cols, stride }: Rectangle,
): void {
  if (stride === cols) {
    tensor.set(contiguous, start);
    return;
  }
  for (let r = 0; r < rows; r++)
    tensor.set(contiguous.subarray(r * cols, r * cols + cols), start + r * stride);
}

/** Addresses of a chunk of a block-scaled tensor in linear memory. */
export type ChunkAddresses = readonly [matrix: number, codes: number, scales: number];

/** Bytes at each of the {@link ChunkAddresses}. */
export function chunkBytes(chunk: Chunk, { scales }: Pick<CheckedTensor, "scales">): ChunkAddresses {
  const blocks = chunk.scaleRows * chunk.scaleCols;
  return [MATRIX.bytes, chunk.rows * chunk.cols, blocks * scales.BYTES_PER_ELEMENT];
}

/**
 * Writes the matrix record of a chunk, whose codes and scales lie without gaps there.
 * @param part some rows of it; all if left out
 */
export function writeChunkMatrix(
  buffer: ArrayBuffer,
  [at, codes, scales]: ChunkAddresses,
  { rows, cols }: Chunk,
  tensor: Pick<CheckedTensor, "format" | "scaleType" | "grid">,
  part: { readonly firstRow: number; readonly rows: number } = { firstRow: 0, rows },
): void {
  const [format, scaleType] = [FORMAT_ID[tensor.format], SCALE_TYPE_ID[tensor.scaleType]];
  const [blockRows, blockCols] = tensor.grid.block;
  const first = codes + part.firstRow * cols;
  const matrix = matrixRecord({
    format,
    scaleType,
    codes: first,
    scales,
    cols,
    blockRows,
    blockCols,
    ...part,
  });
  MATRIX.write(buffer, at, matrix);
}

/** Copies a chunk of a tensor into linear memory. */
export function putChunk(
  buffer: ArrayBuffer,
  addresses: ChunkAddresses,
  chunk: Chunk,
  tensor: CheckedTensor,
): void {
  const [, codesAt, scalesAt] = addresses;
  const blocks = chunk.scaleRows * chunk.scaleCols;
  writeChunkMatrix(buffer, addresses, chunk, tensor);
  gather(new Uint8Array(buffer, codesAt, chunk.rows * chunk.cols), tensor.codes, chunk);
  gather(scaleView(tensor.scales, buffer, scalesAt, blocks), tensor.scales, scaleRectangle(chunk));
}
