import { Functions } from "../../lanes/functions";
import { Simd } from "../../lanes/simd";

/** The sum of the squares of x[n], in float64. */
export function sumOfSquares(x: usize, n: usize): f64 {
  let total: f64 = 0;
  const end = x + 4 * n;
  const full = x + 4 * (n & ~3);
  while (x < full) {
    // float32 for 64 values at a time: their sum loses next to nothing.
    const part = min(x + 256, full);
    let sums = f32x4.splat(0);
    for (; x < part; x += 16) {
      const v = v128.load(x);
      sums = Simd.madd(v, v, sums);
    }
    total += <f64>Simd.sum(sums);
  }
  for (; x < end; x += 4) total += <f64>load<f32>(x) * <f64>load<f32>(x);
  return total;
}

/**
 * One step of AdamW on n weights: m and v become the running means of gradient and squared gradient; the weights decay by `decay` of
 * themselves and move by rate * m / (sqrt(v) + epsilon). The gradient is multiplied by `factor` first. `rate` and the root of `correction`
 * hold what makes up for means that began at 0: m / (1 - beta1^t) and v * correction, correction = 1 / (1 - beta2^t).
 */
export function adamw(
  weights: usize,
  gradient: usize,
  m: usize,
  v: usize,
  n: usize,
  factor: f32,
  rate: f32,
  beta1: f32,
  beta2: f32,
  epsilon: f32,
  correction: f32,
  decay: f32,
): void {
  const end = weights + 4 * n;
  const full = weights + 4 * (n & ~3);
  const b1 = f32x4.splat(beta1);
  const b2 = f32x4.splat(beta2);
  const part1: f32 = (1 - beta1) * factor;
  const part2: f32 = (1 - beta2) * factor * factor;
  const kept: f32 = 1 - decay;
  const c1 = f32x4.splat(part1);
  const c2 = f32x4.splat(part2);
  const keep = f32x4.splat(kept);
  for (; weights < full; weights += 16, gradient += 16, m += 16, v += 16) {
    const g = v128.load(gradient);
    const mean = f32x4.add(f32x4.mul(v128.load(m), b1), f32x4.mul(g, c1));
    const square = f32x4.add(f32x4.mul(v128.load(v), b2), f32x4.mul(f32x4.mul(g, g), c2));
    v128.store(m, mean);
    v128.store(v, square);
    const size = f32x4.add(Functions.sqrt(f32x4.mul(square, f32x4.splat(correction))), f32x4.splat(epsilon));
    const move = f32x4.div(f32x4.mul(mean, f32x4.splat(rate)), size);
    v128.store(weights, f32x4.sub(f32x4.mul(v128.load(weights), keep), move));
  }
  for (; weights < end; weights += 4, gradient += 4, m += 4, v += 4) {
    const g = load<f32>(gradient);
    const mean = load<f32>(m) * beta1 + g * part1;
    const square = load<f32>(v) * beta2 + g * g * part2;
    store<f32>(m, mean);
    store<f32>(v, square);
    store<f32>(weights, load<f32>(weights) * kept - (mean * rate) / (sqrt(square * correction) + epsilon));
  }
}
