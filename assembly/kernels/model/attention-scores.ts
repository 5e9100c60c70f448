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
