import { Simd } from "../../lanes/simd";
import { AttentionCall } from "./attention-call";

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
