import { Compare } from "../../lanes/compare";
import { Fp8 } from "../../lanes/fp8";
import { Half } from "../../lanes/half";
import { Simd } from "../../lanes/simd";
import { Scratch } from "../scratch";
import { Values } from "../values";

/**
 * Compares values[n] of type T with the float32 `result` that a cast made of them, and adds to the nine
 * float64 at `sums`: x^2, (x - y)^2, y^2 and x * y, summed; the largest |x|, |x - y| and |x - y| / |x|; how
 * many x became 0, and how many were cut to the largest code. `codes` are those of the result, and
 * `groupSums` the address for the sums of each sixteen values; 0 if there are none.
 */
export function compare<F, T>(
  sums: usize,
  values: usize,
  result: usize,
  codes: usize,
  groupSums: usize,
  n: usize,
): void {
  const whole = n & ~15;
  if (whole) compareVectors<F, T>(sums, values, result, codes, groupSums, whole);
  const rest = n & 15;
  if (!rest) return;
  // Zeros that became zeros add nothing. The memory of running maxima is free here.
  const paddedCodes = Scratch.maxima;
  const paddedResult = Scratch.maxima + 16;
  memory.fill(paddedCodes, 0, 16 + 64);
  memory.copy(paddedResult, result + 4 * whole, 4 * rest);
  if (codes) memory.copy(paddedCodes, codes + whole, rest);
  const size = Half.size<T>();
  const padded = Scratch.padInput(values + whole * size, rest * size);
  compareVectors<F, T>(
    sums,
    padded,
    paddedResult,
    codes ? paddedCodes : 0,
    groupSums ? groupSums + whole : 0,
    16,
  );
}

function compareVectors<F, T>(
  sums: usize,
  values: usize,
  result: usize,
  codes: usize,
  groupSums: usize,
  n: usize,
): void {
  const zero = Simd.opaqueZero();
  const magnitudeMask = Fp8.magnitudeMask(zero);
  const topCode = Fp8.topCode<F>(zero);
  let signal = f64x2.splat(0);
  let noise = f64x2.splat(0);
  let energy = f64x2.splat(0);
  let product = f64x2.splat(0);
  let amax = f32x4.splat(0);
  let maxError = f64x2.splat(0);
  let relative = load<f64>(sums, 48);
  let flushed = i32x4.splat(0);
  let saturated = i32x4.splat(0);
  const end = result + 4 * n;
  do {
    // Sums of these sixteen alone: their additions do not wait for those of the sixteen before.
    let ownSignal = f64x2.splat(0);
    let ownNoise = f64x2.splat(0);
    let ownEnergy = f64x2.splat(0);
    let ownProduct = f64x2.splat(0);
    let k: usize = 0;
    do {
      const x = Values.load0<T>(values + 4 * k * Half.size<T>(), zero);
      const y = v128.load(result + 16 * k);
      const xLow = Compare.low(x);
      const xHigh = Compare.high(x);
      const yLow = Compare.low(y);
      const yHigh = Compare.high(y);
      const errorLow = Compare.error(xLow, yLow);
      const errorHigh = Compare.error(xHigh, yHigh);
      ownSignal = Compare.addProduct(Compare.addProduct(ownSignal, xLow, xLow), xHigh, xHigh);
      ownNoise = Compare.addProduct(Compare.addProduct(ownNoise, errorLow, errorLow), errorHigh, errorHigh);
      ownEnergy = Compare.addProduct(Compare.addProduct(ownEnergy, yLow, yLow), yHigh, yHigh);
      ownProduct = Compare.addProduct(Compare.addProduct(ownProduct, xLow, yLow), xHigh, yHigh);
      amax = Compare.largerMagnitude(amax, x);
      maxError = Compare.larger(Compare.larger(maxError, errorLow), errorHigh);
      flushed = Compare.countFlushed(flushed, x, y);
      if (Compare.exceeds(errorLow, xLow, errorHigh, xHigh, relative)) {
        relative = Compare.largestRelative(relative, errorLow, xLow);
        relative = Compare.largestRelative(relative, errorHigh, xHigh);
      }
    } while (++k < 4);
    signal = f64x2.add(signal, ownSignal);
    noise = f64x2.add(noise, ownNoise);
    energy = f64x2.add(energy, ownEnergy);
    product = f64x2.add(product, ownProduct);
    if (groupSums) {
      v128.store(groupSums, Compare.sums(ownSignal, ownNoise));
      groupSums += 16;
    }
    if (codes) {
      const isTop = Compare.isTop(v128.load(codes), magnitudeMask, topCode);
      if (Compare.any(isTop)) {
        const low = Compare.lowMasks(isTop);
        const high = Compare.highMasks(isTop);
        saturated = Compare.countSaturatedLow(
          saturated,
          low,
          Values.load0<T>(values, zero),
          v128.load(result),
        );
        saturated = Compare.countSaturatedHigh(
          saturated,
          low,
          Values.load1<T>(values, zero),
          v128.load(result, 16),
        );
        saturated = Compare.countSaturatedLow(
          saturated,
          high,
          Values.load2<T>(values, zero),
          v128.load(result, 32),
        );
        saturated = Compare.countSaturatedHigh(
          saturated,
          high,
          Values.load3<T>(values, zero),
          v128.load(result, 48),
        );
      }
      codes += 16;
    }
    values += 16 * Half.size<T>();
    result += 64;
  } while (result < end);
  add(sums, Compare.sum(signal));
  add(sums + 8, Compare.sum(noise));
  add(sums + 16, Compare.sum(energy));
  add(sums + 24, Compare.sum(product));
  store<f64>(sums, max(load<f64>(sums, 32), <f64>Compare.largest(amax)), 32);
  store<f64>(sums, max(load<f64>(sums, 40), Compare.largest64(maxError)), 40);
  store<f64>(sums, relative, 48);
  add(sums + 56, <f64>Compare.total(flushed));
  add(sums + 64, <f64>Compare.total(saturated));
}

function add(at: usize, value: f64): void {
  store<f64>(at, load<f64>(at) + value);
}
