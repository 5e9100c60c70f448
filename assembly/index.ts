/**
 * What the wasm builds export, and the only place where a format id becomes a type.
 * The documentation of each export is in src/wasm/kernels.ts.
 */
import { compare as compareAs } from "./kernels/casts/compare";
import { decode as decodeAs, dequantize as dequantizeAs } from "./kernels/casts/dequantize";
import { encode as encodeAs } from "./kernels/casts/encode";
import { quantize as quantizeAs } from "./kernels/casts/quantize";
import { widen as widenAs } from "./kernels/casts/widen";
import { E4M3_CODES, MatrixRecord } from "./kernels/matrix";
import { analyseWeights } from "./kernels/products/analyse";
import { dotFloat64 as dotFloat64As } from "./kernels/products/dot-float64";
import { multiply } from "./kernels/products/gemm";
import { moveSubnormals } from "./kernels/products/subnormals";
import { Scratch } from "./kernels/scratch";
import { E2M1, E2M3, E4M3, E5M2 } from "./lanes/format";
import { Fp8 } from "./lanes/fp8";
import { BF16, F16, F32 } from "./lanes/half";

export {
  hasTrueDots,
  integerWorkspace,
  multiplyIntegers as gemmIntegers,
} from "./kernels/integers/product";
export { packedBytes as int7Bytes, packInt7, quantizeInt8 } from "./kernels/integers/quantize";
export { workspace as gemmWorkspace } from "./kernels/products/gemm";

export function heapBase(): usize {
  return Scratch.end;
}

export function encode(format: i32, dst: usize, src: usize, n: usize): void {
  if (format == 0) encodeAs<E4M3>(dst, src, n);
  else if (format == 1) encodeAs<E5M2>(dst, src, n);
  else if (format == 2) encodeAs<E2M1>(dst, src, n);
  else encodeAs<E2M3>(dst, src, n);
}

export function decode(format: i32, dst: usize, src: usize, n: usize): void {
  if (format == 0) decodeAs<E4M3>(dst, src, n);
  else decodeAs<E5M2>(dst, src, n);
}

export function widen(type: i32, dst: usize, src: usize, n: usize): void {
  if (type == 1) widenAs<BF16>(dst, src, n);
  else widenAs<F16>(dst, src, n);
}

export function quantize(
  matrix: MatrixRecord,
  type: i32,
  src: usize,
  rounding: i32,
  amaxFloor: i32,
  zeroScale: i32,
): void {
  // biome-ignore format: one instantiation a line
  switch (matrix.format * 3 + type) {
    case 0: return quantizeAs<E4M3, F32>(matrix, src, rounding, amaxFloor, zeroScale);
    case 1: return quantizeAs<E4M3, BF16>(matrix, src, rounding, amaxFloor, zeroScale);
    case 2: return quantizeAs<E4M3, F16>(matrix, src, rounding, amaxFloor, zeroScale);
    case 3: return quantizeAs<E5M2, F32>(matrix, src, rounding, amaxFloor, zeroScale);
    case 4: return quantizeAs<E5M2, BF16>(matrix, src, rounding, amaxFloor, zeroScale);
    case 5: return quantizeAs<E5M2, F16>(matrix, src, rounding, amaxFloor, zeroScale);
    // FP4 and FP6 take float32 alone: the engine widens halves, and a third of this code is not downloaded.
    case 6: return quantizeAs<E2M1, F32>(matrix, src, rounding, amaxFloor, zeroScale);
    default: return quantizeAs<E2M3, F32>(matrix, src, rounding, amaxFloor, zeroScale);
  }
}

export function dequantize(matrix: MatrixRecord, type: i32, dst: usize): void {
  // biome-ignore format: one instantiation a line
  switch (matrix.format * 3 + type) {
    case 0: return dequantizeAs<E4M3, F32>(matrix, dst);
    case 1: return dequantizeAs<E4M3, BF16>(matrix, dst);
    case 2: return dequantizeAs<E4M3, F16>(matrix, dst);
    case 3: return dequantizeAs<E5M2, F32>(matrix, dst);
    case 4: return dequantizeAs<E5M2, BF16>(matrix, dst);
    default: return dequantizeAs<E5M2, F16>(matrix, dst);
  }
}

export function compare(
  format: i32,
  type: i32,
  sums: usize,
  values: usize,
  result: usize,
  codes: usize,
  groupSums: usize,
  n: usize,
): void {
  // biome-ignore format: one instantiation a line
  switch (format * 3 + type) {
    case 0: return compareAs<E4M3, F32>(sums, values, result, codes, groupSums, n);
    case 1: return compareAs<E4M3, BF16>(sums, values, result, codes, groupSums, n);
    case 2: return compareAs<E4M3, F16>(sums, values, result, codes, groupSums, n);
    case 3: return compareAs<E5M2, F32>(sums, values, result, codes, groupSums, n);
    case 4: return compareAs<E5M2, BF16>(sums, values, result, codes, groupSums, n);
    default: return compareAs<E5M2, F16>(sums, values, result, codes, groupSums, n);
  }
}

export function analyse(matrix: MatrixRecord, flags: usize, list: usize): i32 {
  return matrix.format == E4M3_CODES
    ? analyseWeights<E4M3>(matrix, flags, list)
    : analyseWeights<E5M2>(matrix, flags, list);
}

export function listSubnormals(matrix: MatrixRecord): void {
  if (matrix.list == 0) return;
  const largest = matrix.format == E4M3_CODES ? Fp8.largestSubnormal<E4M3>() : Fp8.largestSubnormal<E5M2>();
  moveSubnormals(matrix, largest);
}

export function gemm(matrix: MatrixRecord, type: i32, dst: usize, x: usize, rows: usize, work: usize): void {
  if (matrix.format == E4M3_CODES) multiply<E4M3>(matrix, type, work, dst, x, rows);
  else multiply<E5M2>(matrix, type, work, dst, x, rows);
}

export function dotFloat64(matrix: MatrixRecord, x: usize, row: usize): f64 {
  return matrix.format == E4M3_CODES
    ? dotFloat64As<E4M3>(matrix, x, row)
    : dotFloat64As<E5M2>(matrix, x, row);
}
