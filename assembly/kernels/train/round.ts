import { E2M1, E4M3 } from "../../lanes/format";
import { Fp4 } from "../../lanes/fp4";
import { F32 } from "../../lanes/half";
import { compare } from "../casts/compare";
import { dequantize } from "../casts/dequantize";
import { quantize } from "../casts/quantize";
import { UE8M0, UE8M0_ONE } from "../matrix";

/** Values that are rounded at a time: their codes stay in a first-level cache. */
const STRIP: usize = 4096;

/** Rows of a strip: whole blocks of rows. */
function stripRows(rows: usize, cols: usize, blockRows: usize): usize {
  return min(rows, max(STRIP / max(cols, 1) / blockRows, 1) * blockRows);
}

/**
 * Bytes of working memory that `round` needs for so many columns or fewer: codes, the same as E4M3, and
 * scales, a byte each or less.
 */
export function roundWorkspace(cols: usize, blockRows: usize): usize {
  return 3 * (max(STRIP, blockRows * cols) + 16);
}

/**
 * dst[rows, cols] <- what the codes of format F and the UE8M0 scales of src stand for; dst may be src where
 * nothing is counted.
 * @param sums nine float64 to which `compare` adds what rounding did, or 0
 */
export function round<F>(
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
  const height = stripRows(rows, cols, blockRows);
  const size = (height * cols + 15) & ~15;
  const codes = work;
  const decodable = codes + size;
  const scales = decodable + size;
  while (rows) {
    const part = min(height, rows);
    const n = part * cols;
    quantize<F, F32>(UE8M0, codes, scales, src, part, cols, blockRows, blockCols, rounding, 0, UE8M0_ONE);
    if (idof<F>() == idof<E2M1>()) {
      // Every value of E2M1 is one of E4M3, which can be decoded.
      for (let i: usize = 0; i < n; i += 16) v128.store(decodable + i, Fp4.asE4m3(v128.load(codes + i)));
      dequantize<E4M3, F32>(UE8M0, dst, decodable, scales, part, cols, blockRows, blockCols);
    } else {
      dequantize<F, F32>(UE8M0, dst, codes, scales, part, cols, blockRows, blockCols);
    }
    if (sums) compare<F, F32>(sums, src, dst, codes, n);
    rows -= part;
    src += 4 * n;
    dst += 4 * n;
  }
}
