/**
 * What the wasm builds export, and the only place where a format id becomes a type.
 * The documentation of each export is in src/wasm/exports.ts.
 */
import { compare as compareAs } from "./kernels/compare";
import { decode as decodeAs, dequantize as dequantizeAs } from "./kernels/dequantize";
import { multiply, workspace } from "./kernels/multiply";
import { encode as encodeAs, quantize as quantizeAs } from "./kernels/quantize";
import { Scratch } from "./kernels/scratch";
import { dotFarRow, surveyWeights } from "./kernels/survey";
import { Weights } from "./kernels/weights";
import { E4M3, E5M2 } from "./lanes/format";
import { BF16, F16, F32 } from "./lanes/half";

export function heapBase(): usize {
  return Scratch.end;
}

export function encode(format: i32, dst: usize, src: usize, n: usize): void {
  if (format == 0) encodeAs<E4M3>(dst, src, n);
  else encodeAs<E5M2>(dst, src, n);
}

export function decode(format: i32, dst: usize, src: usize, n: usize): void {
  if (format == 0) decodeAs<E4M3>(dst, src, n);
  else decodeAs<E5M2>(dst, src, n);
}

export function quantize(
  format: i32,
  type: i32,
  scaleType: i32,
  codes: usize,
  scales: usize,
  src: usize,
  rows: usize,
  cols: usize,
  blockRows: usize,
  blockCols: usize,
  rounding: i32,
  amaxFloor: i32,
  zeroScale: i32,
): void {
  // biome-ignore format: one instantiation a line
  switch (format * 3 + type) {
    case 0: return quantizeAs<E4M3, F32>(scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale);
    case 1: return quantizeAs<E4M3, BF16>(scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale);
    case 2: return quantizeAs<E4M3, F16>(scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale);
    case 3: return quantizeAs<E5M2, F32>(scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale);
    case 4: return quantizeAs<E5M2, BF16>(scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale);
    default: return quantizeAs<E5M2, F16>(scaleType, codes, scales, src, rows, cols, blockRows, blockCols, rounding, amaxFloor, zeroScale);
  }
}

export function dequantize(
  format: i32,
  type: i32,
  scaleType: i32,
  dst: usize,
  codes: usize,
  scales: usize,
  rows: usize,
  cols: usize,
  blockRows: usize,
  blockCols: usize,
): void {
  // biome-ignore format: one instantiation a line
  switch (format * 3 + type) {
    case 0: return dequantizeAs<E4M3, F32>(scaleType, dst, codes, scales, rows, cols, blockRows, blockCols);
    case 1: return dequantizeAs<E4M3, BF16>(scaleType, dst, codes, scales, rows, cols, blockRows, blockCols);
    case 2: return dequantizeAs<E4M3, F16>(scaleType, dst, codes, scales, rows, cols, blockRows, blockCols);
    case 3: return dequantizeAs<E5M2, F32>(scaleType, dst, codes, scales, rows, cols, blockRows, blockCols);
    case 4: return dequantizeAs<E5M2, BF16>(scaleType, dst, codes, scales, rows, cols, blockRows, blockCols);
    default: return dequantizeAs<E5M2, F16>(scaleType, dst, codes, scales, rows, cols, blockRows, blockCols);
  }
}

export function compare(
  format: i32,
  type: i32,
  sums: usize,
  values: usize,
  became: usize,
  codes: usize,
  n: usize,
): void {
  // biome-ignore format: one instantiation a line
  switch (format * 3 + type) {
    case 0: return compareAs<E4M3, F32>(sums, values, became, codes, n);
    case 1: return compareAs<E4M3, BF16>(sums, values, became, codes, n);
    case 2: return compareAs<E4M3, F16>(sums, values, became, codes, n);
    case 3: return compareAs<E5M2, F32>(sums, values, became, codes, n);
    case 4: return compareAs<E5M2, BF16>(sums, values, became, codes, n);
    default: return compareAs<E5M2, F16>(sums, values, became, codes, n);
  }
}

export function survey(
  format: i32,
  scaleType: i32,
  record: usize,
  codes: usize,
  scales: usize,
  firstRow: usize,
  n: usize,
  k: usize,
  blockRows: usize,
  blockCols: usize,
): i32 {
  Weights.set(scaleType, codes, scales, firstRow, n, k, blockRows, blockCols);
  return format == 0 ? surveyWeights<E4M3>(record) : surveyWeights<E5M2>(record);
}

export function gemmWorkspace(rows: usize, k: usize): usize {
  return workspace(rows, k);
}

export function gemm(
  format: i32,
  type: i32,
  scaleType: i32,
  dst: usize,
  x: usize,
  rows: usize,
  codes: usize,
  scales: usize,
  firstRow: usize,
  n: usize,
  k: usize,
  blockRows: usize,
  blockCols: usize,
  lowestScale: i32,
  highestScale: i32,
  work: usize,
): void {
  Weights.set(scaleType, codes, scales, firstRow, n, k, blockRows, blockCols);
  if (format == 0) multiply<E4M3>(type, work, dst, x, rows, lowestScale, highestScale);
  else multiply<E5M2>(type, work, dst, x, rows, lowestScale, highestScale);
}

export function dotFar(
  format: i32,
  scaleType: i32,
  x: usize,
  codes: usize,
  scales: usize,
  k: usize,
  blockCols: usize,
): f64 {
  Weights.set(scaleType, codes, scales, 0, 1, k, 1, blockCols);
  return format == 0 ? dotFarRow<E4M3>(x, 0) : dotFarRow<E5M2>(x, 0);
}
