import { BF16, F32, Half } from "../lanes/half";
import { Range, Shifted } from "../lanes/shifted";
import { Simd } from "../lanes/simd";
import { dot1, dot2, dot4 } from "./dot";
import { Scratch } from "./scratch";
import { Weights } from "./weights";

/** The most rows of x that are multiplied in one pass. */
export const DOT_ROWS: usize = 4;

/** Room for the factor of each row, and for the sums of a pair of weight rows. */
const FACTORS: usize = 16;
const SUMS: usize = 128;

/** Bytes that `multiplyRows` needs for x[rows, cols]. */
export function workspaceOfRows(rows: usize, cols: usize): usize {
  return FACTORS + SUMS + 4 * slots(min(rows, DOT_ROWS)) * ((cols + 15) & ~15);
}

/** Rows of x as they are staged: there is no loop for three, the third one goes twice. */
function slots(rows: usize): usize {
  return rows == 3 ? 4 : rows;
}

/** Whether `multiplyRows` can do x[rows, cols]: see Range.isSafe. */
export function isSafe<F>(x: usize, rows: usize, cols: usize, lowestScale: i32, highestScale: i32): bool {
  for (let m: usize = 0; m < rows; m++) {
    const highest = Range.field(highestOf(x, cols));
    if (!Range.isSafe<F>(highest, Range.field(lowestOf(x, cols)), lowestScale, highestScale)) return false;
    x += 4 * cols;
  }
  return true;
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
 * dst[rows, N] <- x[rows, K] . weights[N, K]^T in float32 or bfloat16, for a handful of rows: each code is read once and
 * decoded in registers. Blocks have to be aligned and x safe. Every block is summed by itself, then scaled.
 */
export function multiplyRows<F>(type: i32, work: usize, dst: usize, x: usize, rows: usize): void {
  while (rows) {
    const height = min(rows, DOT_ROWS);
    if (type == 0) multiplyFew<F, F32>(work, dst, x, height);
    else multiplyFew<F, BF16>(work, dst, x, height);
    x += 4 * height * Weights.cols;
    dst += (type == 0 ? 4 : 2) * height * Weights.rows;
    rows -= height;
  }
}

function multiplyFew<F, T>(work: usize, dst: usize, x: usize, rows: usize): void {
  const sums = work + FACTORS;
  const staged = sums + SUMS;
  const slotRows = slots(rows);
  for (let slot: usize = 0; slot < slotRows; slot++) {
    const row = x + 4 * min(slot, rows - 1) * Weights.cols;
    store<f32>(work + 4 * slot, stageRow<F>(staged + 64 * slot, 64 * slotRows, row));
  }
  // Rows far apart are so many streams to the prefetcher; neighbours would be one that it follows badly.
  const streams: usize = rows == 2 ? 4 : 2;
  const part = (Weights.rows + streams - 1) / streams;
  for (let n: usize = 0; n < part; n++) {
    switch (<i32>rows) {
      case 1:
        dot1<F>(sums, staged, n, n + part);
        break;
      case 2:
        dot2<F>(sums, staged, n, n + part, n + 2 * part, n + 3 * part);
        break;
      default:
        dot4<F>(sums, staged, n, n + part);
    }
    let sum = sums;
    for (let m: usize = 0; m < rows; m++) {
      const factor = load<f32>(work + 4 * m);
      for (let column = n; column < n + streams * part; column += part) {
        // A sum that underflows can be -0 or 0, depending on the codes behind the row: 0 it is.
        const value = Simd.sum(v128.load(sum)) * factor + 0;
        if (column < Weights.rows) {
          const at = dst + (m * Weights.rows + column) * Half.size<T>();
          if (idof<T>() == idof<F32>()) store<f32>(at, value);
          else store<u16>(at, Half.bf16(value));
        }
        sum += 16;
      }
    }
  }
}

/**
 * dst <- x[K] times a power of two, sixteen values at a time in the order in which `Shifted` gives the codes: those of
 * bytes 0 of the four lanes, then of bytes 1, 2, 3. Returns what sums of products have to be multiplied by.
 */
function stageRow<F>(dst: usize, stride: usize, x: usize): f32 {
  const lift = Range.lift<F>(Range.field(highestOf(x, Weights.cols)));
  const factor = f32x4.splat(Range.power(lift));
  const full = x + 4 * (Weights.cols & ~15);
  if (x < full)
    do {
      Staged.sixteen(dst, x, factor);
      dst += stride;
      x += 64;
    } while (x < full);
  const rest = Weights.cols & 15;
  if (rest) Staged.sixteen(dst, Scratch.take(x, 4 * rest), factor);
  return Range.power(Shifted.exponent<F>() - lift);
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
