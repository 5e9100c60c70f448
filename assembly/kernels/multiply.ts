import { BF16, Half } from "../lanes/half";
import { Shifted } from "../lanes/shifted";
import { Simd } from "../lanes/simd";
import { multiplyPanels, workspaceOfPanels } from "./gemm";
import { isSafe, multiplyRows, workspaceOfRows } from "./gemv";
import { Scratch } from "./scratch";
import { Weights } from "./weights";

/** From this many rows of x on, decoding the weights to memory pays. */
const FEW: usize = 8;

/** Bytes of working memory for x[rows, K] and N rows of weights. */
export function workspace(rows: usize, n: usize, cols: usize): usize {
  const ofRows: usize = rows <= FEW ? 4 * rows * n + 64 + workspaceOfRows(rows, cols) : 0;
  return max(workspaceOfPanels(rows, cols), ofRows);
}

/** [rows, N] at dst <- x[rows, K] . weights[N, K]^T, by the way that suits the shapes; see `gemm` of src/wasm/exports.ts. */
export function multiply<F>(
  type: i32,
  work: usize,
  dst: usize,
  x: usize,
  rows: usize,
  lowestScale: i32,
  highestScale: i32,
): void {
  const n = rows * Weights.rows;
  if (Weights.cols == 0) memory.fill(dst, 0, n * (type == 0 ? 4 : 2));
  if (n == 0 || Weights.cols == 0) return;
  if (rows <= FEW && Weights.isAligned && isSafe<F>(x, rows, Weights.cols, lowestScale)) {
    if (type == 0) {
      multiplyRows<F>(work, dst, x, rows);
    } else {
      const wide = work + ((workspaceOfRows(rows, Weights.cols) + 15) & ~15);
      multiplyRows<F>(work, wide, x, rows);
      narrow(dst, wide, n);
    }
  } else {
    multiplyPanels<F>(type, work, dst, x, rows, highestScale <= Shifted.highestField<F>());
  }
}

/** bfloat16 dst[n] <- float32 src[n] */
function narrow(dst: usize, src: usize, n: usize): void {
  const zero = Simd.opaqueZero();
  const end = dst + 2 * (n & ~7);
  while (dst < end) {
    v128.store(dst, Half.narrow<BF16>(v128.load(src), v128.load(src, 16), zero));
    dst += 16;
    src += 32;
  }
  if (n & 7) {
    const rest = Scratch.take(src, 4 * (n & 7));
    v128.store(Scratch.output, Half.narrow<BF16>(v128.load(rest), v128.load(rest, 16), zero));
    Scratch.give(dst, 2 * (n & 7));
  }
}
