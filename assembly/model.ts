/**
 * What the builds for models export: all of index.ts, and the kernels of a forward pass. Documentation in src/model/kernels.ts.
 */
import { multiplyPlain, workspaceOfPlain } from "./kernels/model/plain";
import { Scratch } from "./kernels/scratch";
import { round as roundAs } from "./kernels/train/round";
import { E2M1, E4M3, E5M2 } from "./lanes/format";
import { BF16, F16, F32 } from "./lanes/half";

export * from "./index";
export { activate, activateGated, activatePairs } from "./kernels/model/activation";
export { attend, attentionWorkspace } from "./kernels/model/attention";
export { addToRows, layerNorm, rmsNorm } from "./kernels/model/norm";
export { rope } from "./kernels/model/rope";
export { route } from "./kernels/model/routing";
export { addScaled, softmax, widenAs as widen } from "./kernels/model/vectors";
export {
  causalSoftmax,
  crossEntropy,
  rmsNormBackward,
  softmaxBackward,
  swiglu,
  swigluBackward,
} from "./kernels/train/backward";
export { adamw, sumOfSquares } from "./kernels/train/optimizer";
export { roundWorkspace } from "./kernels/train/round";
export { transpose } from "./kernels/train/transpose";

export function scratchBytes(): usize {
  return Scratch.bytes;
}

export function moveScratch(place: usize): void {
  Scratch.moved = place - Scratch.start;
}

export function plainWorkspace(rows: usize, k: usize): usize {
  return workspaceOfPlain(rows, k);
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
  src: usize,
  rows: usize,
  cols: usize,
  blockRows: usize,
  blockCols: usize,
  rounding: i32,
  sums: usize,
  work: usize,
): void {
  if (format == 0) roundAs<E4M3>(dst, src, rows, cols, blockRows, blockCols, rounding, sums, work);
  else if (format == 1) roundAs<E5M2>(dst, src, rows, cols, blockRows, blockCols, rounding, sums, work);
  else roundAs<E2M1>(dst, src, rows, cols, blockRows, blockCols, rounding, sums, work);
}
