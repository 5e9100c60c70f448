import { Shifted } from "../lanes/shifted";
import { Simd } from "../lanes/simd";
import { Weights } from "./weights";

/** What the sum of a row is made of: runs of products that are summed, scaled and added. */
export abstract class Terms {
  /** Columns of a run. */
  static cols: usize = 0;
  static isUe8m0: bool = false;
  static scaleBytes: usize = 0;
  /** Where there is a 1, if that is every scale; else 0. */
  static one: usize = 0;

  /** Blocks, and their scales. */
  static setScaled(): void {
    Terms.cols = Weights.blockCols;
    Terms.isUe8m0 = Weights.isUe8m0;
    Terms.scaleBytes = Weights.scaleBytes;
    Terms.one = 0;
  }

  /** As many products as float32 sums well, where the scales are in x; `one` has room for a float32. */
  static setFolded(one: usize): void {
    store<f32>(one, 1);
    Terms.cols = 2048;
    Terms.isUe8m0 = false;
    Terms.scaleBytes = 0;
    Terms.one = one;
  }

  /** Where the scales of row n are. */
  @inline static scalesOf(n: usize): usize {
    return Terms.one ? Terms.one : Weights.scalesOf(n);
  }
}

/**
 * sums[0..1] <- x . rows i and j of the weights, lane by lane. What is fastest was measured: two rows of weights for one of
 * x, else one; and so many chains of additions that none waits for its last one, if there are registers for them.
 */
export function dot1<F>(sums: usize, x: usize, i: usize, j: usize): void {
  Dot.pair<F>(2, sums, x, i, j);
}

/** The same by four chains: a fused multiply-add takes its time, and long runs make up for the additions at their end. */
export function dot1Long<F>(sums: usize, x: usize, i: usize, j: usize): void {
  Dot.pair<F>(4, sums, x, i, j);
}

/**
 * The same for blocks of 32 columns and whole blocks: the sums of each are scaled while the next ones begin.
 * @param scales of row i, then of row j, as float32: a 0, then those of the blocks
 */
export function dot1Of32<F>(sums: usize, x: usize, i: usize, j: usize, scales: usize): void {
  const zero = Simd.opaqueZero();
  const mask = Shifted.mask<F>(zero);
  const weights = Shifted.weights<F>(zero);
  const zeros = i32x4.splat(zero);
  let a = Weights.row(i);
  let b = Weights.row(j);
  const end = a + Weights.cols;
  let sa = scales;
  let sb = scales + 4 + (Weights.cols >> 3);
  let totalA = zeros;
  let totalB = zeros;
  let a0 = zeros;
  let a1 = zeros;
  let b0 = zeros;
  let b1 = zeros;
  if (a < end)
    do {
      totalA = Simd.madd(f32x4.add(a0, a1), v128.load_splat<f32>(sa), totalA);
      totalB = Simd.madd(f32x4.add(b0, b1), v128.load_splat<f32>(sb), totalB);
      sa += 4;
      sb += 4;
      if (zero) break; // Never: see Dot.row.
      const u = v128.load(a);
      const v = v128.load(b);
      let y = v128.load(x, 48);
      a0 = Simd.product(Shifted.top<F>(u, mask), y, zeros);
      b0 = Simd.product(Shifted.top<F>(v, mask), y, zeros);
      y = v128.load(x, 16);
      a1 = Simd.product(Shifted.middle(u, weights, mask), y, zeros);
      b1 = Simd.product(Shifted.middle(v, weights, mask), y, zeros);
      if (zero) break;
      const lowU = Shifted.lower(u);
      const lowV = Shifted.lower(v);
      y = v128.load(x, 32);
      a0 = Simd.madd(Shifted.top<F>(lowU, mask), y, a0);
      b0 = Simd.madd(Shifted.top<F>(lowV, mask), y, b0);
      y = v128.load(x);
      a1 = Simd.madd(Shifted.middle(lowU, weights, mask), y, a1);
      b1 = Simd.madd(Shifted.middle(lowV, weights, mask), y, b1);
      if (zero) break;
      const r = v128.load(a, 16);
      const s = v128.load(b, 16);
      y = v128.load(x, 112);
      a0 = Simd.madd(Shifted.top<F>(r, mask), y, a0);
      b0 = Simd.madd(Shifted.top<F>(s, mask), y, b0);
      y = v128.load(x, 80);
      a1 = Simd.madd(Shifted.middle(r, weights, mask), y, a1);
      b1 = Simd.madd(Shifted.middle(s, weights, mask), y, b1);
      if (zero) break;
      const lowR = Shifted.lower(r);
      const lowS = Shifted.lower(s);
      y = v128.load(x, 96);
      a0 = Simd.madd(Shifted.top<F>(lowR, mask), y, a0);
      b0 = Simd.madd(Shifted.top<F>(lowS, mask), y, b0);
      y = v128.load(x, 64);
      a1 = Simd.madd(Shifted.middle(lowR, weights, mask), y, a1);
      b1 = Simd.madd(Shifted.middle(lowS, weights, mask), y, b1);
      a += 32;
      b += 32;
      x += 128;
    } while (a < end);
  v128.store(sums, Simd.madd(f32x4.add(a0, a1), v128.load_splat<f32>(sa), totalA));
  v128.store(sums, Simd.madd(f32x4.add(b0, b1), v128.load_splat<f32>(sb), totalB), 16);
}

/** sums[rows of x] <- x . row n of the weights; sixteen values of each row of x in turn. */
export function dot2<F>(sums: usize, x: usize, n: usize): void {
  Dot.row<F>(2, 2, sums, x, n);
}
export function dot2Long<F>(sums: usize, x: usize, n: usize): void {
  Dot.row<F>(2, 4, sums, x, n);
}
export function dot3<F>(sums: usize, x: usize, n: usize): void {
  Dot.row<F>(3, 2, sums, x, n);
}
export function dot4<F>(sums: usize, x: usize, n: usize): void {
  Dot.row<F>(4, 2, sums, x, n);
}
export function dot5<F>(sums: usize, x: usize, n: usize): void {
  Dot.row<F>(5, 2, sums, x, n);
}

abstract class Dot {
  @inline static pair<F>(chains: i32, sums: usize, x: usize, i: usize, j: usize): void {
    const zero = Simd.opaqueZero();
    const mask = Shifted.mask<F>(zero);
    const weights = Shifted.weights<F>(zero);
    let a = Weights.row(i);
    let b = Weights.row(j);
    let sa = Terms.scalesOf(i);
    let sb = Terms.scalesOf(j);
    const end = a + Weights.paddedCols;
    const termCols = Terms.cols;
    const isUe8m0 = Terms.isUe8m0;
    const scaleBytes = Terms.scaleBytes;
    let totalA = f32x4.splat(0);
    let totalB = f32x4.splat(0);
    do {
      // The last block takes the padding.
      const termEnd = min(a + termCols, end);
      let a0 = f32x4.splat(0);
      let a1 = f32x4.splat(0);
      let a2 = f32x4.splat(0);
      let a3 = f32x4.splat(0);
      let b0 = f32x4.splat(0);
      let b1 = f32x4.splat(0);
      let b2 = f32x4.splat(0);
      let b3 = f32x4.splat(0);
      if (a < termEnd)
        do {
          const u = v128.load(a);
          const v = v128.load(b);
          const x3 = v128.load(x, 48);
          a0 = Simd.madd(Shifted.top<F>(u, mask), x3, a0);
          b0 = Simd.madd(Shifted.top<F>(v, mask), x3, b0);
          const x1 = v128.load(x, 16);
          a1 = Simd.madd(Shifted.middle(u, weights, mask), x1, a1);
          b1 = Simd.madd(Shifted.middle(v, weights, mask), x1, b1);
          const lowU = Shifted.lower(u);
          const lowV = Shifted.lower(v);
          const x2 = v128.load(x, 32);
          const topU = Shifted.top<F>(lowU, mask);
          const topV = Shifted.top<F>(lowV, mask);
          const x0 = v128.load(x);
          const middleU = Shifted.middle(lowU, weights, mask);
          const middleV = Shifted.middle(lowV, weights, mask);
          if (chains == 2) {
            a0 = Simd.madd(topU, x2, a0);
            b0 = Simd.madd(topV, x2, b0);
            a1 = Simd.madd(middleU, x0, a1);
            b1 = Simd.madd(middleV, x0, b1);
          } else {
            a2 = Simd.madd(topU, x2, a2);
            b2 = Simd.madd(topV, x2, b2);
            a3 = Simd.madd(middleU, x0, a3);
            b3 = Simd.madd(middleV, x0, b3);
          }
          a += 16;
          b += 16;
          x += 64;
        } while (a < termEnd);
      a0 = f32x4.add(a0, a1);
      b0 = f32x4.add(b0, b1);
      if (chains == 4) {
        a0 = f32x4.add(a0, f32x4.add(a2, a3));
        b0 = f32x4.add(b0, f32x4.add(b2, b3));
      }
      totalA = Simd.madd(a0, f32x4.splat(Weights.finiteScale(isUe8m0, sa)), totalA);
      totalB = Simd.madd(b0, f32x4.splat(Weights.finiteScale(isUe8m0, sb)), totalB);
      sa += scaleBytes;
      sb += scaleBytes;
    } while (a < end);
    v128.store(sums, totalA);
    v128.store(sums, totalB, 16);
  }

  @inline static row<F>(rows: i32, chains: i32, sums: usize, x: usize, n: usize): void {
    const zero = Simd.opaqueZero();
    const mask = Shifted.mask<F>(zero);
    const weights = Shifted.weights<F>(zero);
    let codes = Weights.row(n);
    let scale = Terms.scalesOf(n);
    const end = codes + Weights.paddedCols;
    const termCols = Terms.cols;
    const isUe8m0 = Terms.isUe8m0;
    const scaleBytes = Terms.scaleBytes;
    let total0 = f32x4.splat(0);
    let total1 = f32x4.splat(0);
    let total2 = f32x4.splat(0);
    let total3 = f32x4.splat(0);
    let total4 = f32x4.splat(0);
    do {
      // The last block takes the padding.
      const termEnd = min(codes + termCols, end);
      let a0 = f32x4.splat(0);
      let b0 = f32x4.splat(0);
      let a1 = f32x4.splat(0);
      let b1 = f32x4.splat(0);
      let a2 = f32x4.splat(0);
      let b2 = f32x4.splat(0);
      let a3 = f32x4.splat(0);
      let b3 = f32x4.splat(0);
      let a4 = f32x4.splat(0);
      let b4 = f32x4.splat(0);
      let c0 = f32x4.splat(0);
      let d0 = f32x4.splat(0);
      let c1 = f32x4.splat(0);
      let d1 = f32x4.splat(0);
      if (codes < termEnd)
        do {
          const v = v128.load(codes);
          const top = Shifted.top<F>(v, mask);
          a0 = Simd.madd(top, v128.load(x, 48), a0);
          if (rows > 1) a1 = Simd.madd(top, v128.load(x, 112), a1);
          if (rows > 2) a2 = Simd.madd(top, v128.load(x, 176), a2);
          if (rows > 3) a3 = Simd.madd(top, v128.load(x, 240), a3);
          if (rows > 4) a4 = Simd.madd(top, v128.load(x, 304), a4);
          const middle = Shifted.middle(v, weights, mask);
          b0 = Simd.madd(middle, v128.load(x, 16), b0);
          if (rows > 1) b1 = Simd.madd(middle, v128.load(x, 80), b1);
          if (rows > 2) b2 = Simd.madd(middle, v128.load(x, 144), b2);
          if (rows > 3) b3 = Simd.madd(middle, v128.load(x, 208), b3);
          if (rows > 4) b4 = Simd.madd(middle, v128.load(x, 272), b4);
          // Never: it ends V8's block, and with that the reach of its scheduler, which would put off half of the additions.
          if (chains == 2 && zero) break;
          const lower = Shifted.lower(v);
          const lowerTop = Shifted.top<F>(lower, mask);
          if (chains == 4) c0 = Simd.madd(lowerTop, v128.load(x, 32), c0);
          else a0 = Simd.madd(lowerTop, v128.load(x, 32), a0);
          if (rows > 1 && chains == 4) c1 = Simd.madd(lowerTop, v128.load(x, 96), c1);
          else if (rows > 1) a1 = Simd.madd(lowerTop, v128.load(x, 96), a1);
          if (rows > 2) a2 = Simd.madd(lowerTop, v128.load(x, 160), a2);
          if (rows > 3) a3 = Simd.madd(lowerTop, v128.load(x, 224), a3);
          if (rows > 4) a4 = Simd.madd(lowerTop, v128.load(x, 288), a4);
          const lowerMiddle = Shifted.middle(lower, weights, mask);
          if (chains == 4) d0 = Simd.madd(lowerMiddle, v128.load(x, 0), d0);
          else b0 = Simd.madd(lowerMiddle, v128.load(x, 0), b0);
          if (rows > 1 && chains == 4) d1 = Simd.madd(lowerMiddle, v128.load(x, 64), d1);
          else if (rows > 1) b1 = Simd.madd(lowerMiddle, v128.load(x, 64), b1);
          if (rows > 2) b2 = Simd.madd(lowerMiddle, v128.load(x, 128), b2);
          if (rows > 3) b3 = Simd.madd(lowerMiddle, v128.load(x, 192), b3);
          if (rows > 4) b4 = Simd.madd(lowerMiddle, v128.load(x, 256), b4);
          codes += 16;
          x += 64 * rows;
        } while (codes < termEnd);
      if (chains == 4) {
        a0 = f32x4.add(a0, c0);
        b0 = f32x4.add(b0, d0);
        a1 = f32x4.add(a1, c1);
        b1 = f32x4.add(b1, d1);
      }
      const factor = f32x4.splat(Weights.finiteScale(isUe8m0, scale));
      total0 = Simd.madd(f32x4.add(a0, b0), factor, total0);
      if (rows > 1) total1 = Simd.madd(f32x4.add(a1, b1), factor, total1);
      if (rows > 2) total2 = Simd.madd(f32x4.add(a2, b2), factor, total2);
      if (rows > 3) total3 = Simd.madd(f32x4.add(a3, b3), factor, total3);
      if (rows > 4) total4 = Simd.madd(f32x4.add(a4, b4), factor, total4);
      scale += scaleBytes;
    } while (codes < end);
    v128.store(sums, total0, 0);
    if (rows > 1) v128.store(sums, total1, 16);
    if (rows > 2) v128.store(sums, total2, 32);
    if (rows > 3) v128.store(sums, total3, 48);
    if (rows > 4) v128.store(sums, total4, 64);
  }
}
