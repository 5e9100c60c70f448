import { Functions } from "../../lanes/functions";
import { F32, Half } from "../../lanes/half";
import { Simd } from "../../lanes/simd";
import { Scratch } from "../scratch";

/** The sum of the squares of x[n], in float64. */
export function sumOfSquares(x: usize, n: usize): f64 {
  let total: f64 = 0;
  const end = x + 4 * n;
  const full = x + 4 * (n & ~3);
  while (x < full) {
    // float32 for 64 values at a time: their sum loses next to nothing.
    const stop = min(x + 256, full);
    let sums = f32x4.splat(0);
    for (; x < stop; x += 16) {
      const v = v128.load(x);
      sums = Simd.madd(v, v, sums);
    }
    total += <f64>Simd.sum(sums);
  }
  for (; x < end; x += 4) total += <f64>load<f32>(x) * <f64>load<f32>(x);
  return total;
}

/** The arguments of `adamw`: an AdamwCall of src/train/calls.ts, which says what they mean. */
@unmanaged
export class AdamwCall {
  type: u32 = 0;
  weights: usize = 0;
  gradient: usize = 0;
  m: usize = 0;
  v: usize = 0;
  count: usize = 0;
  factor: f32 = 0;
  correctedRate: f32 = 0;
  beta1: f32 = 0;
  beta2: f32 = 0;
  epsilon: f32 = 0;
  correction: f32 = 0;
  decay: f32 = 0;
}

/**
 * One step of AdamW: m and v of type T, float32 or bfloat16, become the running means of gradient and squared
 * gradient; the weights lose `decay` of themselves and move by the rate * m / (sqrt(v) + epsilon). The
 * gradient is multiplied by `factor` first. `correctedRate` and `correction` hold what makes up for means
 * that began at 0: m / (1 - beta1^t) and v * correction, correction = 1 / (1 - beta2^t). What moves the
 * weights are the means before they are rounded to bfloat16.
 */
export function adamw<T>(call: AdamwCall): void {
  const rest = call.count & 3;
  const full = call.count - rest;
  update<T>(call, call.weights, call.gradient, call.m, call.v, full);
  if (!rest) return;
  // The last ones by way of four, the others of which are 0, in the memory of maxima, which is free here.
  const size = Half.size<T>();
  const weights = call.weights + 4 * full;
  const m = call.m + size * full;
  const v = call.v + size * full;
  const w = Scratch.maxima;
  const g = w + 16;
  const a = w + 32;
  const b = w + 48;
  memory.fill(w, 0, 64);
  memory.copy(w, weights, 4 * rest);
  memory.copy(g, call.gradient + 4 * full, 4 * rest);
  memory.copy(a, m, size * rest);
  memory.copy(b, v, size * rest);
  update<T>(call, w, g, a, b, 4);
  memory.copy(weights, w, 4 * rest);
  memory.copy(m, a, size * rest);
  memory.copy(v, b, size * rest);
}

/** The step for n values, a multiple of four. */
function update<T>(call: AdamwCall, weights: usize, gradient: usize, m: usize, v: usize, n: usize): void {
  const zero = Simd.opaqueZero();
  const end = weights + 4 * n;
  const factor = call.factor;
  const b1 = f32x4.splat(call.beta1);
  const b2 = f32x4.splat(call.beta2);
  const part1: f32 = (1 - call.beta1) * factor;
  const part2: f32 = (1 - call.beta2) * factor * factor;
  const kept: f32 = 1 - call.decay;
  const c1 = f32x4.splat(part1);
  const c2 = f32x4.splat(part2);
  const keep = f32x4.splat(kept);
  const rate = f32x4.splat(call.correctedRate);
  const epsilon = f32x4.splat(call.epsilon);
  const correction = f32x4.splat(call.correction);
  for (; weights < end; weights += 16, gradient += 16) {
    const g = v128.load(gradient);
    const mean = f32x4.add(f32x4.mul(Four.load<T>(m, zero), b1), f32x4.mul(g, c1));
    const square = f32x4.add(f32x4.mul(Four.load<T>(v, zero), b2), f32x4.mul(f32x4.mul(g, g), c2));
    Four.store<T>(m, mean, zero);
    Four.store<T>(v, square, zero);
    m += 4 * Half.size<T>();
    v += 4 * Half.size<T>();
    const size = f32x4.add(Functions.sqrt(f32x4.mul(square, correction)), epsilon);
    const move = f32x4.div(f32x4.mul(mean, rate), size);
    v128.store(weights, f32x4.sub(f32x4.mul(v128.load(weights), keep), move));
  }
}

/** Four values of type T in memory, float32 in a vector. */
abstract class Four {
  @inline static load<T>(at: usize, zero: i32): v128 {
    return idof<T>() == idof<F32>() ? v128.load(at) : Half.widen<T>(v128.load_ext<u16>(at), zero);
  }

  @inline static store<T>(at: usize, values: v128, zero: i32): void {
    if (idof<T>() == idof<F32>()) v128.store(at, values);
    else v128.store_lane<u64>(at, Half.narrow<T>(values, values, zero), 0);
  }
}
