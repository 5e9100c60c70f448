import { Shifted } from "../../lanes/shifted";
import { Simd } from "../../lanes/simd";
import { Weights } from "./right-operand";

// How many rows meet in a loop was measured, on V8 11 to 14: many chains of additions, since each waits for its last sum, but no
// more than there are registers for; and where `Simd.never` parts a loop, a chain goes on once or twice in a part.

/** The sum of a row is made of runs: the products of a run are summed, multiplied by its scale, and added. */
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
 * sums[0..2] <- x . rows i, j and k of the weights, lane by lane. Codes are loaded once from where they are and once from a byte
 * before, which brings bytes 2 and 0 of each lane to where 3 and 1 were.
 */
export function dot1<F>(sums: usize, x: usize, i: usize, j: usize, k: usize): void {
  const zero = Simd.opaqueZero();
  const mask = Shifted.mask<F>(zero);
  const weights = Shifted.weights<F>(zero);
  let a = Weights.row(i) - 1;
  let b = Weights.row(j) - 1;
  let c = Weights.row(k) - 1;
  let sa = Terms.scalesOf(i);
  let sb = Terms.scalesOf(j);
  let sc = Terms.scalesOf(k);
  const end = a + Weights.paddedCols;
  const termCols = Terms.cols;
  const isUe8m0 = Terms.isUe8m0;
  const scaleBytes = Terms.scaleBytes;
  let totalA = f32x4.splat(0);
  let totalB = f32x4.splat(0);
  let totalC = f32x4.splat(0);
  do {
    // The last block takes the padding.
    const termEnd = min(a + termCols, end);
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let c0 = f32x4.splat(0);
    let c1 = f32x4.splat(0);
    if (a < termEnd)
      do {
        let u = v128.load(a, 1);
        let v = v128.load(b, 1);
        let w = v128.load(c, 1);
        let y = v128.load(x, 48);
        a0 = Simd.madd(Shifted.top<F>(u, mask), y, a0);
        b0 = Simd.madd(Shifted.top<F>(v, mask), y, b0);
        c0 = Simd.madd(Shifted.top<F>(w, mask), y, c0);
        y = v128.load(x, 16);
        a1 = Simd.madd(Shifted.middle(u, weights, mask), y, a1);
        b1 = Simd.madd(Shifted.middle(v, weights, mask), y, b1);
        c1 = Simd.madd(Shifted.middle(w, weights, mask), y, c1);
        if (Simd.never(zero, 1)) break;
        u = v128.load(a);
        v = v128.load(b);
        w = v128.load(c);
        y = v128.load(x, 32);
        a0 = Simd.madd(Shifted.top<F>(u, mask), y, a0);
        b0 = Simd.madd(Shifted.top<F>(v, mask), y, b0);
        c0 = Simd.madd(Shifted.top<F>(w, mask), y, c0);
        y = v128.load(x);
        a1 = Simd.madd(Shifted.middle(u, weights, mask), y, a1);
        b1 = Simd.madd(Shifted.middle(v, weights, mask), y, b1);
        c1 = Simd.madd(Shifted.middle(w, weights, mask), y, c1);
        a += 16;
        b += 16;
        c += 16;
        x += 64;
      } while (a < termEnd);
    totalA = Simd.madd(f32x4.add(a0, a1), f32x4.splat(Weights.finiteScale(isUe8m0, sa)), totalA);
    totalB = Simd.madd(f32x4.add(b0, b1), f32x4.splat(Weights.finiteScale(isUe8m0, sb)), totalB);
    totalC = Simd.madd(f32x4.add(c0, c1), f32x4.splat(Weights.finiteScale(isUe8m0, sc)), totalC);
    sa += scaleBytes;
    sb += scaleBytes;
    sc += scaleBytes;
  } while (a < end);
  v128.store(sums, totalA);
  v128.store(sums, totalB, 16);
  v128.store(sums, totalC, 32);
}

/** Bytes that `dot1Of32` needs for the scales of three rows of weights. */
export function roomOf32(cols: usize): usize {
  return (3 * (4 + (cols >> 3)) + 15) & ~15;
}

/** dst <- a 0, then the scales of row n as float32; returns the end. */
function stageScales(dst: usize, n: usize): usize {
  const blocks = Weights.cols >> 5;
  store<f32>(dst, 0);
  Weights.copyScales(dst + 4, Weights.scalesOf(n), blocks);
  return dst + 4 + 4 * blocks;
}

/**
 * The same for blocks of 32 columns and whole blocks: the sums of each are scaled while the next ones begin, the first ones
 * by a 0 in front of the scales.
 */
export function dot1Of32<F>(sums: usize, x: usize, i: usize, j: usize, k: usize, room: usize): void {
  const zero = Simd.opaqueZero();
  const mask = Shifted.mask<F>(zero);
  const weights = Shifted.weights<F>(zero);
  const zeros = i32x4.splat(zero);
  let a = Weights.row(i) - 1;
  let b = Weights.row(j) - 1;
  let c = Weights.row(k) - 1;
  const end = a + Weights.cols;
  let sa = room;
  let sb = stageScales(sa, i);
  let sc = stageScales(sb, j);
  stageScales(sc, k);
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
      if (Simd.never(zero, 1)) break;
      let u = v128.load(a, 1);
      let v = v128.load(b, 1);
      let w = v128.load(c, 1);
      let y = v128.load(x, 48);
      a0 = Simd.product(Shifted.top<F>(u, mask), y, zeros);
      b0 = Simd.product(Shifted.top<F>(v, mask), y, zeros);
      c0 = Simd.product(Shifted.top<F>(w, mask), y, zeros);
      y = v128.load(x, 16);
      a0 = Simd.madd(Shifted.middle(u, weights, mask), y, a0);
      b0 = Simd.madd(Shifted.middle(v, weights, mask), y, b0);
      c0 = Simd.madd(Shifted.middle(w, weights, mask), y, c0);
      if (Simd.never(zero, 2)) break;
      u = v128.load(a);
      v = v128.load(b);
      w = v128.load(c);
      y = v128.load(x, 32);
      a0 = Simd.madd(Shifted.top<F>(u, mask), y, a0);
      b0 = Simd.madd(Shifted.top<F>(v, mask), y, b0);
      c0 = Simd.madd(Shifted.top<F>(w, mask), y, c0);
      y = v128.load(x);
      a0 = Simd.madd(Shifted.middle(u, weights, mask), y, a0);
      b0 = Simd.madd(Shifted.middle(v, weights, mask), y, b0);
      c0 = Simd.madd(Shifted.middle(w, weights, mask), y, c0);
      if (Simd.never(zero, 3)) break;
      u = v128.load(a, 17);
      v = v128.load(b, 17);
      w = v128.load(c, 17);
      y = v128.load(x, 112);
      a0 = Simd.madd(Shifted.top<F>(u, mask), y, a0);
      b0 = Simd.madd(Shifted.top<F>(v, mask), y, b0);
      c0 = Simd.madd(Shifted.top<F>(w, mask), y, c0);
      y = v128.load(x, 80);
      a0 = Simd.madd(Shifted.middle(u, weights, mask), y, a0);
      b0 = Simd.madd(Shifted.middle(v, weights, mask), y, b0);
      c0 = Simd.madd(Shifted.middle(w, weights, mask), y, c0);
      if (Simd.never(zero, 4)) break;
      u = v128.load(a, 16);
      v = v128.load(b, 16);
      w = v128.load(c, 16);
      y = v128.load(x, 96);
      a0 = Simd.madd(Shifted.top<F>(u, mask), y, a0);
      b0 = Simd.madd(Shifted.top<F>(v, mask), y, b0);
      c0 = Simd.madd(Shifted.top<F>(w, mask), y, c0);
      y = v128.load(x, 64);
      a0 = Simd.madd(Shifted.middle(u, weights, mask), y, a0);
      b0 = Simd.madd(Shifted.middle(v, weights, mask), y, b0);
      c0 = Simd.madd(Shifted.middle(w, weights, mask), y, c0);
      a += 32;
      b += 32;
      c += 32;
      x += 128;
    } while (a < end);
  v128.store(sums, Simd.madd(a0, v128.load_splat<f32>(sa), totalA));
  v128.store(sums, Simd.madd(b0, v128.load_splat<f32>(sb), totalB), 16);
  v128.store(sums, Simd.madd(c0, v128.load_splat<f32>(sc), totalC), 32);
}

/** sums[row of x][0..2] <- two rows of x, staged sixteen values of each in turn, . rows i, j and k of the weights. */
export function dot2<F>(sums: usize, x: usize, i: usize, j: usize, k: usize): void {
  Dot.group<F>(2, sums, x, i, j, k);
}

/** sums[row of x][0..1] <- three rows of x . rows i and j of the weights. */
export function dot3<F>(sums: usize, x: usize, i: usize, j: usize): void {
  Dot.group<F>(3, sums, x, i, j, j);
}

/** sums[row of x][0..1] <- four rows of x . rows i and j of the weights. */
export function dot4<F>(sums: usize, x: usize, i: usize, j: usize): void {
  Dot.group<F>(4, sums, x, i, j, j);
}

abstract class Dot {
  /**
   * Two rows of x and three of weights, or three or four and two. Codes are decoded once for all rows of x.
   *
   * Four and two are eight chains, as many as two multiply-adds a cycle of four cycles each ask for, and with the rest the fifteen registers
   * that V8 has on x86. It keeps all in them, V8 12 only where a segment is parted once more (else slower than three rows; V8 13 is the same
   * either way). Measured on Golden Cove: 0.6 of the peak of multiply-adds, three rows 0.44, two 0.42; of sixteen codes of two rows, eight
   * of the forty operations that meet the multipliers are for decoding, so 0.8 is the most. Eight rows and one of weights: 0.55, since all
   * of x is loaded for each row of weights.
   */
  @inline static group<F>(rows: i32, sums: usize, x: usize, i: usize, j: usize, k: usize): void {
    const zero = Simd.opaqueZero();
    const mask = Shifted.mask<F>(zero);
    const weights = Shifted.weights<F>(zero);
    let a = Weights.row(i) - 1;
    let b = Weights.row(j) - 1;
    let c = Weights.row(k) - 1;
    let sa = Terms.scalesOf(i);
    let sb = Terms.scalesOf(j);
    let sc = Terms.scalesOf(k);
    const end = a + Weights.paddedCols;
    const termCols = Terms.cols;
    const isUe8m0 = Terms.isUe8m0;
    const scaleBytes = Terms.scaleBytes;
    // Not `memory.fill`: V8 calls a function of the engine for that.
    const sumsEnd = sums + 16 * (rows == 2 ? 6 : 2 * rows);
    for (let at = sums; at < sumsEnd; at += 16) v128.store(at, f32x4.splat(0));
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
      let c0 = f32x4.splat(0);
      let c1 = f32x4.splat(0);
      if (a < termEnd)
        do {
          let u = v128.load(a, 1);
          let v = v128.load(b, 1);
          let w = rows == 2 ? v128.load(c, 1) : v;
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
          if (rows > 3 && Simd.never(zero, 4)) break;
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
          if (Simd.never(zero, 1)) break;
          p = Shifted.middle(u, weights, mask);
          q = Shifted.middle(v, weights, mask);
          y = v128.load(x, 16);
          a0 = Simd.madd(p, y, a0);
          b0 = Simd.madd(q, y, b0);
          r = Shifted.middle(w, weights, mask);
          if (rows == 2) c0 = Simd.madd(r, y, c0);
          y = v128.load(x, 80);
          a1 = Simd.madd(p, y, a1);
          b1 = Simd.madd(q, y, b1);
          if (rows == 2) c1 = Simd.madd(r, y, c1);
          if (rows > 3 && Simd.never(zero, 5)) break;
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
          if (Simd.never(zero, 2)) break;
          u = v128.load(a);
          v = v128.load(b);
          if (rows == 2) w = v128.load(c);
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
          if (rows > 3 && Simd.never(zero, 6)) break;
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
          if (Simd.never(zero, 3)) break;
          p = Shifted.middle(u, weights, mask);
          q = Shifted.middle(v, weights, mask);
          y = v128.load(x, 0);
          a0 = Simd.madd(p, y, a0);
          b0 = Simd.madd(q, y, b0);
          r = Shifted.middle(w, weights, mask);
          if (rows == 2) c0 = Simd.madd(r, y, c0);
          y = v128.load(x, 64);
          a1 = Simd.madd(p, y, a1);
          b1 = Simd.madd(q, y, b1);
          if (rows == 2) c1 = Simd.madd(r, y, c1);
          if (rows > 3 && Simd.never(zero, 7)) break;
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
        } while (a < termEnd);
      const scaleA = f32x4.splat(Weights.finiteScale(isUe8m0, sa));
      const scaleB = f32x4.splat(Weights.finiteScale(isUe8m0, sb));
      // Sums of all blocks are in memory: registers are for those of one.
      if (rows == 2) {
        const scaleC = f32x4.splat(Weights.finiteScale(isUe8m0, sc));
        Dot.addScaled(sums, a0, scaleA);
        Dot.addScaled(sums + 16, b0, scaleB);
        Dot.addScaled(sums + 32, c0, scaleC);
        Dot.addScaled(sums + 48, a1, scaleA);
        Dot.addScaled(sums + 64, b1, scaleB);
        Dot.addScaled(sums + 80, c1, scaleC);
        sc += scaleBytes;
      } else {
        Dot.addScaled(sums, a0, scaleA);
        Dot.addScaled(sums + 16, b0, scaleB);
        Dot.addScaled(sums + 32, a1, scaleA);
        Dot.addScaled(sums + 48, b1, scaleB);
        Dot.addScaled(sums + 64, a2, scaleA);
        Dot.addScaled(sums + 80, b2, scaleB);
        if (rows > 3) {
          Dot.addScaled(sums + 96, a3, scaleA);
          Dot.addScaled(sums + 112, b3, scaleB);
        }
      }
      sa += scaleBytes;
      sb += scaleBytes;
    } while (a < end);
  }

  @inline static addScaled(at: usize, products: v128, scale: v128): void {
    v128.store(at, Simd.madd(products, scale, v128.load(at)));
  }
}
