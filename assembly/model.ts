/**
 * What the builds for models export: all of index.ts, but `widen`, which takes float32 too here, and the
 * kernels of forward passes and of training. The documentation is in src/model/kernels.ts and
 * src/train/kernels.ts.
 */
import { MatrixRecord } from "./kernels/matrix";
import { multiplyPlain } from "./kernels/model/plain";
import { Scratch } from "./kernels/scratch";
import { AdamwCall, adamw as adamwAs } from "./kernels/train/optimizer";
import { RoundingCall, round as roundAs } from "./kernels/train/round";
import {
  RandomStream,
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
export { addScaled, copyRows, softmax, widenAny as widen } from "./kernels/model/vectors";
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
export { hadamard } from "./kernels/train/signed-hadamard";
export { roundNvfp4 } from "./kernels/train/to-nvfp4";
export { transpose } from "./kernels/train/transpose";

export function scratchBytes(): usize {
  return Scratch.bytes;
}

export function moveScratch(address: usize): void {
  Scratch.moved = address - Scratch.start;
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

export function round(call: RoundingCall): void {
  if (call.format == 0) roundAs<E4M3>(call);
  else if (call.format == 1) roundAs<E5M2>(call);
  else roundAs<E2M1>(call);
}

export function roundStochastic(
  format: i32,
  dst: usize,
  src: usize,
  n: usize,
  exponent: i32,
  first: usize,
  stream: RandomStream,
): void {
  if (format == 0) roundStochasticAs<E4M3>(dst, src, n, exponent, first, stream);
  else if (format == 1) roundStochasticAs<E5M2>(dst, src, n, exponent, first, stream);
  else roundStochasticAs<E2M1>(dst, src, n, exponent, first, stream);
}

export function roundBlocksStochastic(
  matrix: MatrixRecord,
  dst: usize,
  src: usize,
  rounding: i32,
  firstRow: usize,
  stream: RandomStream,
  work: usize,
): void {
  // biome-ignore format: one instantiation a line
  switch (matrix.format) {
    case 0: return roundBlocksStochasticAs<E4M3>(matrix, dst, src, rounding, firstRow, stream, work);
    case 1: return roundBlocksStochasticAs<E5M2>(matrix, dst, src, rounding, firstRow, stream, work);
    default: return roundBlocksStochasticAs<E2M1>(matrix, dst, src, rounding, firstRow, stream, work);
  }
}

export function adamw(call: AdamwCall): void {
  if (call.type == 0) adamwAs<F32>(call);
  else adamwAs<BF16>(call);
}
