/**
 * What the builds for models export: all of index.ts, and the kernels of a forward pass. Documentation in
 * src/model/kernels.ts.
 */
import { Matrix } from "./kernels/matrix";
import { multiplyPlain } from "./kernels/model/plain";
import { Scratch } from "./kernels/scratch";
import { adamw as adamwAs } from "./kernels/train/optimizer";
import { round as roundAs } from "./kernels/train/round";
import {
  roundBlocksStochastic as roundBlocksStochasticAs,
  roundStochastic as roundStochasticAs,
} from "./kernels/train/stochastic";
import { E2M1, E4M3, E5M2 } from "./lanes/format";
import { BF16, F16, F32 } from "./lanes/half";

export * from "./index";
export { activate, activateGated, activatePairs } from "./kernels/model/activation";
export { attend, attentionWorkspace } from "./kernels/model/attention";
export { addToRows, layerNorm, rmsNorm } from "./kernels/model/norm";
export { workspaceOfPlain as plainWorkspace } from "./kernels/model/plain";
export { rope } from "./kernels/model/rope";
export { route } from "./kernels/model/routing";
export { addScaled, copyRows, softmax, widenAs as widen } from "./kernels/model/vectors";
export {
  causalSoftmax,
  crossEntropy,
  rmsNormBackward,
  softmaxBackward,
  swiglu,
  swigluBackward,
} from "./kernels/train/backward";
export { multiply } from "./kernels/train/multiply";
export { sumOfSquares } from "./kernels/train/optimizer";
export { roundWorkspace } from "./kernels/train/round";
export { hadamard, roundNvfp4, setDraws } from "./kernels/train/stochastic";
export { transpose } from "./kernels/train/transpose";

export function scratchBytes(): usize {
  return Scratch.bytes;
}

export function moveScratch(place: usize): void {
  Scratch.moved = place - Scratch.start;
}

export function gemmPlain(
  type: i32,
  dst: usize,
  x: usize,
  rows: usize,
  values: usize,
  n: usize,
  k: usize,
  work: usize,
): void {
  if (type == 0) multiplyPlain<F32>(dst, x, rows, values, n, k, work);
  else if (type == 1) multiplyPlain<BF16>(dst, x, rows, values, n, k, work);
  else multiplyPlain<F16>(dst, x, rows, values, n, k, work);
}

export function round(
  format: i32,
  dst: usize,
  dstStride: usize,
  src: usize,
  stride: usize,
  rows: usize,
  cols: usize,
  blockRows: usize,
  blockCols: usize,
  rounding: i32,
  sums: usize,
  work: usize,
): void {
  // biome-ignore format: one instantiation a line
  switch (format) {
    case 0: return roundAs<E4M3>(dst, dstStride, src, stride, rows, cols, blockRows, blockCols, rounding, sums, work);
    case 1: return roundAs<E5M2>(dst, dstStride, src, stride, rows, cols, blockRows, blockCols, rounding, sums, work);
    default: return roundAs<E2M1>(dst, dstStride, src, stride, rows, cols, blockRows, blockCols, rounding, sums, work);
  }
}

export function roundStochastic(
  format: i32,
  dst: usize,
  src: usize,
  n: usize,
  exponent: i32,
  first: usize,
): void {
  if (format == 0) roundStochasticAs<E4M3>(dst, src, n, exponent, first);
  else if (format == 1) roundStochasticAs<E5M2>(dst, src, n, exponent, first);
  else roundStochasticAs<E2M1>(dst, src, n, exponent, first);
}

export function roundBlocksStochastic(
  matrix: Matrix,
  dst: usize,
  src: usize,
  rounding: i32,
  firstRow: usize,
  work: usize,
): void {
  // biome-ignore format: one instantiation a line
  switch (matrix.format) {
    case 0: return roundBlocksStochasticAs<E4M3>(matrix, dst, src, rounding, firstRow, work);
    case 1: return roundBlocksStochasticAs<E5M2>(matrix, dst, src, rounding, firstRow, work);
    default: return roundBlocksStochasticAs<E2M1>(matrix, dst, src, rounding, firstRow, work);
  }
}

/** m and v are float32 (type 0) or bfloat16. */
export function adamw(
  type: i32,
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
  if (type == 0)
    adamwAs<F32>(weights, gradient, m, v, n, factor, rate, beta1, beta2, epsilon, correction, decay);
  else adamwAs<BF16>(weights, gradient, m, v, n, factor, rate, beta1, beta2, epsilon, correction, decay);
}
