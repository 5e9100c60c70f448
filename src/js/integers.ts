import { SCALE_TYPE_ID, type ScaleTypeId, type ValueTypeId } from "../tensor/formats.ts";
import { fp8Of } from "./fp8.ts";
import { narrow } from "./half.ts";
import type { ArrayMemory } from "./memory.ts";
import { bitsOf, floatOf, powerBits } from "./scale.ts";

const { fround } = Math;

/** Rows of weights that lie together, and columns of theirs that share a scale. */
const GROUP = 12;
const BLOCK = 32;

/** Below this, all of a block counts as 0. */
const SMALLEST = fround(1e-30);

/** Twice the values of the E2M1 codes. */
const DOUBLES = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/** The integers of a row of weights, one a column, NaN for NaN, and a scale for each block of them. */
interface Row {
  readonly integers: Float64Array;
  readonly scales: Float32Array;
}

/** The nearest integer, ties to even. */
function nearest(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Calls `put` with the integers of x[n], which begin at an index, in the range of +-most; returns the scale of this block. */
function roundBlock(
  x: Float32Array,
  at: number,
  n: number,
  most: number,
  put: (i: number, integer: number) => void,
): number {
  let amax = 0;
  for (let i = at; i < at + n; i++) amax = Math.max(amax, Math.abs(x[i]!));
  const isUsual = amax >= SMALLEST && amax < Infinity;
  const factor = isUsual ? fround(most / amax) : 0;
  for (let i = 0; i < n; i++) put(i, isUsual ? nearest(fround(x[at + i]! * factor)) : 0);
  return isUsual ? amax / most : amax < SMALLEST ? 0 : Number.NaN;
}

/** See `quantizeInt8` of `Kernels`. */
export function quantizeInt8(
  memory: ArrayMemory,
  codes: number,
  scales: number,
  offsets: number,
  x: number,
  rows: number,
  k: number,
  block: number,
): void {
  const blocks = Math.ceil(k / block);
  memory.u8.fill(0, codes, codes + rows * blocks * block);
  for (let row = 0; row < rows; row++) {
    for (let b = 0; b < blocks; b++) {
      const at = row * blocks + b;
      let sum = 0;
      const n = Math.min(block, k - b * block);
      const scale = roundBlock(memory.f32, (x >>> 2) + row * k + b * block, n, 127, (i, integer) => {
        memory.u8[codes + at * block + i] = integer;
        sum += integer;
      });
      memory.f32[(scales >>> 2) + at] = scale;
      memory.i32[(offsets >>> 2) + at] = -64 * sum;
    }
  }
}

/** See `int7Bytes` of `Kernels`. */
export function int7Bytes(n: number, k: number): number {
  return Math.ceil(n / GROUP) * GROUP * Math.ceil(k / BLOCK) * (BLOCK + 4);
}

/** See `packInt7` of `Kernels`. */
export function packInt7(
  memory: ArrayMemory,
  codes: number,
  scales: number,
  x: number,
  rows: number,
  k: number,
): void {
  const blocks = Math.ceil(k / BLOCK);
  memory.u8.fill(64, codes, codes + GROUP * BLOCK * blocks);
  for (let row = 0; row < GROUP; row++) {
    for (let b = 0; b < blocks; b++) {
      const n = row < rows ? Math.min(BLOCK, k - b * BLOCK) : 0;
      const scale = roundBlock(memory.f32, (x >>> 2) + row * k + b * BLOCK, n, 63, (i, integer) => {
        memory.u8[codes + GROUP * (b * BLOCK + (i & ~3)) + 4 * row + (i & 3)] = integer + 64;
      });
      memory.f32[(scales >>> 2) + b * GROUP + row] = scale;
    }
  }
}

/** dst[rows, n] <- x of `quantizeInt8` . rows of integers, as the builds compute it: exact sums of blocks, and float32 after them. */
function multiply(
  memory: ArrayMemory,
  type: ValueTypeId,
  dst: number,
  [x, xScales, rows]: readonly [codes: number, scales: number, rows: number],
  [n, k, block]: readonly [n: number, k: number, block: number],
  read: (row: number, into: Row) => void,
): void {
  const blocks = Math.ceil(k / block);
  const left = new Int8Array(memory.buffer, x, rows * blocks * block);
  const weights = { integers: new Float64Array(blocks * block), scales: new Float32Array(blocks) };
  for (let row = 0; row < n; row++) {
    read(row, weights);
    for (let m = 0; m < rows; m++) {
      let total = 0;
      for (let b = 0; b < blocks; b++) {
        const at = (m * blocks + b) * block;
        let sum = 0;
        for (let i = 0; i < block; i++) sum += left[at + i]! * weights.integers[b * block + i]!;
        const scale = fround(memory.f32[(xScales >>> 2) + m * blocks + b]! * weights.scales[b]!);
        total = fround(total + fround(fround(sum) * scale));
      }
      const bits = bitsOf(total + 0);
      if (type === 0) memory.i32[(dst >>> 2) + m * n + row] = bits;
      else memory.u16[(dst >>> 1) + m * n + row] = narrow(type, bits);
    }
  }
}

/** See `gemmPacked` of `Kernels`. */
export function gemmPacked(
  memory: ArrayMemory,
  form: number,
  type: ValueTypeId,
  dst: number,
  x: number,
  xScales: number,
  _offsets: number,
  rows: number,
  codes: number,
  scales: number,
  n: number,
  k: number,
  block: number,
  _work: number,
): void {
  const blocks = Math.ceil(k / block);
  const columns = blocks * block;
  multiply(memory, type, dst, [x, xScales, rows], [n, k, block], (row, into) => {
    const group = Math.floor(row / GROUP);
    const within = row % GROUP;
    for (let b = 0; b < blocks; b++)
      into.scales[b] = memory.f32[(scales >>> 2) + (group * blocks + b) * GROUP + within]!;
    for (let i = 0; i < columns; i++) {
      if (form === 0) {
        const at = codes + GROUP * (group * columns + (i & ~3)) + 4 * within + (i & 3);
        into.integers[i] = memory.u8[at]! - 64;
      } else {
        const at = codes + (GROUP * (group * columns + (i & ~7))) / 2 + 4 * within + (i & 3);
        into.integers[i] = DOUBLES[(memory.u8[at]! >> (i & 4)) & 15]!;
      }
    }
  });
}

/** See `gemmPlanes` of `Kernels`. */
export function gemmPlanes(
  memory: ArrayMemory,
  type: ValueTypeId,
  scaleType: ScaleTypeId,
  dst: number,
  x: number,
  xScales: number,
  _offsets: number,
  rows: number,
  block: number,
  codes: number,
  scales: number,
  firstRow: number,
  n: number,
  k: number,
  blockRows: number,
  blockCols: number,
  _work: number,
): void {
  const { values } = fp8Of(0);
  const gridCols = Math.ceil(k / blockCols);
  const isBytes = scaleType === SCALE_TYPE_ID.ue8m0;
  multiply(memory, type, dst, [x, xScales, rows], [n, k, block], (row, into) => {
    const first = Math.floor((firstRow + row) / blockRows) * gridCols;
    into.scales.forEach((_, b) => {
      const at = first + Math.floor((b * block) / blockCols);
      const scale = isBytes ? floatOf(powerBits(memory.u8[scales + at]!)) : memory.f32[(scales >>> 2) + at]!;
      into.scales[b] = scale / 16;
    });
    for (let i = 0; i < k; i++)
      into.integers[i] = Math.floor(16 * values[memory.u8[codes + row * k + i]!]! + 0.5);
  });
}
