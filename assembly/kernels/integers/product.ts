import { Integers } from "../../lanes/integers";
import { Weights } from "../products/right-operand";
import { Scratch } from "../scratch";
import { storeResult } from "../values";
import { addNibbles, splitPlanes, spreadScales, unpackNibbles } from "./panel";
import { GROUP } from "./quantize";
import { addProducts, Left, SUMS } from "./tiles";

/** How weights lie in memory: integers of 7 bits, E2M1 codes, both in groups of twelve rows, or E4M3 codes row by row. */
const INT7: i32 = 0;
const NIBBLES: i32 = 1;
const CODES: i32 = 2;

/** Columns of a panel that is made of codes: 12 KiB a plane. */
const DEPTH: usize = 1024;
const PLANE: usize = GROUP * DEPTH;

/** Scales of a panel, a block being sixteen columns or more. */
const SPREAD: usize = (4 * PLANE) / 16;

/** Bytes of working memory for products of this many rows. */
export function integerWorkspace(rows: usize): usize {
  return 2 * PLANE + SPREAD + SUMS * rows;
}

/**
 * dst[rows, n] (float32 or bfloat16) <- x, rounded to int8 by `quantizeInt8`, times the transpose of weights.
 *
 * Sums of a block are integers and exact: with two planes at most 32 * 127 * 7680 < 2^25. Each is rounded to float32, multiplied by both
 * scales and added to float32 sums, unfused and in the order of the columns, so that all builds, engines and numbers of threads give the same bits.
 *
 * Error: with amax_x that of a block of x, each x is off by at most d_x = amax_x / 254. What the integers make of a weight w is off by
 *
 *     d_w = amax_w / 126          INT7, amax_w that of a block of 32
 *     d_w = scale / 32            CODES, if |w| < scale / 2; else 0
 *     d_w = 0                     NIBBLES: twice an E2M1 value is an integer
 *
 * so a product by at most |x| d_w + d_x |w| + d_x d_w, and a sum by those of its products; and there are the roundings of float32: four for each
 * block (of the sum, of both scales' product, of the product with it, of the addition), each at most 2^-24 of what it rounds.
 */
function multiply(
  form: i32,
  type: i32,
  dst: usize,
  rows: usize,
  codes: usize,
  scales: usize,
  n: usize,
  work: usize,
): void {
  const block = Left.block;
  const columns = Left.codeRow;
  const panel = work;
  const spread = panel + 2 * PLANE;
  const sums = spread + SPREAD;
  // Integers of few rows of x are read where they are, once.
  const depth = form != CODES && rows == 1 ? columns : DEPTH;
  for (let first: usize = 0; first < n; first += GROUP) {
    memory.fill(sums, 0, SUMS * rows);
    for (let from: usize = 0; from < columns; from += depth) {
      const width = min(depth, columns - from);
      const blocks = width / block;
      const x = Left.codes + from;
      const scalesAt = scales + 4 * GROUP * (from / block);
      if (form == INT7) {
        addProducts(sums, x, rows, codes + GROUP * from, scalesAt, blocks, 0);
      } else if (form == CODES) {
        splitPlanes(panel, first, from, width, PLANE);
        spreadScales(spread, first, from, width);
        addProducts(sums, x, rows, panel, spread, blocks, PLANE);
      } else if (rows == 1) {
        addNibbles(sums, x, codes + (GROUP * from) / 2, scalesAt, blocks);
      } else {
        unpackNibbles(panel, codes + (GROUP * from) / 2, width);
        addProducts(sums, x, rows, panel, scalesAt, blocks, 0);
      }
    }
    storeSums(type, dst, sums, rows, first, n);
    codes += form == INT7 ? GROUP * columns : (GROUP * columns) / 2;
    scales += 4 * GROUP * (columns / block);
  }
}

/** Columns first .. first + 11 of dst[rows, n] <- sums[rows][12]. */
function storeSums(type: i32, dst: usize, sums: usize, rows: usize, first: usize, n: usize): void {
  const columns = min(GROUP, n - first);
  for (let row: usize = 0; row < rows; row++, sums += SUMS) {
    const at = row * n + first;
    if (type == 0) memory.copy(dst + 4 * at, sums, 4 * columns);
    else for (let i: usize = 0; i < columns; i++) storeResult(type, dst, at + i, load<f32>(sums + 4 * i));
  }
}

function setLeft(codes: usize, scales: usize, offsets: usize, k: usize, block: usize): void {
  const blocks = (k + block - 1) / block;
  Left.codes = codes;
  Left.scales = scales;
  Left.offsets = offsets;
  Left.codeRow = block * blocks;
  Left.blockRow = 4 * blocks;
  Left.block = block;
}

/** See `gemmPacked` of src/wasm/kernels.ts. */
export function multiplyPacked(
  form: i32,
  type: i32,
  dst: usize,
  x: usize,
  xScales: usize,
  offsets: usize,
  rows: usize,
  codes: usize,
  scales: usize,
  n: usize,
  k: usize,
  block: usize,
  work: usize,
): void {
  assert(form == INT7 || form == NIBBLES, "weights are packed");
  if (rows == 0 || n == 0) return;
  setLeft(x, xScales, offsets, k, block);
  multiply(form, type, dst, rows, codes, scales, n, work);
}

/** See `gemmPlanes` of src/wasm/kernels.ts: the weights are those of `Weights`. */
export function multiplyPlanes(
  type: i32,
  dst: usize,
  x: usize,
  xScales: usize,
  offsets: usize,
  rows: usize,
  block: usize,
  work: usize,
): void {
  if (rows == 0 || Weights.rows == 0) return;
  setLeft(x, xScales, offsets, Weights.cols, block);
  multiply(CODES, type, dst, rows, 0, 0, Weights.rows, work);
}

/**
 * Whether the engine computes dots as it should. V8 11's first tier forgets the sum that is added to where both share a register.
 */
export function hasTrueDots(): i32 {
  memory.fill(Scratch.input, 1, 64);
  // The operands come from memory and are of no use afterwards: their registers are free for the result.
  v128.store(
    Scratch.output,
    Integers.dot(v128.load(Scratch.input), v128.load(Scratch.input, 16), v128.load(Scratch.input, 32)),
  );
  return load<i32>(Scratch.output) == load<i32>(Scratch.input) + 4 ? 1 : 0;
}
