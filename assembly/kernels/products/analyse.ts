import { Fp8 } from "../../lanes/fp8";
import { Scale } from "../../lanes/scale";
import { Shifted } from "../../lanes/shifted";
import { Simd } from "../../lanes/simd";
import { MatrixRecord } from "../matrix";
import { Scratch } from "../scratch";
import { countSubnormals, Subnormals, startRow } from "./subnormals";

/**
 * What the fast products need to know of the weights, as `analyse` of src/wasm/kernels.ts says: which rows
 * they cannot do, between which exponents the scales of the others lie, and where there are subnormal codes.
 */
export function analyseWeights<F>(weights: MatrixRecord, flags: usize, list: usize): i32 {
  assert(weights.blockRows > 0 && weights.blockCols > 0, "a block has rows and columns");
  let lowest = 255;
  let highest = 0;
  let float64Rows = 0;
  const runCols = weights.runCols;
  const most = Subnormals.most(weights.cols);
  let start: u32 = 0;
  let needsList = false;
  for (let n: usize = 0; n < weights.rows; n++) {
    const codes = weights.codesOf(n);
    let scale = weights.scalesOf(n);
    let needsFloat64 = false;
    for (let k: usize = 0; k < weights.cols; k += runCols) {
      const found = inspect<F>(codes + k, min(runCols, weights.cols - k));
      const field = Scale.field(weights.scale(scale));
      scale += weights.scaleBytes;
      if (found == SPECIAL || Shifted.overflows<F>(field)) needsFloat64 = true;
      else {
        // A block of zeros is decoded like any, so its scale counts for overflow; it cannot underflow.
        highest = max(highest, field);
        if (found != ZERO) lowest = min(lowest, field);
      }
    }
    store<u8>(flags + n, needsFloat64 ? 1 : 0);
    float64Rows += needsFloat64 ? 1 : 0;
    const subnormals: u32 = most ? countSubnormals(weights, n, Fp8.largestSubnormal<F>()) : 0;
    // Rows in float64 are computed from their codes, which therefore stay.
    const hasMany = subnormals > (needsFloat64 ? 0 : most);
    startRow(list, n, start, hasMany);
    if (!hasMany) start += subnormals;
    if (subnormals) needsList = true;
  }
  startRow(list, weights.rows, start, false);
  weights.lowestScale = lowest;
  weights.highestScale = highest;
  weights.list = needsList ? list : 0;
  return float64Rows;
}

/** What a row of a block has: nothing but zeros, or an Inf or NaN, or neither. */
const ZERO = 0;
const FINITE = 1;
const SPECIAL = 2;

function inspect<F>(codes: usize, n: usize): i32 {
  const zero = Simd.opaqueZero();
  const magnitudeMask = Fp8.magnitudeMask(zero);
  const topCode = Fp8.topCode<F>(zero);
  let specials = i32x4.splat(zero);
  let magnitudes = i32x4.splat(zero);
  const full = codes + (n & ~15);
  if (codes < full) {
    do {
      const m = Fp8.magnitude(v128.load(codes), magnitudeMask);
      magnitudes = Simd.or(magnitudes, m);
      specials = Simd.or(specials, Fp8.isSpecial(m, topCode));
      codes += 16;
    } while (codes < full);
  }
  if (n & 15) {
    const m = Fp8.magnitude(v128.load(Scratch.padInput(codes, n & 15)), magnitudeMask);
    magnitudes = Simd.or(magnitudes, m);
    specials = Simd.or(specials, Fp8.isSpecial(m, topCode));
  }
  if (Simd.any(specials)) return SPECIAL;
  return Simd.any(magnitudes) ? FINITE : ZERO;
}
