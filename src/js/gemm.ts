import { SCALE_TYPE_ID, type ScaleTypeId, VALUE_TYPE_ID, type ValueTypeId } from "../tensor/formats.ts";
import type { Fp8 } from "./fp8.ts";
import { narrow } from "./half.ts";
import type { ArrayMemory } from "./memory.ts";
import { bitsOf, floatOf, powerBits } from "./scale.ts";

/** A row of the right operand: its codes, its first scale (an index into the view of their type), and their block. */
interface Row {
  readonly codes: number;
  readonly scales: number;
  readonly scaleType: ScaleTypeId;
  readonly k: number;
  readonly blockCols: number;
}

/** out[k] <- the values of a row as float64, where a code times a scale is exact. */
function decodeRow(memory: ArrayMemory, { values }: Fp8, out: Float64Array, row: Row): void {
  const { codes, scaleType, k, blockCols } = row;
  let at = row.scales;
  for (let from = 0; from < k; from += blockCols) {
    const scale =
      scaleType === SCALE_TYPE_ID.ue8m0 ? floatOf(powerBits(memory.u8[at++]!)) : memory.f32[at++]!;
    const end = Math.min(k, from + blockCols);
    for (let i = from; i < end; i++) out[i] = values[memory.u8[codes + i]!]! * scale;
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
  format: Fp8,
  type: ValueTypeId,
  scaleType: ScaleTypeId,
  dst: number,
  x: number,
  rows: number,
  codes: number,
  scales: number,
  firstRow: number,
  n: number,
  k: number,
  blockRows: number,
  blockCols: number,
  _list: number,
  _lowestScale: number,
  _highestScale: number,
  work: number,
): void {
  const first = scaleType === SCALE_TYPE_ID.ue8m0 ? scales : scales >>> 2;
  const gridCols = Math.ceil(k / blockCols);
  const w = new Float64Array(memory.buffer, work, k);
  for (let row = 0; row < n; row++) {
    const scaleRow = first + Math.floor((firstRow + row) / blockRows) * gridCols;
    decodeRow(memory, format, w, { codes: codes + row * k, scales: scaleRow, scaleType, k, blockCols });
    for (let m = 0; m < rows; m++) {
      // What underflows is 0, as in the other builds, and not -0.
      const bits = bitsOf(Math.fround(dot(memory.f32, (x >>> 2) + m * k, w, k)) + 0);
      const at = m * n + row;
      if (type === VALUE_TYPE_ID.f32) memory.i32[(dst >>> 2) + at] = bits;
      else memory.u16[(dst >>> 1) + at] = narrow(type, bits);
    }
  }
}

/** See `dotFar` of `Kernels`. */
export function dotFar(
  memory: ArrayMemory,
  format: Fp8,
  scaleType: ScaleTypeId,
  x: number,
  row: number,
  codes: number,
  scales: number,
  firstRow: number,
  _n: number,
  k: number,
  blockRows: number,
  blockCols: number,
  _list: number,
): number {
  const w = new Float64Array(k);
  const first = scaleType === SCALE_TYPE_ID.ue8m0 ? scales : scales >>> 2;
  const scaleRow = first + Math.floor((firstRow + row) / blockRows) * Math.ceil(k / blockCols);
  decodeRow(memory, format, w, { codes: codes + row * k, scales: scaleRow, scaleType, k, blockCols });
  return dot(new Float64Array(memory.buffer, x, k), 0, w, k);
}
