/**
 * What the builds for models export: all of index.ts, and the kernels of a forward pass. Documentation in src/model/kernels.ts.
 */
import { multiplyPlain, workspaceOfPlain } from "./kernels/model/plain";
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
export { transpose } from "./kernels/train/transpose";

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
