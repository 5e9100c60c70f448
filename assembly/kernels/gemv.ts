import { Range, Shifted } from "../lanes/shifted";
import { Simd } from "../lanes/simd";
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
export function isSafe<F>(x: usize, rows: usize, cols: usize, lowestScale: i32): bool {
  for (let m: usize = 0; m < rows; m++) {
    const highest = Range.field(highestOf(x, cols));
    if (!Range.isSafe<F>(highest, Range.field(lowestOf(x, cols)), lowestScale)) return false;
    x += 4 * cols;
  }
  return true;
}

/** Bits of the largest magnitude of n float32. */
function highestOf(x: usize, n: usize): i32 {
  const absMask = Range.absMask(Simd.opaqueZero());
  let highest = i32x4.splat(0);
  const full = x + 4 * (n & ~3);
  while (x < full) {
    highest = Range.highest(highest, v128.load(x), absMask);
    x += 16;
  }
  if (n & 3) highest = Range.highest(highest, v128.load(Scratch.take(x, 4 * (n & 3))), absMask);
  return Range.largest(highest);
}

/** Bits of the smallest nonzero magnitude of n float32; all ones if there is none. */
function lowestOf(x: usize, n: usize): i32 {
  const zero = Simd.opaqueZero();
  const absMask = Range.absMask(zero);
  const ones = Range.ones(zero);
  let lowest = ones;
  const full = x + 4 * (n & ~3);
  while (x < full) {
    lowest = Range.lowest(lowest, v128.load(x), absMask, ones);
    x += 16;
  }
  if (n & 3) lowest = Range.lowest(lowest, v128.load(Scratch.take(x, 4 * (n & 3))), absMask, ones);
  return Range.smallest(lowest);
}

/**
 * dst[rows, N] <- x[rows, K] . weights[N, K]^T in float32, for a handful of rows: each code is read once and decoded in
 * registers. Blocks have to be aligned and x safe. Every block is summed by itself, then scaled.
 */
export function multiplyRows<F>(work: usize, dst: usize, x: usize, rows: usize): void {
  let passes = (rows + DOT_ROWS - 1) / DOT_ROWS;
  while (rows) {
    const height = (rows + passes - 1) / passes--;
    multiplyFew<F>(work, dst, x, height);
    x += 4 * height * Weights.cols;
    dst += 4 * height * Weights.rows;
    rows -= height;
  }
}

function multiplyFew<F>(work: usize, dst: usize, x: usize, rows: usize): void {
  const sums = work + FACTORS;
  const staged = sums + SUMS;
  const slotRows = slots(rows);
  for (let slot: usize = 0; slot < slotRows; slot++) {
    const row = x + 4 * min(slot, rows - 1) * Weights.cols;
    store<f32>(work + 4 * slot, stageRow<F>(staged + 64 * slot, 64 * slotRows, row));
  }
  // Two rows far apart are two streams to the prefetcher; neighbours would be one that it follows badly.
  const half = (Weights.rows + 1) / 2;
  for (let n: usize = 0; n < half; n++) {
    const far = n + half;
    const a = Weights.row(n);
    const b = Weights.row(far);
    const sa = Weights.scalesOf(n);
    const sb = Weights.scalesOf(far);
    switch (<i32>rows) {
      case 1:
        dot1<F>(sums, staged, a, b, sa, sb);
        break;
      case 2:
        dot2<F>(sums, staged, a, b, sa, sb);
        break;
      default:
        dot4<F>(sums, staged, a, b, sa, sb);
    }
    for (let m: usize = 0; m < rows; m++) {
      const factor = load<f32>(work + 4 * m);
      const at = dst + 4 * (m * Weights.rows + n);
      store<f32>(at, Simd.sum(v128.load(sums + 32 * m)) * factor);
      if (far < Weights.rows) store<f32>(at + 4 * half, Simd.sum(v128.load(sums + 32 * m, 16)) * factor);
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
  while (x < full) {
    Staged.sixteen(dst, x, factor);
    dst += stride;
    x += 64;
  }
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

/** sums[0..1] <- x . rows a and b of the weights, lane by lane. */
function dot1<F>(sums: usize, x: usize, a: usize, b: usize, sa: usize, sb: usize): void {
  const zero = Simd.opaqueZero();
  const mask = Shifted.mask<F>(zero);
  const weights = Shifted.weights<F>(zero);
  const end = a + Weights.paddedCols;
  const blockCols = Weights.blockCols;
  let totalA = f32x4.splat(0);
  let totalB = f32x4.splat(0);
  do {
    // The last block takes the padding.
    const blockEnd = min(a + blockCols, end);
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let a2 = f32x4.splat(0);
    let a3 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let b2 = f32x4.splat(0);
    let b3 = f32x4.splat(0);
    do {
      const u = v128.load(a);
      const v = v128.load(b);
      const x3 = v128.load(x, 48);
      a3 = Simd.madd(Shifted.top<F>(u, mask), x3, a3);
      b3 = Simd.madd(Shifted.top<F>(v, mask), x3, b3);
      const x1 = v128.load(x, 16);
      a1 = Simd.madd(Shifted.middle(u, weights, mask), x1, a1);
      b1 = Simd.madd(Shifted.middle(v, weights, mask), x1, b1);
      const lowU = Shifted.lower(u);
      const lowV = Shifted.lower(v);
      const x2 = v128.load(x, 32);
      a2 = Simd.madd(Shifted.top<F>(lowU, mask), x2, a2);
      b2 = Simd.madd(Shifted.top<F>(lowV, mask), x2, b2);
      const x0 = v128.load(x);
      a0 = Simd.madd(Shifted.middle(lowU, weights, mask), x0, a0);
      b0 = Simd.madd(Shifted.middle(lowV, weights, mask), x0, b0);
      a += 16;
      b += 16;
      x += 64;
    } while (a < blockEnd);
    totalA = Simd.madd(
      f32x4.add(f32x4.add(a0, a1), f32x4.add(a2, a3)),
      f32x4.splat(Weights.scale(sa)),
      totalA,
    );
    totalB = Simd.madd(
      f32x4.add(f32x4.add(b0, b1), f32x4.add(b2, b3)),
      f32x4.splat(Weights.scale(sb)),
      totalB,
    );
    sa += Weights.scaleBytes;
    sb += Weights.scaleBytes;
  } while (a < end);
  v128.store(sums, totalA);
  v128.store(sums, totalB, 16);
}

abstract class Dot {
  /** The same for several rows of x, staged sixteen values of each in turn: sums[row][0..1]. */
  @inline static few<F>(rows: i32, sums: usize, x: usize, a: usize, b: usize, sa: usize, sb: usize): void {
    const zero = Simd.opaqueZero();
    const mask = Shifted.mask<F>(zero);
    const weights = Shifted.weights<F>(zero);
    const end = a + Weights.paddedCols;
    const blockCols = Weights.blockCols;
    let totalA0 = f32x4.splat(0);
    let totalB0 = f32x4.splat(0);
    let totalA1 = f32x4.splat(0);
    let totalB1 = f32x4.splat(0);
    let totalA2 = f32x4.splat(0);
    let totalB2 = f32x4.splat(0);
    let totalA3 = f32x4.splat(0);
    let totalB3 = f32x4.splat(0);
    do {
      const blockEnd = min(a + blockCols, end);
      let a0 = f32x4.splat(0);
      let b0 = f32x4.splat(0);
      let a1 = f32x4.splat(0);
      let b1 = f32x4.splat(0);
      let a2 = f32x4.splat(0);
      let b2 = f32x4.splat(0);
      let a3 = f32x4.splat(0);
      let b3 = f32x4.splat(0);
      do {
        const u = v128.load(a);
        const v = v128.load(b);
        let p = Shifted.top<F>(u, mask);
        let q = Shifted.top<F>(v, mask);
        let y = v128.load(x, 48);
        a0 = Simd.madd(p, y, a0);
        b0 = Simd.madd(q, y, b0);
        y = v128.load(x, 112);
        a1 = Simd.madd(p, y, a1);
        b1 = Simd.madd(q, y, b1);
        if (rows > 2) {
          y = v128.load(x, 176);
          a2 = Simd.madd(p, y, a2);
          b2 = Simd.madd(q, y, b2);
        }
        if (rows > 3) {
          y = v128.load(x, 240);
          a3 = Simd.madd(p, y, a3);
          b3 = Simd.madd(q, y, b3);
        }
        p = Shifted.middle(u, weights, mask);
        q = Shifted.middle(v, weights, mask);
        y = v128.load(x, 16);
        a0 = Simd.madd(p, y, a0);
        b0 = Simd.madd(q, y, b0);
        y = v128.load(x, 80);
        a1 = Simd.madd(p, y, a1);
        b1 = Simd.madd(q, y, b1);
        if (rows > 2) {
          y = v128.load(x, 144);
          a2 = Simd.madd(p, y, a2);
          b2 = Simd.madd(q, y, b2);
        }
        if (rows > 3) {
          y = v128.load(x, 208);
          a3 = Simd.madd(p, y, a3);
          b3 = Simd.madd(q, y, b3);
        }
        const lowU = Shifted.lower(u);
        const lowV = Shifted.lower(v);
        p = Shifted.top<F>(lowU, mask);
        q = Shifted.top<F>(lowV, mask);
        y = v128.load(x, 32);
        a0 = Simd.madd(p, y, a0);
        b0 = Simd.madd(q, y, b0);
        y = v128.load(x, 96);
        a1 = Simd.madd(p, y, a1);
        b1 = Simd.madd(q, y, b1);
        if (rows > 2) {
          y = v128.load(x, 160);
          a2 = Simd.madd(p, y, a2);
          b2 = Simd.madd(q, y, b2);
        }
        if (rows > 3) {
          y = v128.load(x, 224);
          a3 = Simd.madd(p, y, a3);
          b3 = Simd.madd(q, y, b3);
        }
        p = Shifted.middle(lowU, weights, mask);
        q = Shifted.middle(lowV, weights, mask);
        y = v128.load(x);
        a0 = Simd.madd(p, y, a0);
        b0 = Simd.madd(q, y, b0);
        y = v128.load(x, 64);
        a1 = Simd.madd(p, y, a1);
        b1 = Simd.madd(q, y, b1);
        if (rows > 2) {
          y = v128.load(x, 128);
          a2 = Simd.madd(p, y, a2);
          b2 = Simd.madd(q, y, b2);
        }
        if (rows > 3) {
          y = v128.load(x, 192);
          a3 = Simd.madd(p, y, a3);
          b3 = Simd.madd(q, y, b3);
        }
        a += 16;
        b += 16;
        x += 64 * rows;
      } while (a < blockEnd);
      const scaleA = f32x4.splat(Weights.scale(sa));
      const scaleB = f32x4.splat(Weights.scale(sb));
      totalA0 = Simd.madd(a0, scaleA, totalA0);
      totalB0 = Simd.madd(b0, scaleB, totalB0);
      totalA1 = Simd.madd(a1, scaleA, totalA1);
      totalB1 = Simd.madd(b1, scaleB, totalB1);
      if (rows > 2) {
        totalA2 = Simd.madd(a2, scaleA, totalA2);
        totalB2 = Simd.madd(b2, scaleB, totalB2);
      }
      if (rows > 3) {
        totalA3 = Simd.madd(a3, scaleA, totalA3);
        totalB3 = Simd.madd(b3, scaleB, totalB3);
      }
      sa += Weights.scaleBytes;
      sb += Weights.scaleBytes;
    } while (a < end);
    v128.store(sums, totalA0);
    v128.store(sums, totalB0, 16);
    v128.store(sums, totalA1, 32);
    v128.store(sums, totalB1, 48);
    if (rows > 2) {
      v128.store(sums, totalA2, 64);
      v128.store(sums, totalB2, 80);
    }
    if (rows > 3) {
      v128.store(sums, totalA3, 96);
      v128.store(sums, totalB3, 112);
    }
  }
}

function dot2<F>(sums: usize, x: usize, a: usize, b: usize, sa: usize, sb: usize): void {
  Dot.few<F>(2, sums, x, a, b, sa, sb);
}
function dot4<F>(sums: usize, x: usize, a: usize, b: usize, sa: usize, sb: usize): void {
  Dot.few<F>(4, sums, x, a, b, sa, sb);
}
