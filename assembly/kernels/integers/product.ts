import { BF16, F32 } from "../../lanes/half";
import { Fours, Integers, Pairs } from "../../lanes/integers";
import { BF16_SCALES, E4M3_CODES, INT7_CODES, MatrixRecord } from "../matrix";
import { Scratch } from "../scratch";
import { storeResult } from "../values";
import { LEFT_BYTES, Left } from "./left";
import { splitPlanes, spreadScales, unpackNibbles, widenScales } from "./panel";
import { GROUP } from "./quantize";
import { STREAMS, STREAMS_BYTES, Streams, sumInt7, sumNibbles } from "./row";
import { addProducts, SUMS } from "./tiles";

/** Columns of a panel that is made of codes: 12 KiB a plane. */
const DEPTH: usize = 1024;
const PLANE: usize = GROUP * DEPTH;

/** Bytes of the scales of a panel, a block being sixteen columns or more. */
const SPREAD: usize = (4 * PLANE) / 16;

/** Bytes of working memory for products of this many rows. */
export function integerWorkspace(rows: usize): usize {
  return LEFT_BYTES + 2 * PLANE + SPREAD + SUMS * rows;
}

/**
 * dst[rows, n] (float32 or bfloat16) <- x, rounded to int8 by `quantizeInt8`, times the transpose of weights.
 *
 * Sums of a block are integers and exact: with two planes at most 128 * 127 * 7680 < 2^27. Each is rounded to
 * float32, multiplied by both scales and added to float32 sums, unfused and in the order of the columns, so
 * that all builds, engines and numbers of threads give the same bits.
 *
 * Error: with amax_x that of a block of x, each x is off by at most d_x = amax_x / 254. What the integers
 * make of a weight w is off by
 *
 *     d_w = amax_w / 126          INT7_CODES, amax_w that of a block of 32
 *     d_w = scale / 32            E4M3_CODES, if |w| < scale / 2; else 0
 *     d_w = 0                     E2M1_CODES: twice an E2M1 value is an integer
 *
 * so a product by at most |x| d_w + d_x |w| + d_x d_w, and a sum by those of its products; and there are the
 * roundings of float32: four for each block (of the sum, of both scales' product, of the product with it, of
 * the addition), each at most 2^-24 of what it rounds.
 */
function multiply(weights: MatrixRecord, type: i32, dst: usize, left: Left, rows: usize): void {
  const format = weights.format;
  const n = weights.rows;
  let codes = weights.codes;
  let scales = weights.scales;
  const block = left.block;
  const columns = left.codeStride;
  const panel = changetype<usize>(left) + LEFT_BYTES;
  const spread = panel + 2 * PLANE;
  const sums = spread + SPREAD;
  const isHalf = weights.scaleType == BF16_SCALES;
  // Bytes of the twelve scales that a group has for each block of columns.
  const groupScales: usize = GROUP * (isHalf ? 2 : 4);
  for (let first: usize = 0; first < n; first += GROUP) {
    memory.fill(sums, 0, SUMS * rows);
    for (let from: usize = 0; from < columns; from += DEPTH) {
      const width = min(DEPTH, columns - from);
      const blocks = width / block;
      const x = left.codes + from;
      const scalesAt = scales + groupScales * (from / block);
      if (format == INT7_CODES) {
        const next = codes + GROUP * (from + width);
        const bytes = min(PLANE, weights.scales - next);
        addProducts(left, sums, x, rows, codes + GROUP * from, scalesAt, blocks, 0, next, bytes);
      } else if (format == E4M3_CODES) {
        splitPlanes(panel, weights, first, from, width, PLANE);
        spreadScales(spread, weights, first, from, width, block);
        addProducts(left, sums, x, rows, panel, spread, blocks, PLANE, panel, 0);
      } else {
        unpackNibbles(panel, codes + (GROUP * from) / 2, width);
        if (isHalf) widenScales(spread, scalesAt, blocks);
        const next = codes + (GROUP * (from + width)) / 2;
        const bytes = min(PLANE / 2, weights.scales - next);
        addProducts(left, sums, x, rows, panel, isHalf ? spread : scalesAt, blocks, 0, next, bytes);
      }
    }
    storeSums(type, dst, sums, rows, first, n);
    codes += format == INT7_CODES ? GROUP * columns : (GROUP * columns) / 2;
    scales += groupScales * (columns / block);
  }
}

/**
 * What `multiply` does for one row of x and weights of one plane, which are read where they are: see row.ts.
 */
function multiplyRow(weights: MatrixRecord, type: i32, dst: usize, left: Left): void {
  const n = weights.rows;
  const isInt7 = weights.format == INT7_CODES;
  const isHalf = weights.scaleType == BF16_SCALES;
  // Bytes of a group.
  const codes = (GROUP * left.codeStride) >> (isInt7 ? 0 : 1);
  const scales: usize = (isHalf ? <usize>2 : 4) * GROUP * (left.codeStride / left.block);
  const groups = (n + GROUP - 1) / GROUP;
  const part = (groups + STREAMS - 1) / STREAMS;
  const streams = changetype<Streams>(changetype<usize>(left) + LEFT_BYTES);
  const sums = changetype<usize>(streams) + STREAMS_BYTES;
  const isPaired = Integers.favoursPairs();
  for (let first: usize = 0; first < part; first++) {
    // Behind the last group there is none: the first is read instead.
    const second: usize = first + part < groups ? part : 0;
    const third: usize = first + 2 * part < groups ? 2 * part : 0;
    streams.codes = weights.codes + first * codes;
    streams.scales = weights.scales + first * scales;
    streams.codesToB = second * codes;
    streams.codesToC = third * codes;
    streams.scalesToB = second * scales;
    streams.scalesToC = third * scales;
    if (isPaired) sumGroups<Pairs>(weights, left, sums, streams);
    else sumGroups<Fours>(weights, left, sums, streams);
    let at = sums;
    for (let group = first; group < groups; group += part, at += SUMS)
      storeSums(type, dst, at, 1, GROUP * group, n);
  }
}

/** sums[3][12] <- a row of x . three groups of weights of one plane. */
function sumGroups<D>(weights: MatrixRecord, left: Left, sums: usize, streams: Streams): void {
  if (weights.format == INT7_CODES) sumInt7<D>(left, sums, streams);
  else if (weights.scaleType == BF16_SCALES) sumNibbles<BF16, D>(left, sums, streams);
  else sumNibbles<F32, D>(left, sums, streams);
}

/** Columns first .. first + 11 of dst[rows, n] <- sums[rows][12]. */
function storeSums(type: i32, dst: usize, sums: usize, rows: usize, first: usize, n: usize): void {
  const columns = min(GROUP, n - first);
  for (let row: usize = 0; row < rows; row++, sums += SUMS) {
    const at = row * n + first;
    if (type == 0 && columns == GROUP) {
      // Not `memory.copy`: V8 calls a function of the engine for that.
      v128.store(dst + 4 * at, v128.load(sums));
      v128.store(dst + 4 * at, v128.load(sums, 16), 16);
      v128.store(dst + 4 * at, v128.load(sums, 32), 32);
    } else for (let i: usize = 0; i < columns; i++) storeResult(type, dst, at + i, load<f32>(sums + 4 * i));
  }
}

/** See `gemmIntegers` of src/wasm/kernels.ts. */
export function multiplyIntegers(
  weights: MatrixRecord,
  type: i32,
  dst: usize,
  x: MatrixRecord,
  first: usize,
  rows: usize,
  work: usize,
): void {
  if (rows == 0 || weights.rows == 0) return;
  const left = changetype<Left>(work);
  left.set(x, first);
  if (rows == 1 && weights.format != E4M3_CODES) multiplyRow(weights, type, dst, left);
  else multiply(weights, type, dst, left, rows);
}

/**
 * Whether the host computes dots of integers as it should. The first compiler of V8 11 (Liftoff) loses the
 * sum that is added to where the result gets the register of an operand.
 */
export function hasTrueDots(): i32 {
  memory.fill(Scratch.input, 1, 64);
  // The operands come from memory and are not used afterwards: their registers are free for the result.
  v128.store(
    Scratch.output,
    Integers.dot(v128.load(Scratch.input), v128.load(Scratch.input, 16), v128.load(Scratch.input, 32)),
  );
  return load<i32>(Scratch.output) == load<i32>(Scratch.input) + 4 ? 1 : 0;
}
