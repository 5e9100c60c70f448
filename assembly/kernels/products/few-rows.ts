import { Range, Shifted } from "../../lanes/shifted";
import { Simd } from "../../lanes/simd";
import { Scratch } from "../scratch";
import { storeResult } from "../values";
import { dot1, dot1Of32, dot2, dot3, roomOf32, Terms } from "./dot";
import { Weights } from "./right-operand";
import { multiplyDense, roomOfDense } from "./subnormal-rows";
import { Subnormals } from "./subnormals";

/** Up to this many rows of x, decoding the weights to memory does not pay. */
export const FEW: usize = 8;

/** The most rows of x that are multiplied in one pass. */
const DOT_ROWS: usize = 3;

/** From blocks of so many rows on, x is scaled for each row of blocks: that costs what a row or two of weights do. */
const FOLDED_ROWS: usize = 32;

/** Where the scales go: into each sum of a block, or into x before it meets the codes. */
const PER_BLOCK: i32 = 1;
const FOLDED: i32 = 2;

/** Room for the highest exponent of each row of x, for the lift of each in a pass, for the sums of some rows of weights, and for a 1. */
const HIGHEST: usize = 4 * FEW;
const LIFTS: usize = 16;
const SUMS: usize = 96;
const ONE: usize = 16;

/** Bytes that `multiplyRows` needs for x[rows, cols]. */
export function workspaceOfRows(rows: usize, cols: usize): usize {
  const staged: usize = 4 * min(rows, DOT_ROWS) * ((cols + 15) & ~15);
  return HIGHEST + LIFTS + SUMS + ONE + max(roomOf32(cols) + staged, roomOfDense(rows));
}

/** How `multiplyRows` can do x[rows, cols], FEW rows at most; 0 if it cannot: see Range. Leaves the highest exponent of each row at `work`. */
export function wayOf<F>(work: usize, x: usize, rows: usize, lowestScale: i32, highestScale: i32): i32 {
  const cols = Weights.cols;
  let isFoldable = Weights.blockRows >= FOLDED_ROWS;
  let isSafe = true;
  for (let m: usize = 0; m < rows; m++) {
    const highest = Range.field(highestOf(x, cols));
    const lowest = Range.field(lowestOf(x, cols));
    store<i32>(work + 4 * m, highest);
    if (!Range.isFoldable<F>(highest, lowest, lowestScale, highestScale)) isFoldable = false;
    if (!Range.isSafe<F>(highest, lowest, lowestScale, highestScale)) isSafe = false;
    x += 4 * cols;
  }
  return isFoldable ? FOLDED : isSafe ? PER_BLOCK : 0;
}

/** Bits of the largest magnitude of n float32. */
function highestOf(x: usize, n: usize): i32 {
  const absMask = Range.absMask(Simd.opaqueZero());
  let highest = i32x4.splat(0);
  const full = x + 4 * (n & ~3);
  if (x < full)
    do {
      highest = Range.highest(highest, v128.load(x), absMask);
      x += 16;
    } while (x < full);
  if (n & 3) highest = Range.highest(highest, v128.load(Scratch.take(x, 4 * (n & 3))), absMask);
  return Range.largest(highest);
}

/** Bits of the smallest nonzero magnitude of n float32, less one; all ones if there is none. */
function lowestOf(x: usize, n: usize): i32 {
  const zero = Simd.opaqueZero();
  const absMask = Range.absMask(zero);
  const ones = Range.ones(zero);
  let lowest = ones;
  const full = x + 4 * (n & ~3);
  if (x < full)
    do {
      lowest = Range.lowest(lowest, v128.load(x), absMask, ones);
      x += 16;
    } while (x < full);
  if (n & 3) lowest = Range.lowest(lowest, v128.load(Scratch.take(x, 4 * (n & 3))), absMask, ones);
  return Range.smallest(lowest);
}

/**
 * dst[rows, N] <- x[rows, K] . weights[N, K]^T in float32 or bfloat16, for a handful of rows: codes are decoded in
 * registers, once for two or three rows of x. Blocks have to be aligned; `way` is that of `wayOf`, which has left the highest exponents of x at `work`.
 */
export function multiplyRows<F>(
  type: i32,
  work: usize,
  dst: usize,
  x: usize,
  rows: usize,
  way: i32,
  highestScale: i32,
): void {
  if (Subnormals.list) multiplyDense<F>(type, work + HIGHEST + LIFTS + SUMS + ONE, dst, x, rows);
  Spare.set();
  if (Spare.row == Weights.rows) return;
  const isFolded = way == FOLDED;
  const lifts = work + HIGHEST;
  if (isFolded) Terms.setFolded(lifts + LIFTS + SUMS);
  else Terms.setScaled();
  let highest = work;
  while (rows) {
    // Three rows of x at a time, and then what is left: two passes of two take a third longer than three rows and one.
    const height = min(rows, DOT_ROWS);
    for (let m: usize = 0; m < height; m++) {
      const field = load<i32>(highest + 4 * m);
      store<i32>(lifts + 4 * m, isFolded ? Range.foldedLift<F>(field, highestScale) : Range.lift<F>(field));
    }
    // Rows of weights that meet the same x.
    for (let n: usize = 0; n < Weights.rows; ) {
      const end = isFolded ? Weights.blockEnd(n) : Weights.rows;
      multiplyFew<F>(type, lifts, dst, x, height, n, end, isFolded);
      n = end;
    }
    highest += 4 * height;
    x += 4 * height * Weights.cols;
    dst += (type == 0 ? 4 : 2) * height * Weights.rows;
    rows -= height;
  }
}

/** The same for up to three rows of x and for rows first .. end - 1 of the weights. */
function multiplyFew<F>(
  type: i32,
  lifts: usize,
  dst: usize,
  x: usize,
  rows: usize,
  first: usize,
  end: usize,
  isFolded: bool,
): void {
  const sums = lifts + LIFTS;
  const room = sums + SUMS + ONE;
  const staged = room + roomOf32(Weights.cols);
  const scales = isFolded ? Weights.scalesOf(first) : 0;
  for (let m: usize = 0; m < rows; m++) {
    const factor = Range.power(load<i32>(lifts + 4 * m));
    stageRow(staged + 64 * m, 64 * rows, x + 4 * m * Weights.cols, factor, scales);
  }
  const streams = streamsOf(rows);
  const part = (end - first + streams - 1) / streams;
  const isOf32 = !isFolded && Weights.blockCols == 32 && (Weights.cols & 31) == 0;
  for (let n = first; n < first + part; n++) {
    const i = Spare.or(n);
    const j = Spare.or(n + part);
    const k = Spare.or(n + 2 * part);
    if (rows == 3) dot3<F>(sums, staged, i, j);
    else if (rows == 2) dot2<F>(sums, staged, i, j, k);
    else if (isOf32) dot1Of32<F>(sums, staged, i, j, k, room);
    else dot1<F>(sums, staged, i, j, k);
    storeSums(type, dst, x, rows, sums, lifts, Shifted.exponent<F>(), n, part, end);
  }
}

/** A row that `Shifted` may see, in the place of those that it had better not, whose sums are made otherwise. */
abstract class Spare {
  static row: usize = 0;

  /** The first row that is not dense; the number of rows, if all are. */
  static set(): void {
    Spare.row = 0;
    while (Spare.row < Weights.rows && Subnormals.isDense(Spare.row)) Spare.row++;
  }

  @inline static or(n: usize): usize {
    return Subnormals.isDense(n) ? Spare.row : n;
  }
}

/** Columns n, n + part .. of dst[rows, N], up to `end` and but for dense rows of the weights, <- their sums, without the lift, and what was set aside of the weights. */
function storeSums(
  type: i32,
  dst: usize,
  x: usize,
  rows: usize,
  sums: usize,
  lifts: usize,
  exponent: i32,
  n: usize,
  part: usize,
  end: usize,
): void {
  const last = n + (streamsOf(rows) - 1) * part;
  for (let m: usize = 0; m < rows; m++) {
    const factor = Range.power(exponent - load<i32>(lifts + 4 * m));
    for (let column = n; column <= last; column += part, sums += 16) {
      if (column >= end || Subnormals.isDense(column)) continue;
      let value = Simd.sum(v128.load(sums)) * factor;
      if (Subnormals.has(column))
        value = <f32>(<f64>value + Subnormals.dot(x + 4 * m * Weights.cols, column));
      // A sum that underflows can be -0 or 0, depending on the codes behind the row: 0 it is.
      storeResult(type, dst, m * Weights.rows + column, value + 0);
    }
  }
}

/** How many rows of weights meet in a loop. Far apart they are so many streams to the prefetcher; neighbours would be one that it follows badly. */
function streamsOf(rows: usize): usize {
  return rows == 3 ? 2 : 3;
}

/**
 * dst <- x[K] times a factor and, where `scales` are given, those of its blocks: sixteen values at a time in the order in
 * which `Shifted` gives the codes, those of bytes 0 of the four lanes, then of bytes 1, 2, 3.
 */
function stageRow(dst: usize, stride: usize, x: usize, factor: f32, scales: usize): void {
  const blockCols = scales ? Weights.blockCols : Weights.paddedCols;
  let left = Weights.cols;
  do {
    const cols = min(left, blockCols);
    const scale = scales ? Weights.scale(scales) : 1;
    stageBlock(dst, stride, x, cols, f32x4.splat(factor * scale));
    dst += (cols >> 4) * stride;
    x += 4 * cols;
    scales += scales ? Weights.scaleBytes : 0;
    left -= cols;
  } while (left);
}

/** The same for `cols` values and one factor. */
function stageBlock(dst: usize, stride: usize, x: usize, cols: usize, factors: v128): void {
  const full = x + 4 * (cols & ~15);
  if (x < full)
    do {
      Staged.sixteen(dst, x, factors);
      dst += stride;
      x += 64;
    } while (x < full);
  const rest = cols & 15;
  if (rest) Staged.sixteen(dst, Scratch.take(x, 4 * rest), factors);
}

/** Values on their way into the order of the codes. */
abstract class Staged {
  @inline static sixteen(dst: usize, x: usize, factor: v128): void {
    const r0 = f32x4.mul(v128.load(x), factor);
    const r1 = f32x4.mul(v128.load(x, 16), factor);
    const r2 = f32x4.mul(v128.load(x, 32), factor);
    const r3 = f32x4.mul(v128.load(x, 48), factor);
    const low01 = Simd.zip32Low(r0, r1);
    const low23 = Simd.zip32Low(r2, r3);
    const high01 = Simd.zip32High(r0, r1);
    const high23 = Simd.zip32High(r2, r3);
    v128.store(dst, Simd.lowHalves(low01, low23));
    v128.store(dst, Simd.highHalves(low01, low23), 16);
    v128.store(dst, Simd.lowHalves(high01, high23), 32);
    v128.store(dst, Simd.highHalves(high01, high23), 48);
  }
}
