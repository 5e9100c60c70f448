import { Functions } from "../../lanes/functions";
import { BF16, F16, F32, Half } from "../../lanes/half";
import { Simd } from "../../lanes/simd";
import { Scratch } from "../scratch";

/** dst[n] += src[n] * factor */
export function addScaled(dst: usize, src: usize, n: usize, factor: f32): void {
  const factors = f32x4.splat(factor);
  const full = src + 4 * (n & ~3);
  const end = src + 4 * n;
  for (; src < full; src += 16, dst += 16)
    v128.store(dst, Simd.madd(v128.load(src), factors, v128.load(dst)));
  for (; src < end; src += 4, dst += 4) store<f32>(dst, load<f32>(dst) + load<f32>(src) * factor);
}

/** dst <- src, rows of so many bytes whose beginnings are `dstStride` and `srcStride` bytes apart. */
export function copyRows(
  dst: usize,
  dstStride: usize,
  src: usize,
  srcStride: usize,
  rows: usize,
  bytes: usize,
): void {
  for (; rows; rows--, dst += dstStride, src += srcStride) memory.copy(dst, src, bytes);
}

/** float32[n] at dst <- values[n] of type T. */
export function widen<T>(dst: usize, src: usize, n: usize): void {
  if (idof<T>() == idof<F32>()) {
    memory.copy(dst, src, 4 * n);
    return;
  }
  const zero = Simd.opaqueZero();
  const full = src + 2 * (n & ~3);
  for (; src < full; src += 8, dst += 16) v128.store(dst, Half.widen<T>(v128.load_ext<u16>(src), zero));
  const rest = n & 3;
  if (rest) {
    v128.store(Scratch.output, Half.widen<T>(v128.load_ext<u16>(Scratch.padInput(src, 2 * rest)), zero));
    memory.copy(dst, Scratch.output, 4 * rest);
  }
}

export function widenAny(type: i32, dst: usize, src: usize, n: usize): void {
  if (type == 0) widen<F32>(dst, src, n);
  else if (type == 1) widen<BF16>(dst, src, n);
  else widen<F16>(dst, src, n);
}

/** dst[n] <- e^((src - largest) * factor) over its sum. Returns the largest of src; NaN if src holds one. */
export function softmax(dst: usize, src: usize, n: usize, factor: f32): f32 {
  let most = f32x4.splat(-Infinity);
  const full = src + 4 * (n & ~3);
  const end = src + 4 * n;
  let i = src;
  for (; i < full; i += 16) most = Functions.max(most, v128.load(i));
  let largest = Functions.largest(most);
  for (; i < end; i += 4) largest = max(largest, load<f32>(i));
  const offset = f32x4.splat(largest);
  const factors = f32x4.splat(factor);
  let sums = f32x4.splat(0);
  let total: f64 = 0;
  let o = dst;
  for (i = src; i < full; i += 16, o += 16) {
    const y = Functions.exp(f32x4.mul(f32x4.sub(v128.load(i), offset), factors));
    v128.store(o, y);
    sums = f32x4.add(sums, y);
    // A long row in parts, or float32 would no longer see the small ones.
    if (((i - src) & 0xfff) == 0) {
      total += <f64>Simd.sum(sums);
      sums = f32x4.splat(0);
    }
  }
  total += <f64>Simd.sum(sums);
  for (; i < end; i += 4, o += 4) {
    const y = Functions.lane(Functions.exp(f32x4.splat((load<f32>(i) - largest) * factor)), 0);
    store<f32>(o, y);
    total += <f64>y;
  }
  const reciprocal = <f32>(1 / total);
  const shares = f32x4.splat(reciprocal);
  const last = dst + 4 * n;
  for (o = dst; o < dst + 4 * (n & ~3); o += 16) v128.store(o, f32x4.mul(v128.load(o), shares));
  for (; o < last; o += 4) store<f32>(o, load<f32>(o) * reciprocal);
  return largest;
}
