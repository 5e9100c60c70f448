import { Magnitudes } from "../../lanes/magnitudes";
import { Shifted } from "../../lanes/shifted";
import { Simd } from "../../lanes/simd";
import { MatrixRecord } from "../matrix";
import { Pages } from "../prefetch";
import { Scratch } from "../scratch";
import { storeResult } from "../values";
import { bytesOf32, dotsOf1Row, dotsOf1RowBlocks32 } from "./dot-row";
import { dotsOf2Rows, dotsOf3Rows, dotsOf4Rows } from "./dot-rows";
import { FEW_PASS_ROWS, Pass } from "./pass";
import { bytesOfTable, multiplyByTable } from "./subnormal-rows";
import { Subnormals } from "./subnormals";

/** Up to this many rows of x, decoding the weights to memory does not pay. */
export const FEW_ROWS: usize = 8;

/**
 * From blocks of so many rows on, x is scaled for each row of blocks: that costs what a row or two of weights
 * do.
 */
const FOLDED_ROWS: usize = 32;

/** Where the scales go: into each sum of a block, or into x before it meets the codes. */
const PER_BLOCK: i32 = 1;
const FOLDED: i32 = 2;

/** Bytes in front of the pass: the highest exponent of each row of x. */
const HIGHEST_BYTES: usize = 4 * FEW_ROWS;

/** Bytes that `multiplyRows` needs for x[rows, cols]. */
export function workspaceOfRows(rows: usize, cols: usize): usize {
  const staged: usize = 4 * min(rows, FEW_PASS_ROWS) * ((cols + 15) & ~15);
  return HIGHEST_BYTES + Pass.bytes + max(bytesOf32(cols) + staged, bytesOfTable(rows));
}

/**
 * Where `multiplyRows` can apply the scales for x[rows, cols], FEW_ROWS at most; 0 if it cannot: see
 * Magnitudes. Leaves the highest exponent of each row at `work`.
 */
export function scalingOf<F>(weights: MatrixRecord, work: usize, x: usize, rows: usize): i32 {
  const cols = weights.cols;
  const lowestScale = weights.lowestScale;
  const highestScale = weights.highestScale;
  let isFoldable = weights.blockRows >= FOLDED_ROWS;
  let isSafe = true;
  for (let m: usize = 0; m < rows; m++) {
    const highest = Magnitudes.field(highestOf(x, cols));
    const lowest = Magnitudes.field(lowestOf(x, cols));
    store<i32>(work + 4 * m, highest);
    if (!Magnitudes.isFoldable<F>(highest, lowest, lowestScale, highestScale)) isFoldable = false;
    if (!Magnitudes.isSafe<F>(highest, lowest, lowestScale, highestScale)) isSafe = false;
    x += 4 * cols;
  }
  return isFoldable ? FOLDED : isSafe ? PER_BLOCK : 0;
}

/** Bits of the largest magnitude of n float32. */
function highestOf(x: usize, n: usize): i32 {
  const absMask = Magnitudes.absMask(Simd.opaqueZero());
  let highest = i32x4.splat(0);
  const full = x + 4 * (n & ~3);
  if (x < full)
    do {
      highest = Magnitudes.highest(highest, v128.load(x), absMask);
      x += 16;
    } while (x < full);
  if (n & 3) highest = Magnitudes.highest(highest, v128.load(Scratch.padInput(x, 4 * (n & 3))), absMask);
  return Magnitudes.largest(highest);
}

/** Bits of the smallest nonzero magnitude of n float32, less one; all ones if there is none. */
function lowestOf(x: usize, n: usize): i32 {
  const zero = Simd.opaqueZero();
  const absMask = Magnitudes.absMask(zero);
  const ones = Magnitudes.ones(zero);
  let lowest = ones;
  const full = x + 4 * (n & ~3);
  if (x < full)
    do {
      lowest = Magnitudes.lowest(lowest, v128.load(x), absMask, ones);
      x += 16;
    } while (x < full);
  if (n & 3) lowest = Magnitudes.lowest(lowest, v128.load(Scratch.padInput(x, 4 * (n & 3))), absMask, ones);
  return Magnitudes.smallest(lowest);
}

/**
 * dst[rows, N] <- x[rows, K] . weights[N, K]^T in float32 or bfloat16, for a handful of rows: codes are
 * decoded in registers, once for up to four rows of x. Blocks have to be aligned; `scaling` is that of
 * `scalingOf`, which has left the highest exponents of x at `work`.
 */
export function multiplyRows<F>(
  weights: MatrixRecord,
  type: i32,
  work: usize,
  dst: usize,
  x: usize,
  rows: usize,
  scaling: i32,
): void {
  const pass = changetype<Pass>(work + HIGHEST_BYTES);
  if (weights.list) multiplyByTable<F>(weights, type, pass.rest, dst, x, rows);
  const spareRow = spareRowOf(weights);
  if (spareRow == weights.rows) return;
  const isFolded = scaling == FOLDED;
  pass.set(weights, isFolded, spareRow);
  let highest = work;
  while (rows) {
    const height = min(rows, FEW_PASS_ROWS);
    for (let m: usize = 0; m < height; m++) {
      const field = load<i32>(highest + 4 * m);
      const exponent = isFolded
        ? Magnitudes.foldedExponent<F>(field, weights.highestScale)
        : Magnitudes.xExponent<F>(field);
      store<f32>(pass.xFactors + 4 * m, Magnitudes.power(exponent));
      store<f32>(pass.sumFactors + 4 * m, Magnitudes.power(Shifted.exponent<F>() - exponent));
    }
    // Rows of weights that meet the same x.
    for (let n: usize = 0; n < weights.rows; ) {
      const end = isFolded ? weights.blockEnd(n) : weights.rows;
      multiplyFew<F>(pass, type, dst, x, height, n, end);
      n = end;
    }
    highest += 4 * height;
    x += 4 * height * weights.cols;
    dst += (type == 0 ? 4 : 2) * height * weights.rows;
    rows -= height;
  }
}

/** The first row that is not marked as having many subnormal codes; the number of rows, if all are. */
function spareRowOf(weights: MatrixRecord): usize {
  let row: usize = 0;
  while (row < weights.rows && Subnormals.hasMany(weights, row)) row++;
  return row;
}

/** What `multiplyRows` does, for up to four rows of x and for rows first .. end - 1 of the weights. */
function multiplyFew<F>(
  pass: Pass,
  type: i32,
  dst: usize,
  x: usize,
  rows: usize,
  first: usize,
  end: usize,
): void {
  const weights = pass.weights;
  const staged = pass.rest + bytesOf32(weights.cols);
  const scales = pass.isFolded ? weights.scalesOf(first) : 0;
  for (let m: usize = 0; m < rows; m++) {
    const factor = load<f32>(pass.xFactors + 4 * m);
    stageRow(staged + 64 * m, 64 * rows, weights, x + 4 * m * weights.cols, factor, scales);
  }
  const isOf32 = rows == 1 && !pass.isFolded && pass.runCols == 32 && (weights.cols & 31) == 0;
  const last = weights.codesOf(weights.rows - 1) + weights.cols - 1;
  const streams: usize = isOf32 ? 3 : streamsOf(rows);
  const streamRows = (end - first + streams - 1) / streams;
  for (let n = first; n < first + streamRows; n++) {
    const i = rowFor(pass, n);
    const j = rowFor(pass, n + streamRows);
    const k = rowFor(pass, n + 2 * streamRows);
    const l = rowFor(pass, n + 3 * streamRows);
    if (rows == 1) {
      Pages.touchNext(weights.codesOf(i), weights.cols, last);
      Pages.touchNext(weights.codesOf(j), weights.cols, last);
      Pages.touchNext(weights.codesOf(k), weights.cols, last);
      Pages.touchNext(weights.codesOf(l), weights.cols, last);
    }
    if (rows == 4) dotsOf4Rows<F>(pass, staged, i, j);
    else if (rows == 3) dotsOf3Rows<F>(pass, staged, i, j);
    else if (rows == 2) dotsOf2Rows<F>(pass, staged, i, j, k);
    else if (isOf32) dotsOf1RowBlocks32<F>(pass, staged, i, j, k);
    else dotsOf1Row<F>(pass, staged, i, j, k, l);
    storeSums(pass, type, dst, x, rows, n, streamRows, end, streams);
  }
}

/** The row whose codes are read for row n, which may be past the end. */
function rowFor(pass: Pass, n: usize): usize {
  const row = pass.weights.clampRow(n);
  return Subnormals.hasMany(pass.weights, row) ? pass.spareRow : row;
}

/**
 * Writes dst[row, column] for column = n, n + streamRows, ... below `end`: the sum of the lanes, divided by
 * the power of two that x was multiplied by, plus the products of the subnormal codes in the list. Rows of
 * weights with many subnormal codes are left out.
 */
function storeSums(
  pass: Pass,
  type: i32,
  dst: usize,
  x: usize,
  rows: usize,
  n: usize,
  streamRows: usize,
  end: usize,
  streams: usize,
): void {
  const weights = pass.weights;
  let sums = pass.sums;
  const factors = pass.sumFactors;
  const listed = pass.listed;
  for (let s: usize = 0; s < streams && n < end; s++, n += streamRows, sums += 16) {
    if (Subnormals.hasMany(weights, n)) continue;
    const isListed = Subnormals.has(weights, n);
    if (isListed) Subnormals.dots(listed, weights, x, rows, n);
    for (let m: usize = 0; m < rows; m++) {
      let value = Simd.sum(v128.load(sums + 16 * m * streams)) * load<f32>(factors + 4 * m);
      if (isListed) value = <f32>(<f64>value + load<f64>(listed + 8 * m));
      // A sum that underflows can be -0 or 0, depending on the codes behind the row: 0 it is.
      storeResult(type, dst, m * weights.rows + n, value + 0);
    }
  }
}

/**
 * Rows of weights in one loop. They lie N / streams rows apart, so that the prefetcher sees separate
 * streams; neighbours would be one that it follows badly. With one row of x, four of them are 1.1 to 1.16
 * times as fast as three if weights come from memory: a quarter of the rows of a block, 32, is a whole number
 * of pages, so that all streams come to a new one at the same time.
 */
function streamsOf(rows: usize): usize {
  return rows >= 3 ? 2 : rows == 2 ? 3 : 4;
}

/**
 * dst <- x[K] times a factor and, where `scales` are given, those of its blocks: sixteen values at a time in
 * the order in which `Shifted` gives the codes, those of bytes 0 of the four lanes, then of bytes 1, 2, 3.
 */
function stageRow(
  dst: usize,
  stride: usize,
  weights: MatrixRecord,
  x: usize,
  factor: f32,
  scales: usize,
): void {
  const blockCols = scales ? weights.runCols : weights.paddedCols;
  let remaining = weights.cols;
  do {
    const cols = min(remaining, blockCols);
    const scale = scales ? weights.scale(scales) : 1;
    stageBlock(dst, stride, x, cols, f32x4.splat(factor * scale));
    dst += (cols >> 4) * stride;
    x += 4 * cols;
    scales += scales ? weights.scaleBytes : 0;
    remaining -= cols;
  } while (remaining);
}

/** What `stageRow` does, for `cols` values and one factor. */
function stageBlock(dst: usize, stride: usize, x: usize, cols: usize, factors: v128): void {
  const full = x + 4 * (cols & ~15);
  if (x < full)
    do {
      Staged.sixteen(dst, x, factors);
      dst += stride;
      x += 64;
    } while (x < full);
  const rest = cols & 15;
  if (rest) Staged.sixteen(dst, Scratch.padInput(x, 4 * rest), factors);
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
