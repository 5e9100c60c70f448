import { Shifted } from "../../lanes/shifted";
import { Simd } from "../../lanes/simd";
import { MatrixRecord } from "../matrix";
import { Pass } from "./pass";

// How many rows meet in a loop was measured, on V8 11 to 14: many chains of additions, since each waits for
// its last sum, but no more than there are registers for; and where `Simd.never` parts a loop, a chain goes
// on once or twice in a part.

/**
 * sums[0..3] of the pass <- x . rows i, j, k and l of the weights, lane by lane. Codes are loaded once from
 * where they are and once from a byte before, which brings bytes 2 and 0 of each lane to where 3 and 1 were.
 */
export function dotsOf1Row<F>(pass: Pass, x: usize, i: usize, j: usize, k: usize, l: usize): void {
  const weights = pass.weights;
  let sa = pass.scalesOf(i);
  let sb = pass.scalesOf(j);
  let sc = pass.scalesOf(k);
  let sd = pass.scalesOf(l);
  const zero = Simd.opaqueZero();
  const mask = Shifted.mask<F>(zero);
  const raise = Shifted.raise<F>(zero);
  let a = weights.codesOf(i) - 1;
  let b = weights.codesOf(j) - 1;
  let c = weights.codesOf(k) - 1;
  let d = weights.codesOf(l) - 1;
  const end = a + weights.paddedCols;
  const runCols = pass.runCols;
  const isUe8m0 = pass.isUe8m0;
  const scaleBytes = pass.scaleBytes;
  let totalA = f32x4.splat(0);
  let totalB = f32x4.splat(0);
  let totalC = f32x4.splat(0);
  let totalD = f32x4.splat(0);
  do {
    // The last block takes the padding.
    const runEnd = min(a + runCols, end);
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let c0 = f32x4.splat(0);
    let c1 = f32x4.splat(0);
    let d0 = f32x4.splat(0);
    let d1 = f32x4.splat(0);
    if (a < runEnd)
      do {
        let u = Shifted.halves<F>(v128.load(a, 1));
        let v = Shifted.halves<F>(v128.load(b, 1));
        let w = Shifted.halves<F>(v128.load(c, 1));
        let z = Shifted.halves<F>(v128.load(d, 1));
        let y = v128.load(x, 48);
        a0 = Simd.madd(Shifted.top<F>(u, mask), y, a0);
        b0 = Simd.madd(Shifted.top<F>(v, mask), y, b0);
        c0 = Simd.madd(Shifted.top<F>(w, mask), y, c0);
        d0 = Simd.madd(Shifted.top<F>(z, mask), y, d0);
        y = v128.load(x, 16);
        a1 = Simd.madd(Shifted.middle(u, raise, mask), y, a1);
        b1 = Simd.madd(Shifted.middle(v, raise, mask), y, b1);
        c1 = Simd.madd(Shifted.middle(w, raise, mask), y, c1);
        d1 = Simd.madd(Shifted.middle(z, raise, mask), y, d1);
        if (Simd.never(x, 1)) break;
        u = Shifted.halves<F>(v128.load(a));
        v = Shifted.halves<F>(v128.load(b));
        w = Shifted.halves<F>(v128.load(c));
        z = Shifted.halves<F>(v128.load(d));
        y = v128.load(x, 32);
        a0 = Simd.madd(Shifted.top<F>(u, mask), y, a0);
        b0 = Simd.madd(Shifted.top<F>(v, mask), y, b0);
        c0 = Simd.madd(Shifted.top<F>(w, mask), y, c0);
        d0 = Simd.madd(Shifted.top<F>(z, mask), y, d0);
        y = v128.load(x);
        a1 = Simd.madd(Shifted.middle(u, raise, mask), y, a1);
        b1 = Simd.madd(Shifted.middle(v, raise, mask), y, b1);
        c1 = Simd.madd(Shifted.middle(w, raise, mask), y, c1);
        d1 = Simd.madd(Shifted.middle(z, raise, mask), y, d1);
        a += 16;
        b += 16;
        c += 16;
        d += 16;
        x += 64;
      } while (a < runEnd);
    totalA = Simd.madd(f32x4.add(a0, a1), f32x4.splat(MatrixRecord.finiteScale(isUe8m0, sa)), totalA);
    totalB = Simd.madd(f32x4.add(b0, b1), f32x4.splat(MatrixRecord.finiteScale(isUe8m0, sb)), totalB);
    totalC = Simd.madd(f32x4.add(c0, c1), f32x4.splat(MatrixRecord.finiteScale(isUe8m0, sc)), totalC);
    totalD = Simd.madd(f32x4.add(d0, d1), f32x4.splat(MatrixRecord.finiteScale(isUe8m0, sd)), totalD);
    sa += scaleBytes;
    sb += scaleBytes;
    sc += scaleBytes;
    sd += scaleBytes;
  } while (a < end);
  const sums = pass.sums;
  v128.store(sums, totalA);
  v128.store(sums, totalB, 16);
  v128.store(sums, totalC, 32);
  v128.store(sums, totalD, 48);
}

/** Bytes that `dotsOf1RowBlocks32` needs for the scales of three rows of weights. */
export function bytesOf32(cols: usize): usize {
  return (3 * (4 + (cols >> 3)) + 15) & ~15;
}

/** dst <- a 0, then the scales of row n as float32; returns the end. */
function stageScales(dst: usize, w: MatrixRecord, n: usize): usize {
  const blocks = w.cols >> 5;
  store<f32>(dst, 0);
  w.copyScales(dst + 4, w.scalesOf(n), blocks);
  return dst + 4 + 4 * blocks;
}

/**
 * What `dotsOf1Row` does, for three rows of weights with whole blocks of 32 columns: the sums of each are
 * scaled while the next ones begin, the first ones by a 0 in front of the scales. Those are staged where the
 * rest of the pass begins.
 */
export function dotsOf1RowBlocks32<F>(pass: Pass, x: usize, i: usize, j: usize, k: usize): void {
  const weights = pass.weights;
  const zero = Simd.opaqueZero();
  const mask = Shifted.mask<F>(zero);
  const raise = Shifted.raise<F>(zero);
  const zeros = i32x4.splat(zero);
  let a = weights.codesOf(i) - 1;
  let b = weights.codesOf(j) - 1;
  let c = weights.codesOf(k) - 1;
  const end = a + weights.cols;
  let sa = pass.rest;
  let sb = stageScales(sa, weights, i);
  let sc = stageScales(sb, weights, j);
  stageScales(sc, weights, k);
  let totalA = zeros;
  let totalB = zeros;
  let totalC = zeros;
  let a0 = zeros;
  let b0 = zeros;
  let c0 = zeros;
  if (a < end)
    do {
      totalA = Simd.madd(a0, v128.load_splat<f32>(sa), totalA);
      totalB = Simd.madd(b0, v128.load_splat<f32>(sb), totalB);
      totalC = Simd.madd(c0, v128.load_splat<f32>(sc), totalC);
      sa += 4;
      sb += 4;
      sc += 4;
      if (Simd.never(x, 1)) break;
      let u = Shifted.halves<F>(v128.load(a, 1));
      let v = Shifted.halves<F>(v128.load(b, 1));
      let w = Shifted.halves<F>(v128.load(c, 1));
      let y = v128.load(x, 48);
      a0 = Simd.product(Shifted.top<F>(u, mask), y, zeros);
      b0 = Simd.product(Shifted.top<F>(v, mask), y, zeros);
      c0 = Simd.product(Shifted.top<F>(w, mask), y, zeros);
      y = v128.load(x, 16);
      a0 = Simd.madd(Shifted.middle(u, raise, mask), y, a0);
      b0 = Simd.madd(Shifted.middle(v, raise, mask), y, b0);
      c0 = Simd.madd(Shifted.middle(w, raise, mask), y, c0);
      if (Simd.never(x, 2)) break;
      u = Shifted.halves<F>(v128.load(a));
      v = Shifted.halves<F>(v128.load(b));
      w = Shifted.halves<F>(v128.load(c));
      y = v128.load(x, 32);
      a0 = Simd.madd(Shifted.top<F>(u, mask), y, a0);
      b0 = Simd.madd(Shifted.top<F>(v, mask), y, b0);
      c0 = Simd.madd(Shifted.top<F>(w, mask), y, c0);
      y = v128.load(x);
      a0 = Simd.madd(Shifted.middle(u, raise, mask), y, a0);
      b0 = Simd.madd(Shifted.middle(v, raise, mask), y, b0);
      c0 = Simd.madd(Shifted.middle(w, raise, mask), y, c0);
      if (Simd.never(x, 3)) break;
      u = Shifted.halves<F>(v128.load(a, 17));
      v = Shifted.halves<F>(v128.load(b, 17));
      w = Shifted.halves<F>(v128.load(c, 17));
      y = v128.load(x, 112);
      a0 = Simd.madd(Shifted.top<F>(u, mask), y, a0);
      b0 = Simd.madd(Shifted.top<F>(v, mask), y, b0);
      c0 = Simd.madd(Shifted.top<F>(w, mask), y, c0);
      y = v128.load(x, 80);
      a0 = Simd.madd(Shifted.middle(u, raise, mask), y, a0);
      b0 = Simd.madd(Shifted.middle(v, raise, mask), y, b0);
      c0 = Simd.madd(Shifted.middle(w, raise, mask), y, c0);
      if (Simd.never(x, 4)) break;
      u = Shifted.halves<F>(v128.load(a, 16));
      v = Shifted.halves<F>(v128.load(b, 16));
      w = Shifted.halves<F>(v128.load(c, 16));
      y = v128.load(x, 96);
      a0 = Simd.madd(Shifted.top<F>(u, mask), y, a0);
      b0 = Simd.madd(Shifted.top<F>(v, mask), y, b0);
      c0 = Simd.madd(Shifted.top<F>(w, mask), y, c0);
      y = v128.load(x, 64);
      a0 = Simd.madd(Shifted.middle(u, raise, mask), y, a0);
      b0 = Simd.madd(Shifted.middle(v, raise, mask), y, b0);
      c0 = Simd.madd(Shifted.middle(w, raise, mask), y, c0);
      a += 32;
      b += 32;
      c += 32;
      x += 128;
    } while (a < end);
  const sums = pass.sums;
  v128.store(sums, Simd.madd(a0, v128.load_splat<f32>(sa), totalA));
  v128.store(sums, Simd.madd(b0, v128.load_splat<f32>(sb), totalB), 16);
  v128.store(sums, Simd.madd(c0, v128.load_splat<f32>(sc), totalC), 32);
}
