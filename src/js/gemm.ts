import { type FormatId, SCALE_TYPE_ID, VALUE_TYPE_ID, type ValueTypeId } from "../tensor/formats.ts";
import { type MatrixRecord, readMatrix } from "../wasm/matrix.ts";
import { fp8Of } from "./fp8.ts";
import { narrow } from "./half.ts";
import type { ArrayMemory } from "./memory.ts";
import { bitsOf, floatOf, powerBits } from "./scale.ts";

/** out[K] <- the values of a row as float64, where a code times a scale is exact. */
function decodeRow(memory: ArrayMemory, out: Float64Array, matrix: MatrixRecord, row: number): void {
  const { codes, scales, scaleType, firstRow, cols, blockRows, blockCols } = matrix;
  const { values } = fp8Of(matrix.format as FormatId);
  const isBytes = scaleType === SCALE_TYPE_ID.ue8m0;
  const first = codes + row * cols;
  const scaleRow = Math.floor((firstRow + row) / blockRows) * Math.ceil(cols / blockCols);
  let at = (isBytes ? scales : scales >>> 2) + scaleRow;
  for (let from = 0; from < cols; from += blockCols) {
    const scale = isBytes ? floatOf(powerBits(memory.u8[at++]!)) : memory.f32[at++]!;
    const end = Math.min(cols, from + blockCols);
    for (let i = from; i < end; i++) out[i] = values[memory.u8[first + i]!]! * scale;
  }
}

function dot(x: Float32Array | Float64Array, from: number, w: Float64Array, k: number): number {
  let a = 0;
  let b = 0;
  let i = 0;
  // Two sums that do not wait for each other.
  for (; i <= k - 2; i += 2) {
    a += x[from + i]! * w[i]!;
    b += x[from + i + 1]! * w[i + 1]!;
  }
  return i < k ? a + b + x[from + i]! * w[i]! : a + b;
}

/** See `gemm` of `Kernels`; sums are float64 here. */
export function gemm(
  memory: ArrayMemory,
  matrixAt: number,
  type: ValueTypeId,
  dst: number,
  x: number,
  rows: number,
  work: number,
): void {
  const matrix = readMatrix(memory.buffer, matrixAt);
  const { rows: n, cols: k } = matrix;
  const w = new Float64Array(memory.buffer, work, k);
  for (let row = 0; row < n; row++) {
    decodeRow(memory, w, matrix, row);
    for (let m = 0; m < rows; m++) {
      // What underflows is 0, as in the other builds, and not -0.
      const bits = bitsOf(Math.fround(dot(memory.f32, (x >>> 2) + m * k, w, k)) + 0);
      const at = m * n + row;
      if (type === VALUE_TYPE_ID.f32) memory.i32[(dst >>> 2) + at] = bits;
      else memory.u16[(dst >>> 1) + at] = narrow(type, bits);
    }
  }
}

/** See `dotFloat64` of `Kernels`. */
export function dotFloat64(memory: ArrayMemory, matrixAt: number, x: number, row: number): number {
  const matrix = readMatrix(memory.buffer, matrixAt);
  const w = new Float64Array(matrix.cols);
  decodeRow(memory, w, matrix, row);
  return dot(new Float64Array(memory.buffer, x, matrix.cols), 0, w, matrix.cols);
}
