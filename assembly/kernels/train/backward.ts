import { ActivationFunction } from "../../lanes/activation";
import { Compare } from "../../lanes/compare";
import { Functions } from "../../lanes/functions";
import { Simd } from "../../lanes/simd";

const ONE: f32 = 1;

/**
 * dx[rows, cols] += gradient of rmsNorm, dweight[cols] += that of its weight, from dy[rows, cols] and the x
 * that went in.
 *
 * With r = 1 / sqrt(mean(x^2) + epsilon), y = x r w: dw += dy x r, and dx = r (dy w - x r^2 mean(dy w x)).
 */
export function rmsNormBackward(
  dx: usize,
  dweight: usize,
  dy: usize,
  x: usize,
  weight: usize,
  rows: usize,
  cols: usize,
  epsilon: f32,
): void {
  const full = cols & ~3;
  for (; rows; rows--) {
    // In float64, four at a time; the others one by one.
    let squareSums = f64x2.splat(0);
    let productSums = f64x2.splat(0);
    for (let i: usize = 0; i < full; i += 4) {
      const value = v128.load(x + 4 * i);
      const slope = v128.load(dy + 4 * i);
      const factor = v128.load(weight + 4 * i);
      const low = Compare.low(value);
      const high = Compare.high(value);
      squareSums = Compare.addProduct(Compare.addProduct(squareSums, low, low), high, high);
      productSums = Compare.addProduct(productSums, f64x2.mul(Compare.low(slope), Compare.low(factor)), low);
      productSums = Compare.addProduct(
        productSums,
        f64x2.mul(Compare.high(slope), Compare.high(factor)),
        high,
      );
    }
    let squares = Compare.sum(squareSums);
    let products = Compare.sum(productSums);
    for (let i = full; i < cols; i++) {
      const value = <f64>load<f32>(x + 4 * i);
      squares += value * value;
      products += <f64>load<f32>(dy + 4 * i) * <f64>load<f32>(weight + 4 * i) * value;
    }
    const root: f64 = 1 / sqrt<f64>(squares / <f64>cols + <f64>epsilon);
    const r = <f32>root;
    const pull = <f32>((root * root * products) / <f64>cols);
    const rs = f32x4.splat(r);
    const pulls = f32x4.splat(pull);
    for (let i: usize = 0; i < full; i += 4) {
      const value = v128.load(x + 4 * i);
      const slope = v128.load(dy + 4 * i);
      const pulled = f32x4.sub(f32x4.mul(slope, v128.load(weight + 4 * i)), f32x4.mul(value, pulls));
      v128.store(dx + 4 * i, f32x4.add(v128.load(dx + 4 * i), f32x4.mul(rs, pulled)));
      const part = f32x4.mul(f32x4.mul(slope, value), rs);
      v128.store(dweight + 4 * i, f32x4.add(v128.load(dweight + 4 * i), part));
    }
    for (let i = full; i < cols; i++) {
      const value = load<f32>(x + 4 * i);
      const slope = load<f32>(dy + 4 * i);
      const pulled: f32 = slope * load<f32>(weight + 4 * i) - value * pull;
      store<f32>(dx + 4 * i, load<f32>(dx + 4 * i) + r * pulled);
      store<f32>(dweight + 4 * i, load<f32>(dweight + 4 * i) + slope * value * r);
    }
    dx += 4 * cols;
    dy += 4 * cols;
    x += 4 * cols;
  }
}

/**
 * The gradients of act = silu(gate) * up, each of n values, n a multiple of 4: dgate and dup, from dact. With
 * s the sigmoid of gate, dgate = dact up s (1 + gate (1 - s)), dup = dact gate s. They may take the place of
 * gate and up.
 */
export function swigluBackward(
  dgate: usize,
  dup: usize,
  dact: usize,
  gate: usize,
  up: usize,
  n: usize,
): void {
  const end = dgate + 4 * n;
  const one = f32x4.splat(ONE);
  for (; dgate < end; dgate += 16, dup += 16, dact += 16, gate += 16, up += 16) {
    const g = v128.load(gate);
    const u = v128.load(up);
    const d = v128.load(dact);
    const s = Functions.sigmoid(g);
    const slope = f32x4.mul(s, f32x4.add(one, f32x4.mul(g, f32x4.sub(one, s))));
    v128.store(dgate, f32x4.mul(f32x4.mul(d, u), slope));
    v128.store(dup, f32x4.mul(d, f32x4.mul(g, s)));
  }
}

/** act[n] <- silu(gate) * up, n a multiple of 4; gate and up stay: the forward pass of `swigluBackward`. */
export function swiglu(act: usize, gate: usize, up: usize, n: usize): void {
  const end = act + 4 * n;
  for (; act < end; act += 16, gate += 16, up += 16)
    v128.store(act, f32x4.mul(ActivationFunction.silu(v128.load(gate)), v128.load(up)));
}

/** p[n, n] <- the causal softmax of scale * p: row i over its first i + 1 columns, 0 behind them. */
export function causalSoftmax(p: usize, n: usize, scale: f32): void {
  for (let i: usize = 0; i < n; i++, p += 4 * n) {
    let most: f32 = -Infinity;
    for (let j: usize = 0; j <= i; j++) most = max(most, load<f32>(p + 4 * j));
    const end = (i + 4) & ~3;
    const offset = f32x4.splat(most);
    const factors = f32x4.splat(scale);
    for (let j: usize = 0; j < min(end, n & ~3); j += 4)
      v128.store(p + 4 * j, Functions.exp(f32x4.mul(f32x4.sub(v128.load(p + 4 * j), offset), factors)));
    for (let j: usize = n & ~3; j <= i; j++)
      store<f32>(
        p + 4 * j,
        Functions.lane(Functions.exp(f32x4.splat((load<f32>(p + 4 * j) - most) * scale)), 0),
      );
    let total: f64 = 0;
    for (let j: usize = 0; j <= i; j++) total += <f64>load<f32>(p + 4 * j);
    const share = <f32>(1 / total);
    for (let j: usize = 0; j <= i; j++) store<f32>(p + 4 * j, load<f32>(p + 4 * j) * share);
    memory.fill(p + 4 * (i + 1), 0, 4 * (n - i - 1));
  }
}

/** ds[n, n] <- scale * p (dp - sum of p dp, by row), which may take the place of dp. */
export function softmaxBackward(ds: usize, dp: usize, p: usize, n: usize, scale: f32): void {
  for (let i: usize = 0; i < n; i++) {
    let total: f64 = 0;
    for (let j: usize = 0; j <= i; j++) total += <f64>load<f32>(p + 4 * j) * <f64>load<f32>(dp + 4 * j);
    const mean = <f32>total;
    for (let j: usize = 0; j <= i; j++)
      store<f32>(ds + 4 * j, scale * load<f32>(p + 4 * j) * (load<f32>(dp + 4 * j) - mean));
    memory.fill(ds + 4 * (i + 1), 0, 4 * (n - i - 1));
    ds += 4 * n;
    dp += 4 * n;
    p += 4 * n;
  }
}

/**
 * logits[rows, n] <- (softmax, less 1 at the target) * factor, the gradient of `factor` times the summed
 * cross-entropy; returns that sum in nats, without the factor. targets[rows] are int32.
 */
export function crossEntropy(logits: usize, targets: usize, rows: usize, n: usize, factor: f32): f64 {
  let loss: f64 = 0;
  for (; rows; rows--, logits += 4 * n, targets += 4) {
    let most: f32 = -Infinity;
    for (let i: usize = 0; i < n; i++) most = max(most, load<f32>(logits + 4 * i));
    const target = logits + 4 * load<i32>(targets);
    const chosen = load<f32>(target) - most;
    let total: f64 = 0;
    const offset = f32x4.splat(most);
    const full = n & ~3;
    for (let i: usize = 0; i < full; i += 4) {
      const e = Functions.exp(f32x4.sub(v128.load(logits + 4 * i), offset));
      v128.store(logits + 4 * i, e);
      total += <f64>Simd.sum(e);
    }
    for (let i = full; i < n; i++) {
      const e = Functions.lane(Functions.exp(f32x4.splat(load<f32>(logits + 4 * i) - most)), 0);
      store<f32>(logits + 4 * i, e);
      total += <f64>e;
    }
    loss += Math.log(total) - <f64>chosen;
    const share = <f32>(<f64>factor / total);
    for (let i: usize = 0; i < n; i++) store<f32>(logits + 4 * i, load<f32>(logits + 4 * i) * share);
    store<f32>(target, load<f32>(target) - factor);
  }
  return loss;
}
