import { Integers } from "../../lanes/integers";
import { Scratch } from "../scratch";
import { BLOCK, blocksOf, GROUP, quantizeInt8 } from "./quantize";

/** Rows of x that meet a group of weights at a time. */
const ROWS: usize = 3;

/** Bytes of working memory for `multiplyInt7`. */
export function int7Workspace(rows: usize, k: usize): usize {
  return rows * blocksOf(k) * (BLOCK + 8) + 16 * GROUP;
}

/**
 * float32 dst[rows, n] <- x[rows, k] . the transpose of weights of `packInt7`, groups one behind another, codes first and the scales of all groups from
 * `scales` on. x is rounded to int8 in blocks of 32.
 *
 * Sums of a block are integers and exact: 32 * 127 * 127 < 2^19. Each is multiplied by both scales and added to float32 sums, unfused and in
 * the order of the columns, so that all builds, engines and numbers of threads give the same bits.
 *
 * Error: with amax of a block of x and w, each x is off by at most amax / 254 and each w by amax / 126, so a block's product by at most
 * 32 amax_x amax_w (1 / 254 + 1 / 126 + 1 / (254 * 126)).
 */
export function multiplyInt7(
  dst: usize,
  x: usize,
  rows: usize,
  codes: usize,
  scales: usize,
  n: usize,
  k: usize,
  work: usize,
): void {
  if (rows == 0 || n == 0) return;
  const blocks = blocksOf(k);
  const sums = work;
  const xCodes = work + 16 * GROUP;
  const xScales = xCodes + rows * blocks * BLOCK;
  const offsets = xScales + 4 * rows * blocks;
  quantizeInt8(xCodes, xScales, offsets, x, rows, k);
  // Few rows: each pass over the weights serves them all, and the weights are what is read.
  for (let first: usize = 0; first < n; first += GROUP) {
    const columns = min(GROUP, n - first);
    let row: usize = 0;
    for (; row + ROWS <= rows; row += ROWS) {
      const at = row * blocks;
      tile3(sums, xCodes + at * BLOCK, xScales + 4 * at, offsets + 4 * at, codes, scales, blocks);
      for (let i: usize = 0; i < ROWS; i++)
        memory.copy(dst + 4 * ((row + i) * n + first), sums + 4 * GROUP * i, 4 * columns);
    }
    for (; row < rows; row++) {
      const at = row * blocks;
      tile1(sums, xCodes + at * BLOCK, xScales + 4 * at, offsets + 4 * at, codes, scales, blocks);
      memory.copy(dst + 4 * (row * n + first), sums, 4 * columns);
    }
    codes += GROUP * BLOCK * blocks;
    scales += 4 * GROUP * blocks;
  }
}

/** sums[12] <- one row of x . a group of weights. Two chains of sums for each vector hide the latency of a dot. */
function tile1(
  sums: usize,
  x: usize,
  xScales: usize,
  offsets: usize,
  codes: usize,
  scales: usize,
  blocks: usize,
): void {
  let total0 = f32x4.splat(0);
  let total1 = f32x4.splat(0);
  let total2 = f32x4.splat(0);
  const end = x + BLOCK * blocks;
  if (x < end)
    do {
      let a0 = v128.load_splat<i32>(offsets);
      let a1 = a0;
      let a2 = a0;
      let b0 = i32x4.splat(0);
      let b1 = b0;
      let b2 = b0;
      for (let i: usize = 0; i < BLOCK; i += 8) {
        const y = v128.load_splat<i32>(x + i);
        a0 = Integers.dot(y, v128.load(codes), a0);
        a1 = Integers.dot(y, v128.load(codes, 16), a1);
        a2 = Integers.dot(y, v128.load(codes, 32), a2);
        const z = v128.load_splat<i32>(x + i, 4);
        b0 = Integers.dot(z, v128.load(codes, 48), b0);
        b1 = Integers.dot(z, v128.load(codes, 64), b1);
        b2 = Integers.dot(z, v128.load(codes, 80), b2);
        codes += 96;
      }
      const scale = v128.load_splat<f32>(xScales);
      total0 = f32x4.add(
        total0,
        f32x4.mul(Integers.floats(i32x4.add(a0, b0)), f32x4.mul(scale, v128.load(scales))),
      );
      total1 = f32x4.add(
        total1,
        f32x4.mul(Integers.floats(i32x4.add(a1, b1)), f32x4.mul(scale, v128.load(scales, 16))),
      );
      total2 = f32x4.add(
        total2,
        f32x4.mul(Integers.floats(i32x4.add(a2, b2)), f32x4.mul(scale, v128.load(scales, 32))),
      );
      x += BLOCK;
      xScales += 4;
      offsets += 4;
      scales += 48;
    } while (x < end);
  v128.store(sums, total0);
  v128.store(sums, total1, 16);
  v128.store(sums, total2, 32);
}

/** A float32 sum that lives in memory: registers are for the integers. */
abstract class Total {
  @inline static add(at: usize, sum: v128, scale: v128): void {
    v128.store(at, f32x4.add(v128.load(at), f32x4.mul(Integers.floats(sum), scale)));
  }
}

/**
 * sums[3][12] <- three rows of x . a group of weights.
 *
 *              codes    p (4)   q (4)   r (4)
 *     x row 0  splat     a0      a1      a2
 *     x row 1  splat     b0      b1      b2      9 accumulators in registers: without a dot
 *     x row 2  splat     c0      c1      c2      instruction each needs two more for its steps
 */
function tile3(
  sums: usize,
  x: usize,
  xScales: usize,
  offsets: usize,
  codes: usize,
  scales: usize,
  blocks: usize,
): void {
  const row = BLOCK * blocks;
  const scaleRow: usize = 4 * blocks;
  memory.fill(sums, 0, 4 * GROUP * ROWS);
  const end = x + row;
  if (x < end)
    do {
      let a0 = v128.load_splat<i32>(offsets);
      let b0 = v128.load_splat<i32>(offsets + scaleRow);
      let c0 = v128.load_splat<i32>(offsets + 2 * scaleRow);
      let a1 = a0;
      let a2 = a0;
      let b1 = b0;
      let b2 = b0;
      let c1 = c0;
      let c2 = c0;
      const stop = x + BLOCK;
      do {
        const p = v128.load(codes);
        const q = v128.load(codes, 16);
        const r = v128.load(codes, 32);
        let y = v128.load_splat<i32>(x);
        a0 = Integers.dot(y, p, a0);
        a1 = Integers.dot(y, q, a1);
        a2 = Integers.dot(y, r, a2);
        y = v128.load_splat<i32>(x + row);
        b0 = Integers.dot(y, p, b0);
        b1 = Integers.dot(y, q, b1);
        b2 = Integers.dot(y, r, b2);
        y = v128.load_splat<i32>(x + 2 * row);
        c0 = Integers.dot(y, p, c0);
        c1 = Integers.dot(y, q, c1);
        c2 = Integers.dot(y, r, c2);
        codes += 48;
        x += 4;
      } while (x < stop);
      const p = v128.load(scales);
      const q = v128.load(scales, 16);
      const r = v128.load(scales, 32);
      let scale = v128.load_splat<f32>(xScales);
      Total.add(sums, a0, f32x4.mul(scale, p));
      Total.add(sums + 16, a1, f32x4.mul(scale, q));
      Total.add(sums + 32, a2, f32x4.mul(scale, r));
      scale = v128.load_splat<f32>(xScales + scaleRow);
      Total.add(sums + 48, b0, f32x4.mul(scale, p));
      Total.add(sums + 64, b1, f32x4.mul(scale, q));
      Total.add(sums + 80, b2, f32x4.mul(scale, r));
      scale = v128.load_splat<f32>(xScales + 2 * scaleRow);
      Total.add(sums + 96, c0, f32x4.mul(scale, p));
      Total.add(sums + 112, c1, f32x4.mul(scale, q));
      Total.add(sums + 128, c2, f32x4.mul(scale, r));
      xScales += 4;
      offsets += 4;
      scales += 48;
    } while (x < end);
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
