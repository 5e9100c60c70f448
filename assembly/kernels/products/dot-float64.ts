import { Shifted } from "../../lanes/shifted";
import { MatrixRecord } from "../matrix";
import { Entry, Subnormals } from "./subnormals";

/**
 * x[K] . weights[n, K] in float64, where every product of a code and a scale is exact, and nothing overflows.
 */
export function dotFloat64<F>(weights: MatrixRecord, x: usize, n: usize): f64 {
  const codes = weights.codesOf(n);
  let scale = weights.scalesOf(n);
  const runCols = weights.runCols;
  let sum: f64 = 0;
  // A listed code is stored as 0, and Inf * 0 is NaN: so the original code is read from the list.
  let entry: usize = weights.list ? Subnormals.entries(weights, n) : 0;
  const lastEntry: usize = weights.list ? Subnormals.entries(weights, n + 1) : 0;
  for (let k: usize = 0; k < weights.cols; k += runCols) {
    const factor = <f64>weights.scale(scale);
    const end = min(k + runCols, weights.cols);
    for (let i = k; i < end; i++) {
      let code = load<u8>(codes + i);
      if (entry < lastEntry && Entry.column(entry) == i) {
        code = Entry.code(entry);
        entry += 4;
      }
      sum += load<f64>(x + 8 * i) * (Shifted.value<F>(code) * factor);
    }
    scale += weights.scaleBytes;
  }
  return sum;
}
