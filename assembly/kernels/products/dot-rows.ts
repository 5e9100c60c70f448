import { Shifted } from "../../lanes/shifted";
import { Simd } from "../../lanes/simd";
import { MatrixRecord } from "../matrix";
import { Pass } from "./pass";

// How many rows meet in a loop, and where `Simd.never` parts it, was measured: see dot-row.ts.

/**
 * sums[row of x][0..2] of the pass <- two rows of x, staged sixteen values of each in turn, . rows i, j and k
 * of the weights.
 */
export function dotsOf2Rows<F>(pass: Pass, x: usize, i: usize, j: usize, k: usize): void {
  Dot.group<F>(2, pass, x, i, j, k);
}

/** sums[row of x][0..1] of the pass <- three rows of x . rows i and j of the weights. */
export function dotsOf3Rows<F>(pass: Pass, x: usize, i: usize, j: usize): void {
  Dot.group<F>(3, pass, x, i, j, j);
}

/** sums[row of x][0..1] of the pass <- four rows of x . rows i and j of the weights. */
export function dotsOf4Rows<F>(pass: Pass, x: usize, i: usize, j: usize): void {
  Dot.group<F>(4, pass, x, i, j, j);
}

abstract class Dot {
  /**
   * Two rows of x and three of weights, or three or four and two. Codes are decoded once for all rows of x.
   *
   * Four and two are eight chains, as many as two multiply-adds a cycle of four cycles each ask for, and with
   * the rest the fifteen registers that V8 has on x86. It keeps all in them, V8 12 only where a segment is
   * parted once more (else slower than three rows; V8 13 is the same either way). Measured on Golden Cove:
   * 0.7 of the peak of multiply-adds, three rows 0.6, two 0.5; of sixteen codes of two rows, four of the
   * thirty-six operations that meet the multipliers are for decoding, so 0.89 is the most. Eight rows and one
   * of weights: 0.55, since all of x is loaded for each row of weights.
   */
  @inline static group<F>(rows: i32, pass: Pass, x: usize, i: usize, j: usize, k: usize): void {
    const weights = pass.weights;
    const sums = pass.sums;
    let sa = pass.scalesOf(i);
    let sb = pass.scalesOf(j);
    let sc = rows == 2 ? pass.scalesOf(k) : 0;
    const zero = Simd.opaqueZero();
    const mask = Shifted.mask<F>(zero);
    const raise = Shifted.raise<F>(zero);
    let a = weights.codesOf(i) - 1;
    let b = weights.codesOf(j) - 1;
    let c = rows == 2 ? weights.codesOf(k) - 1 : 0;
    const end = a + weights.paddedCols;
    const runCols = pass.runCols;
    const isUe8m0 = pass.isUe8m0;
    const scaleBytes = pass.scaleBytes;
    // Bytes of the sums of a row of x.
    const rowSums: usize = rows == 2 ? 48 : 32;
    // Not `memory.fill`: V8 calls a function of the engine for that.
    const sumsEnd = sums + <usize>rows * rowSums;
    for (let at = sums; at < sumsEnd; at += 16) v128.store(at, f32x4.splat(0));
    do {
      // The last block takes the padding.
      const runEnd = min(a + runCols, end);
      let a0 = f32x4.splat(0);
      let a1 = f32x4.splat(0);
      let a2 = f32x4.splat(0);
      let a3 = f32x4.splat(0);
      let b0 = f32x4.splat(0);
      let b1 = f32x4.splat(0);
      let b2 = f32x4.splat(0);
      let b3 = f32x4.splat(0);
      let c0 = f32x4.splat(0);
      let c1 = f32x4.splat(0);
      if (a < runEnd)
        do {
          let u = Shifted.halves<F>(v128.load(a, 1));
          let v = Shifted.halves<F>(v128.load(b, 1));
          let w = rows == 2 ? Shifted.halves<F>(v128.load(c, 1)) : v;
          let p = Shifted.top<F>(u, mask);
          let q = Shifted.top<F>(v, mask);
          let y = v128.load(x, 48);
          a0 = Simd.madd(p, y, a0);
          b0 = Simd.madd(q, y, b0);
          let r = Shifted.top<F>(w, mask);
          if (rows == 2) c0 = Simd.madd(r, y, c0);
          y = v128.load(x, 112);
          a1 = Simd.madd(p, y, a1);
          b1 = Simd.madd(q, y, b1);
          if (rows == 2) c1 = Simd.madd(r, y, c1);
          if (rows > 3 && Simd.never(x, 4)) break;
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
          if (Simd.never(x, 1)) break;
          p = Shifted.middle(u, raise, mask);
          q = Shifted.middle(v, raise, mask);
          y = v128.load(x, 16);
          a0 = Simd.madd(p, y, a0);
          b0 = Simd.madd(q, y, b0);
          r = Shifted.middle(w, raise, mask);
          if (rows == 2) c0 = Simd.madd(r, y, c0);
          y = v128.load(x, 80);
          a1 = Simd.madd(p, y, a1);
          b1 = Simd.madd(q, y, b1);
          if (rows == 2) c1 = Simd.madd(r, y, c1);
          if (rows > 3 && Simd.never(x, 5)) break;
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
          if (Simd.never(x, 2)) break;
          u = Shifted.halves<F>(v128.load(a));
          v = Shifted.halves<F>(v128.load(b));
          if (rows == 2) w = Shifted.halves<F>(v128.load(c));
          p = Shifted.top<F>(u, mask);
          q = Shifted.top<F>(v, mask);
          y = v128.load(x, 32);
          a0 = Simd.madd(p, y, a0);
          b0 = Simd.madd(q, y, b0);
          r = Shifted.top<F>(w, mask);
          if (rows == 2) c0 = Simd.madd(r, y, c0);
          y = v128.load(x, 96);
          a1 = Simd.madd(p, y, a1);
          b1 = Simd.madd(q, y, b1);
          if (rows == 2) c1 = Simd.madd(r, y, c1);
          if (rows > 3 && Simd.never(x, 6)) break;
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
          if (Simd.never(x, 3)) break;
          p = Shifted.middle(u, raise, mask);
          q = Shifted.middle(v, raise, mask);
          y = v128.load(x, 0);
          a0 = Simd.madd(p, y, a0);
          b0 = Simd.madd(q, y, b0);
          r = Shifted.middle(w, raise, mask);
          if (rows == 2) c0 = Simd.madd(r, y, c0);
          y = v128.load(x, 64);
          a1 = Simd.madd(p, y, a1);
          b1 = Simd.madd(q, y, b1);
          if (rows == 2) c1 = Simd.madd(r, y, c1);
          if (rows > 3 && Simd.never(x, 7)) break;
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
          if (rows == 2) c += 16;
          x += 64 * rows;
        } while (a < runEnd);
      const scaleA = f32x4.splat(MatrixRecord.finiteScale(isUe8m0, sa));
      const scaleB = f32x4.splat(MatrixRecord.finiteScale(isUe8m0, sb));
      const scaleC = rows == 2 ? f32x4.splat(MatrixRecord.finiteScale(isUe8m0, sc)) : scaleB;
      // Sums of all blocks are in memory: registers are for those of one.
      Dot.addScaled(sums, a0, scaleA);
      Dot.addScaled(sums + 16, b0, scaleB);
      if (rows == 2) Dot.addScaled(sums + 32, c0, scaleC);
      Dot.addScaled(sums + rowSums, a1, scaleA);
      Dot.addScaled(sums + rowSums + 16, b1, scaleB);
      if (rows == 2) Dot.addScaled(sums + rowSums + 32, c1, scaleC);
      if (rows > 2) {
        Dot.addScaled(sums + 2 * rowSums, a2, scaleA);
        Dot.addScaled(sums + 2 * rowSums + 16, b2, scaleB);
      }
      if (rows > 3) {
        Dot.addScaled(sums + 3 * rowSums, a3, scaleA);
        Dot.addScaled(sums + 3 * rowSums + 16, b3, scaleB);
      }
      sa += scaleBytes;
      sb += scaleBytes;
      if (rows == 2) sc += scaleBytes;
    } while (a < end);
  }

  @inline static addScaled(at: usize, products: v128, scale: v128): void {
    v128.store(at, Simd.madd(products, scale, v128.load(at)));
  }
}
