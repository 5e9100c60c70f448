import { FORMAT_ID, SCALE_TYPE_ID, type ValueTypeId } from "../tensor/formats.ts";
import { BF16_SCALES, INT7_CODES, type MatrixRecord, readMatrix } from "../wasm/matrix.ts";
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

/**
 * Rounds n values of x, from index `from` on, to integers from -most to most, and calls `put` with each;
 * returns the scale of this block.
 */
function roundBlock(
  x: Float32Array,
  from: number,
  n: number,
  most: number,
  put: (i: number, integer: number) => void,
): number {
  let amax = 0;
  for (let i = from; i < from + n; i++) amax = Math.max(amax, Math.abs(x[i]!));
  const isUsual = amax >= SMALLEST && amax < Infinity;
  const factor = isUsual ? fround(most / amax) : 0;
  for (let i = 0; i < n; i++) put(i, isUsual ? nearest(fround(x[from + i]! * factor)) : 0);
  return isUsual ? amax / most : amax < SMALLEST ? 0 : Number.NaN;
}

/** See `quantizeInt8` of `Kernels`. */
export function quantizeInt8(
  memory: ArrayMemory,
  matrixAt: number,
  first: number,
  x: number,
  rows: number,
): void {
  const { codes, scales, offsets, cols: k, blockCols: block } = readMatrix(memory.buffer, matrixAt);
  const blocks = Math.ceil(k / block);
  const firstBlock = first * blocks;
  memory.u8.fill(0, codes + firstBlock * block, codes + (firstBlock + rows * blocks) * block);
  for (let row = 0; row < rows; row++) {
    for (let b = 0; b < blocks; b++) {
      const at = firstBlock + row * blocks + b;
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

/** Reads a row of weights: `blocks` blocks of `block` columns. */
type Read = (row: number, into: Row, blocks: number, block: number) => void;

/**
 * See `gemmIntegers` of `Kernels`: exact sums of blocks, and float32 after them, as the builds compute it.
 */
export function gemmIntegers(
  memory: ArrayMemory,
  weightsAt: number,
  type: ValueTypeId,
  dst: number,
  xAt: number,
  first: number,
  rows: number,
  _work: number,
): void {
  const weights = readMatrix(memory.buffer, weightsAt);
  const x = readMatrix(memory.buffer, xAt);
  const { rows: n, cols: k } = weights;
  const block = x.blockCols;
  const blocks = Math.ceil(k / block);
  const read = weights.format === FORMAT_ID.e4m3 ? planesOf(memory, weights) : groupsOf(memory, weights);
  const left = new Int8Array(memory.buffer, x.codes + first * blocks * block, rows * blocks * block);
  const xScales = (x.scales >>> 2) + first * blocks;
  const row = { integers: new Float64Array(blocks * block), scales: new Float32Array(blocks) };
  for (let i = 0; i < n; i++) {
    read(i, row, blocks, block);
    for (let m = 0; m < rows; m++) {
      let total = 0;
      for (let b = 0; b < blocks; b++) {
        const from = (m * blocks + b) * block;
        let sum = 0;
        for (let j = 0; j < block; j++) sum += left[from + j]! * row.integers[b * block + j]!;
        const scale = fround(memory.f32[xScales + m * blocks + b]! * row.scales[b]!);
        total = fround(total + fround(fround(sum) * scale));
      }
      const bits = bitsOf(total + 0);
      if (type === 0) memory.i32[(dst >>> 2) + m * n + i] = bits;
      else memory.u16[(dst >>> 1) + m * n + i] = narrow(type, bits);
    }
  }
}

/** Integers of 7 bits and E2M1 codes, which lie in groups of twelve rows. */
function groupsOf({ u8, u16, f32 }: ArrayMemory, { format, scaleType, codes, scales }: MatrixRecord): Read {
  const scaleOf = (i: number): number =>
    scaleType === BF16_SCALES ? floatOf(u16[(scales >>> 1) + i]! << 16) : f32[(scales >>> 2) + i]!;
  return (row, into, blocks, block) => {
    const columns = blocks * block;
    const group = Math.floor(row / GROUP);
    const within = row % GROUP;
    for (let b = 0; b < blocks; b++) into.scales[b] = scaleOf((group * blocks + b) * GROUP + within);
    for (let i = 0; i < columns; i++) {
      if (format === INT7_CODES) {
        const at = codes + GROUP * (group * columns + (i & ~3)) + 4 * within + (i & 3);
        into.integers[i] = u8[at]! - 64;
      } else {
        const at = codes + (GROUP * (group * columns + (i & ~7))) / 2 + 4 * within + (i & 3);
        into.integers[i] = DOUBLES[(u8[at]! >> (i & 4)) & 15]!;
      }
    }
  };
}

/** E4M3 codes in sixteenths of their scale. */
function planesOf({ u8, f32 }: ArrayMemory, matrix: MatrixRecord): Read {
  const { codes, scales, scaleType, firstRow, cols, blockRows, blockCols } = matrix;
  const { values } = fp8Of(FORMAT_ID.e4m3);
  const gridCols = Math.ceil(cols / blockCols);
  const isBytes = scaleType === SCALE_TYPE_ID.ue8m0;
  return (row, into, _blocks, block) => {
    const first = Math.floor((firstRow + row) / blockRows) * gridCols;
    into.scales.forEach((_, b) => {
      const at = first + Math.floor((b * block) / blockCols);
      const scale = isBytes ? floatOf(powerBits(u8[scales + at]!)) : f32[(scales >>> 2) + at]!;
      into.scales[b] = scale / 16;
    });
    for (let i = 0; i < cols; i++)
      into.integers[i] = Math.floor(16 * values[u8[codes + row * cols + i]!]! + 0.5);
  };
}
