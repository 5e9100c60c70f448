import { Functions } from "../../lanes/functions";
import { Simd } from "../../lanes/simd";
import { AttentionCall } from "./attention-call";

/**
 * scores[key][row] <- scale * q . key of four rows and keys first .. end - 1; the weights of the softmax take
 * their place.
 */
export function scoreTile(
  call: AttentionCall,
  row: usize,
  first: usize,
  end: usize,
  k: usize,
  stride: usize,
): void {
  const n = end - first;
  const scale = f32x4.splat(call.scale);
  const isWhole = call.begin(row + 3) <= first && call.end(row) >= end;
  const begins = Simd.lanes(
    <i32>call.begin(row),
    <i32>call.begin(row + 1),
    <i32>call.begin(row + 2),
    <i32>call.begin(row + 3),
  );
  const ends = Simd.lanes(
    <i32>call.end(row),
    <i32>call.end(row + 1),
    <i32>call.end(row + 2),
    <i32>call.end(row + 3),
  );
  if (call.rows - row <= 2) dotsOfTwo(call, row, n, k, stride);
  else dotsOfFour(call, row, n, k, stride);
  const before = v128.load(call.maxima + 4 * row);
  let most = before;
  let s = call.scores;
  for (let j: usize = 0; j < n; j++, s += 16) {
    let x = f32x4.mul(v128.load(s), scale);
    if (!isWhole) x = Functions.maskScores(x, <i32>(first + j), begins, ends);
    v128.store(s, x);
    most = Functions.max(most, x);
  }
  v128.store(call.maxima + 4 * row, most);
  const offset = Functions.finite(most);
  const correction = Functions.exp(f32x4.sub(before, offset));
  let sums = f32x4.mul(v128.load(call.sums + 4 * row), correction);
  s = call.scores;
  for (let j: usize = 0; j < n; j++, s += 16) {
    const weight = Functions.exp(f32x4.sub(v128.load(s), offset));
    v128.store(s, weight);
    sums = f32x4.add(sums, weight);
  }
  v128.store(call.sums + 4 * row, sums);
  v128.store(call.corrections, correction);
}

/** scores[n][4] <- q . key of four rows, two keys at a time. */
function dotsOfFour(call: AttentionCall, row: usize, n: usize, k: usize, stride: usize): void {
  const q0 = call.query(row);
  const q1 = call.query(row + 1);
  const q2 = call.query(row + 2);
  const q3 = call.query(row + 3);
  let s = call.scores;
  for (let j: usize = 0; j < n; j += 2, s += 32, k += 2 * stride) {
    // An odd one out is paired with itself.
    dotPair(call, s, q0, q1, q2, q3, k, j + 1 < n ? k + stride : k);
  }
}

/**
 * scores[n][4] <- q . key of two rows, twice, four keys at a time; up to three scores behind them are
 * written.
 */
function dotsOfTwo(call: AttentionCall, row: usize, n: usize, k: usize, stride: usize): void {
  const q0 = call.query(row);
  const q1 = call.query(row + 1);
  let s = call.scores;
  for (let j: usize = 0; j < n; j += 4, s += 64, k += 4 * stride) {
    const last = n - 1 - j;
    dotQuad(
      call,
      s,
      q0,
      q1,
      k,
      k + min(1, last) * stride,
      k + min(2, last) * stride,
      k + min(3, last) * stride,
    );
  }
}

/** scores of four keys: s[4][4] <- q0, q1, q0, q1 . k0..k3 */
function dotQuad(
  call: AttentionCall,
  s: usize,
  q0: usize,
  q1: usize,
  k0: usize,
  k1: usize,
  k2: usize,
  k3: usize,
): void {
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let a2 = f32x4.splat(0);
  let a3 = f32x4.splat(0);
  let b0 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  let b2 = f32x4.splat(0);
  let b3 = f32x4.splat(0);
  const end = q0 + 4 * call.dim;
  do {
    const p = v128.load(q0);
    const r = v128.load(q1);
    const x0 = v128.load(k0);
    const x1 = v128.load(k1);
    a0 = Simd.madd(p, x0, a0);
    b0 = Simd.madd(r, x0, b0);
    a1 = Simd.madd(p, x1, a1);
    b1 = Simd.madd(r, x1, b1);
    const x2 = v128.load(k2);
    const x3 = v128.load(k3);
    a2 = Simd.madd(p, x2, a2);
    b2 = Simd.madd(r, x2, b2);
    a3 = Simd.madd(p, x3, a3);
    b3 = Simd.madd(r, x3, b3);
    q0 += 16;
    q1 += 16;
    k0 += 16;
    k1 += 16;
    k2 += 16;
    k3 += 16;
  } while (q0 < end);
  const low = Functions.sums(a0, b0, a1, b1);
  const high = Functions.sums(a2, b2, a3, b3);
  v128.store(s, Simd.lowHalves(low, low));
  v128.store(s, Simd.highHalves(low, low), 16);
  v128.store(s, Simd.lowHalves(high, high), 32);
  v128.store(s, Simd.highHalves(high, high), 48);
}

/** scores of two keys: s[2][4] <- q0..q3 . k, l */
function dotPair(
  call: AttentionCall,
  s: usize,
  q0: usize,
  q1: usize,
  q2: usize,
  q3: usize,
  k: usize,
  l: usize,
): void {
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let a2 = f32x4.splat(0);
  let a3 = f32x4.splat(0);
  let b0 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  let b2 = f32x4.splat(0);
  let b3 = f32x4.splat(0);
  const end = k + 4 * call.dim;
  do {
    const x = v128.load(k);
    const y = v128.load(l);
    const p0 = v128.load(q0);
    const p1 = v128.load(q1);
    a0 = Simd.madd(p0, x, a0);
    b0 = Simd.madd(p0, y, b0);
    a1 = Simd.madd(p1, x, a1);
    b1 = Simd.madd(p1, y, b1);
    const p2 = v128.load(q2);
    const p3 = v128.load(q3);
    a2 = Simd.madd(p2, x, a2);
    b2 = Simd.madd(p2, y, b2);
    a3 = Simd.madd(p3, x, a3);
    b3 = Simd.madd(p3, y, b3);
    k += 16;
    l += 16;
    q0 += 16;
    q1 += 16;
    q2 += 16;
    q3 += 16;
  } while (k < end);
  v128.store(s, Functions.sums(a0, a1, a2, a3));
  v128.store(s, Functions.sums(b0, b1, b2, b3), 16);
}

/** The results of four rows, or of the last two, corrected, += their weights . values of n keys. */
export function addTile(call: AttentionCall, row: usize, n: usize, values: usize, stride: usize): void {
  if (call.rows - row <= 2) addToTwo(call, row, n, values, stride);
  else addToFour(call, row, n, values, stride);
}

function addToTwo(call: AttentionCall, row: usize, n: usize, values: usize, stride: usize): void {
  const o0 = call.result(row);
  const o1 = call.result(row + 1);
  const bytes: usize = 4 * call.valueDim;
  let d: usize = 0;
  for (; d + 64 <= bytes; d += 64) ColumnsOfTwo.add(call, 4, o0 + d, o1 + d, n, values + d, stride);
  for (; d < bytes; d += 16) ColumnsOfTwo.add(call, 1, o0 + d, o1 + d, n, values + d, stride);
}

abstract class ColumnsOfTwo {
  /** Four columns of the values, or sixteen if `width` is 4. */
  @inline static add(
    call: AttentionCall,
    width: i32,
    o0: usize,
    o1: usize,
    n: usize,
    values: usize,
    stride: usize,
  ): void {
    const c0 = v128.load_splat<f32>(call.corrections);
    const c1 = v128.load_splat<f32>(call.corrections, 4);
    let a0 = f32x4.mul(v128.load(o0), c0);
    let b0 = f32x4.mul(v128.load(o1), c1);
    let a1 = f32x4.splat(0);
    let a2 = f32x4.splat(0);
    let a3 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let b2 = f32x4.splat(0);
    let b3 = f32x4.splat(0);
    if (width == 4) {
      a1 = f32x4.mul(v128.load(o0, 16), c0);
      a2 = f32x4.mul(v128.load(o0, 32), c0);
      a3 = f32x4.mul(v128.load(o0, 48), c0);
      b1 = f32x4.mul(v128.load(o1, 16), c1);
      b2 = f32x4.mul(v128.load(o1, 32), c1);
      b3 = f32x4.mul(v128.load(o1, 48), c1);
    }
    let s = call.scores;
    const end = s + 16 * n;
    do {
      const w0 = v128.load_splat<f32>(s);
      const w1 = v128.load_splat<f32>(s, 4);
      const v0 = v128.load(values);
      a0 = Simd.madd(w0, v0, a0);
      b0 = Simd.madd(w1, v0, b0);
      if (width == 4) {
        const v1 = v128.load(values, 16);
        a1 = Simd.madd(w0, v1, a1);
        b1 = Simd.madd(w1, v1, b1);
        const v2 = v128.load(values, 32);
        a2 = Simd.madd(w0, v2, a2);
        b2 = Simd.madd(w1, v2, b2);
        const v3 = v128.load(values, 48);
        a3 = Simd.madd(w0, v3, a3);
        b3 = Simd.madd(w1, v3, b3);
      }
      s += 16;
      values += stride;
    } while (s < end);
    v128.store(o0, a0);
    v128.store(o1, b0);
    if (width == 4) {
      v128.store(o0, a1, 16);
      v128.store(o0, a2, 32);
      v128.store(o0, a3, 48);
      v128.store(o1, b1, 16);
      v128.store(o1, b2, 32);
      v128.store(o1, b3, 48);
    }
  }
}

function addToFour(call: AttentionCall, row: usize, n: usize, values: usize, stride: usize): void {
  const o0 = call.result(row);
  const o1 = call.result(row + 1);
  const o2 = call.result(row + 2);
  const o3 = call.result(row + 3);
  const bytes: usize = 4 * call.valueDim;
  let d: usize = 0;
  for (; d + 32 <= bytes; d += 32)
    Columns.add(call, 2, o0 + d, o1 + d, o2 + d, o3 + d, n, values + d, stride);
  if (d < bytes) Columns.add(call, 1, o0 + d, o1 + d, o2 + d, o3 + d, n, values + d, stride);
}

abstract class Columns {
  /** Four columns of the values, or eight if `width` is 2. */
  @inline static add(
    call: AttentionCall,
    width: i32,
    o0: usize,
    o1: usize,
    o2: usize,
    o3: usize,
    n: usize,
    values: usize,
    stride: usize,
  ): void {
    const c0 = v128.load_splat<f32>(call.corrections);
    const c1 = v128.load_splat<f32>(call.corrections, 4);
    const c2 = v128.load_splat<f32>(call.corrections, 8);
    const c3 = v128.load_splat<f32>(call.corrections, 12);
    let a0 = f32x4.mul(v128.load(o0), c0);
    let a1 = f32x4.mul(v128.load(o1), c1);
    let a2 = f32x4.mul(v128.load(o2), c2);
    let a3 = f32x4.mul(v128.load(o3), c3);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let b2 = f32x4.splat(0);
    let b3 = f32x4.splat(0);
    if (width == 2) {
      b0 = f32x4.mul(v128.load(o0, 16), c0);
      b1 = f32x4.mul(v128.load(o1, 16), c1);
      b2 = f32x4.mul(v128.load(o2, 16), c2);
      b3 = f32x4.mul(v128.load(o3, 16), c3);
    }
    let s = call.scores;
    const end = s + 16 * n;
    do {
      const v = v128.load(values);
      const w0 = v128.load_splat<f32>(s);
      const w1 = v128.load_splat<f32>(s, 4);
      const w2 = v128.load_splat<f32>(s, 8);
      const w3 = v128.load_splat<f32>(s, 12);
      a0 = Simd.madd(w0, v, a0);
      a1 = Simd.madd(w1, v, a1);
      a2 = Simd.madd(w2, v, a2);
      a3 = Simd.madd(w3, v, a3);
      if (width == 2) {
        const u = v128.load(values, 16);
        b0 = Simd.madd(w0, u, b0);
        b1 = Simd.madd(w1, u, b1);
        b2 = Simd.madd(w2, u, b2);
        b3 = Simd.madd(w3, u, b3);
      }
      s += 16;
      values += stride;
    } while (s < end);
    v128.store(o0, a0);
    v128.store(o1, a1);
    v128.store(o2, a2);
    v128.store(o3, a3);
    if (width == 2) {
      v128.store(o0, b0, 16);
      v128.store(o1, b1, 16);
      v128.store(o2, b2, 16);
      v128.store(o3, b3, 16);
    }
  }
}
