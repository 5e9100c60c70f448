import { F32 } from "../../lanes/half";
import { Simd } from "../../lanes/simd";
import { multiplyBlock } from "../casts/dequantize";
import { MatrixRecord } from "../matrix";
import { storeResult } from "../values";
import { Subnormals } from "./subnormals";
import { DEPTH } from "./tile";

/** Bytes of working memory for `multiplyByTable`; `fillByTable` needs 4 * DEPTH. */
export function bytesOfTable(rows: usize): usize {
  return 4 * DEPTH + 8 * rows;
}

/**
 * The columns of dst[rows, N] that belong to rows of the weights with many subnormal codes <- x[rows, K] .
 * those rows, decoded by `Fp8`, through its table. Sums of DEPTH products are float32, and are added up in
 * float64.
 */
export function multiplyByTable<F>(
  weights: MatrixRecord,
  type: i32,
  work: usize,
  dst: usize,
  x: usize,
  rows: usize,
): void {
  const sums = work + 4 * DEPTH;
  for (let n: usize = 0; n < weights.rows; n++) {
    if (!Subnormals.hasMany(weights, n)) continue;
    memory.fill(sums, 0, 8 * rows);
    for (let from: usize = 0; from < weights.cols; from += DEPTH) {
      const columns = decodeScaled<F>(work, weights, n, from);
      for (let m: usize = 0; m < rows; m++) {
        const at = sums + 8 * m;
        store<f64>(at, load<f64>(at) + <f64>dot(x + 4 * (m * weights.cols + from), work, columns));
      }
    }
    for (let m: usize = 0; m < rows; m++) {
      storeResult(type, dst, m * weights.rows + n, <f32>load<f64>(sums + 8 * m) + 0);
    }
  }
}

/** panel[column - from][8] <- row n, which has many subnormal codes, in columns from .. from + DEPTH. */
export function fillByTable<F>(
  panel: usize,
  weights: MatrixRecord,
  n: usize,
  from: usize,
  work: usize,
): void {
  const end = work + 4 * decodeScaled<F>(work, weights, n, from);
  for (; work < end; work += 4, panel += 32) store<f32>(panel, load<f32>(work));
}

/**
 * dst[] <- float32 values of row n in columns from .. from + DEPTH, or to the row's end; returns how many.
 */
function decodeScaled<F>(dst: usize, weights: MatrixRecord, n: usize, from: usize): usize {
  const codes = weights.codesOf(n);
  const scales = weights.scalesOf(n);
  const runCols = weights.runCols;
  const end = min(from + DEPTH, weights.cols);
  for (let k = from; k < end; ) {
    const next = min(k - (k % runCols) + runCols, end);
    multiplyBlock<F, F32>(dst + 4 * (k - from), codes + k, next - k, weights.scaleAt(scales, k));
    k = next;
  }
  return end - from;
}

/** x[n] . y[n], in chains enough that none waits for its last sum. */
function dot(x: usize, y: usize, n: usize): f32 {
  let a = f32x4.splat(0);
  let b = f32x4.splat(0);
  let c = f32x4.splat(0);
  let d = f32x4.splat(0);
  const full = x + 4 * (n & ~15);
  const end = x + 4 * n;
  if (x < full)
    do {
      a = Simd.madd(v128.load(x), v128.load(y), a);
      b = Simd.madd(v128.load(x, 16), v128.load(y, 16), b);
      c = Simd.madd(v128.load(x, 32), v128.load(y, 32), c);
      d = Simd.madd(v128.load(x, 48), v128.load(y, 48), d);
      x += 64;
      y += 64;
    } while (x < full);
  let sum = Simd.sum(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
  for (; x < end; x += 4, y += 4) sum += load<f32>(x) * load<f32>(y);
  return sum;
}
