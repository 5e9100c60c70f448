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
 * sums[0..1] <- x . rows i and j of the weights, lane by lane. Which shape is fastest was measured: two chains of additions
 * for each of two rows here, one for each of four rows of weights and two of x, or of two and four.
 */
export function dot1<F>(sums: usize, x: usize, i: usize, j: usize): void {
  Dot.one<F>(2, sums, x, i, j);
}

/** The same by four chains: a fused multiply-add takes its time, and long runs make up for the additions at their end. */
export function dot1Long<F>(sums: usize, x: usize, i: usize, j: usize): void {
  Dot.one<F>(4, sums, x, i, j);
}

abstract class Dot {
  @inline static one<F>(chains: i32, sums: usize, x: usize, i: usize, j: usize): void {
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
}

/** The same for two rows of x, staged sixteen values of each in turn, and four rows of weights: sums[row of x][0..3]. */
export function dot2<F>(sums: usize, x: usize, i: usize, j: usize, k: usize, l: usize): void {
  const zero = Simd.opaqueZero();
  const mask = Shifted.mask<F>(zero);
  const weights = Shifted.weights<F>(zero);
  let a = Weights.row(i);
  let b = Weights.row(j);
  let c = Weights.row(k);
  let d = Weights.row(l);
  let sa = Terms.scalesOf(i);
  let sb = Terms.scalesOf(j);
  let sc = Terms.scalesOf(k);
  let sd = Terms.scalesOf(l);
  const end = a + Weights.paddedCols;
  const termCols = Terms.cols;
  const isUe8m0 = Terms.isUe8m0;
  const scaleBytes = Terms.scaleBytes;
  let totalA0 = f32x4.splat(0);
  let totalB0 = f32x4.splat(0);
  let totalC0 = f32x4.splat(0);
  let totalD0 = f32x4.splat(0);
  let totalA1 = f32x4.splat(0);
  let totalB1 = f32x4.splat(0);
  let totalC1 = f32x4.splat(0);
  let totalD1 = f32x4.splat(0);
  do {
    const termEnd = min(a + termCols, end);
    let a0 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let c0 = f32x4.splat(0);
    let d0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let c1 = f32x4.splat(0);
    let d1 = f32x4.splat(0);
    if (a < termEnd)
      do {
        const t = v128.load(a);
        const u = v128.load(b);
        const v = v128.load(c);
        const w = v128.load(d);
        let pA = Shifted.top<F>(t, mask);
        let pB = Shifted.top<F>(u, mask);
        let pC = Shifted.top<F>(v, mask);
        let pD = Shifted.top<F>(w, mask);
        let y = v128.load(x, 48);
        a0 = Simd.madd(pA, y, a0);
        b0 = Simd.madd(pB, y, b0);
        c0 = Simd.madd(pC, y, c0);
        d0 = Simd.madd(pD, y, d0);
        y = v128.load(x, 112);
        a1 = Simd.madd(pA, y, a1);
        b1 = Simd.madd(pB, y, b1);
        c1 = Simd.madd(pC, y, c1);
        d1 = Simd.madd(pD, y, d1);
        pA = Shifted.middle(t, weights, mask);
        pB = Shifted.middle(u, weights, mask);
        pC = Shifted.middle(v, weights, mask);
        pD = Shifted.middle(w, weights, mask);
        y = v128.load(x, 16);
        a0 = Simd.madd(pA, y, a0);
        b0 = Simd.madd(pB, y, b0);
        c0 = Simd.madd(pC, y, c0);
        d0 = Simd.madd(pD, y, d0);
        y = v128.load(x, 80);
        a1 = Simd.madd(pA, y, a1);
        b1 = Simd.madd(pB, y, b1);
        c1 = Simd.madd(pC, y, c1);
        d1 = Simd.madd(pD, y, d1);
        const lowT = Shifted.lower(t);
        const lowU = Shifted.lower(u);
        const lowV = Shifted.lower(v);
        const lowW = Shifted.lower(w);
        pA = Shifted.top<F>(lowT, mask);
        pB = Shifted.top<F>(lowU, mask);
        pC = Shifted.top<F>(lowV, mask);
        pD = Shifted.top<F>(lowW, mask);
        y = v128.load(x, 32);
        a0 = Simd.madd(pA, y, a0);
        b0 = Simd.madd(pB, y, b0);
        c0 = Simd.madd(pC, y, c0);
        d0 = Simd.madd(pD, y, d0);
        y = v128.load(x, 96);
        a1 = Simd.madd(pA, y, a1);
        b1 = Simd.madd(pB, y, b1);
        c1 = Simd.madd(pC, y, c1);
        d1 = Simd.madd(pD, y, d1);
        pA = Shifted.middle(lowT, weights, mask);
        pB = Shifted.middle(lowU, weights, mask);
        pC = Shifted.middle(lowV, weights, mask);
        pD = Shifted.middle(lowW, weights, mask);
        y = v128.load(x, 0);
        a0 = Simd.madd(pA, y, a0);
        b0 = Simd.madd(pB, y, b0);
        c0 = Simd.madd(pC, y, c0);
        d0 = Simd.madd(pD, y, d0);
        y = v128.load(x, 64);
        a1 = Simd.madd(pA, y, a1);
        b1 = Simd.madd(pB, y, b1);
        c1 = Simd.madd(pC, y, c1);
        d1 = Simd.madd(pD, y, d1);
        a += 16;
        b += 16;
        c += 16;
        d += 16;
        x += 128;
      } while (a < termEnd);
    const scaleA = f32x4.splat(Weights.finiteScale(isUe8m0, sa));
    const scaleB = f32x4.splat(Weights.finiteScale(isUe8m0, sb));
    const scaleC = f32x4.splat(Weights.finiteScale(isUe8m0, sc));
    const scaleD = f32x4.splat(Weights.finiteScale(isUe8m0, sd));
    totalA0 = Simd.madd(a0, scaleA, totalA0);
    totalB0 = Simd.madd(b0, scaleB, totalB0);
    totalC0 = Simd.madd(c0, scaleC, totalC0);
    totalD0 = Simd.madd(d0, scaleD, totalD0);
    totalA1 = Simd.madd(a1, scaleA, totalA1);
    totalB1 = Simd.madd(b1, scaleB, totalB1);
    totalC1 = Simd.madd(c1, scaleC, totalC1);
    totalD1 = Simd.madd(d1, scaleD, totalD1);
    sa += scaleBytes;
    sb += scaleBytes;
    sc += scaleBytes;
    sd += scaleBytes;
  } while (a < end);
  v128.store(sums, totalA0, 0);
  v128.store(sums, totalB0, 16);
  v128.store(sums, totalC0, 32);
  v128.store(sums, totalD0, 48);
  v128.store(sums, totalA1, 64);
  v128.store(sums, totalB1, 80);
  v128.store(sums, totalC1, 96);
  v128.store(sums, totalD1, 112);
}

/** The same for four rows of x and two of weights: sums[row of x][0..1]. */
export function dot4<F>(sums: usize, x: usize, i: usize, j: usize): void {
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
  let totalA0 = f32x4.splat(0);
  let totalB0 = f32x4.splat(0);
  let totalA1 = f32x4.splat(0);
  let totalB1 = f32x4.splat(0);
  let totalA2 = f32x4.splat(0);
  let totalB2 = f32x4.splat(0);
  let totalA3 = f32x4.splat(0);
  let totalB3 = f32x4.splat(0);
  do {
    const termEnd = min(a + termCols, end);
    let a0 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let a2 = f32x4.splat(0);
    let b2 = f32x4.splat(0);
    let a3 = f32x4.splat(0);
    let b3 = f32x4.splat(0);
    if (a < termEnd)
      do {
        const u = v128.load(a);
        const v = v128.load(b);
        let pA = Shifted.top<F>(u, mask);
        let pB = Shifted.top<F>(v, mask);
        let y = v128.load(x, 48);
        a0 = Simd.madd(pA, y, a0);
        b0 = Simd.madd(pB, y, b0);
        y = v128.load(x, 112);
        a1 = Simd.madd(pA, y, a1);
        b1 = Simd.madd(pB, y, b1);
        y = v128.load(x, 176);
        a2 = Simd.madd(pA, y, a2);
        b2 = Simd.madd(pB, y, b2);
        y = v128.load(x, 240);
        a3 = Simd.madd(pA, y, a3);
        b3 = Simd.madd(pB, y, b3);
        pA = Shifted.middle(u, weights, mask);
        pB = Shifted.middle(v, weights, mask);
        y = v128.load(x, 16);
        a0 = Simd.madd(pA, y, a0);
        b0 = Simd.madd(pB, y, b0);
        y = v128.load(x, 80);
        a1 = Simd.madd(pA, y, a1);
        b1 = Simd.madd(pB, y, b1);
        y = v128.load(x, 144);
        a2 = Simd.madd(pA, y, a2);
        b2 = Simd.madd(pB, y, b2);
        y = v128.load(x, 208);
        a3 = Simd.madd(pA, y, a3);
        b3 = Simd.madd(pB, y, b3);
        const lowU = Shifted.lower(u);
        const lowV = Shifted.lower(v);
        pA = Shifted.top<F>(lowU, mask);
        pB = Shifted.top<F>(lowV, mask);
        y = v128.load(x, 32);
        a0 = Simd.madd(pA, y, a0);
        b0 = Simd.madd(pB, y, b0);
        y = v128.load(x, 96);
        a1 = Simd.madd(pA, y, a1);
        b1 = Simd.madd(pB, y, b1);
        y = v128.load(x, 160);
        a2 = Simd.madd(pA, y, a2);
        b2 = Simd.madd(pB, y, b2);
        y = v128.load(x, 224);
        a3 = Simd.madd(pA, y, a3);
        b3 = Simd.madd(pB, y, b3);
        pA = Shifted.middle(lowU, weights, mask);
        pB = Shifted.middle(lowV, weights, mask);
        y = v128.load(x, 0);
        a0 = Simd.madd(pA, y, a0);
        b0 = Simd.madd(pB, y, b0);
        y = v128.load(x, 64);
        a1 = Simd.madd(pA, y, a1);
        b1 = Simd.madd(pB, y, b1);
        y = v128.load(x, 128);
        a2 = Simd.madd(pA, y, a2);
        b2 = Simd.madd(pB, y, b2);
        y = v128.load(x, 192);
        a3 = Simd.madd(pA, y, a3);
        b3 = Simd.madd(pB, y, b3);
        a += 16;
        b += 16;
        x += 256;
      } while (a < termEnd);
    const scaleA = f32x4.splat(Weights.finiteScale(isUe8m0, sa));
    const scaleB = f32x4.splat(Weights.finiteScale(isUe8m0, sb));
    totalA0 = Simd.madd(a0, scaleA, totalA0);
    totalB0 = Simd.madd(b0, scaleB, totalB0);
    totalA1 = Simd.madd(a1, scaleA, totalA1);
    totalB1 = Simd.madd(b1, scaleB, totalB1);
    totalA2 = Simd.madd(a2, scaleA, totalA2);
    totalB2 = Simd.madd(b2, scaleB, totalB2);
    totalA3 = Simd.madd(a3, scaleA, totalA3);
    totalB3 = Simd.madd(b3, scaleB, totalB3);
    sa += scaleBytes;
    sb += scaleBytes;
  } while (a < end);
  v128.store(sums, totalA0, 0);
  v128.store(sums, totalB0, 16);
  v128.store(sums, totalA1, 32);
  v128.store(sums, totalB1, 48);
  v128.store(sums, totalA2, 64);
  v128.store(sums, totalB2, 80);
  v128.store(sums, totalA3, 96);
  v128.store(sums, totalB3, 112);
}
