import { Fours, Integers, Pairs, Planes } from "../../lanes/integers";
import { Simd } from "../../lanes/simd";
import { Left } from "./left";
import { GROUP } from "./quantize";

/** Bytes of a group's float32 sums of one row of x. */
export const SUMS: usize = 4 * GROUP;

/** Float32 sums of a group. */
export abstract class Total {
  /** Four sums in memory += the integers of a block, times the scale of x and those of the weights. */
  @inline static add(at: usize, sum: v128, scale: v128, weightScales: v128): void {
    const product = f32x4.mul(Integers.floats(sum), f32x4.mul(scale, weightScales));
    v128.store(at, f32x4.add(v128.load(at), product));
  }

  /** Twelve sums <- 0. */
  @inline static clear(at: usize): void {
    v128.store(at, f32x4.splat(0));
    v128.store(at, f32x4.splat(0), 16);
    v128.store(at, f32x4.splat(0), 32);
  }

  /**
   * Twelve sums in memory += the integer sums of one row of x and twelve rows of weights, times their
   * scales. The float sums stay in memory, since the integer sums need the registers.
   * @param xScale address of the scale of x
   * @param scales address of the twelve scales of the weights
   */
  @inline static addRow(at: usize, a: v128, b: v128, c: v128, xScale: usize, scales: usize): void {
    const scale = v128.load_splat<f32>(xScale);
    Total.add(at, a, scale, v128.load(scales));
    Total.add(at + 16, b, scale, v128.load(scales, 16));
    Total.add(at + 32, c, scale, v128.load(scales, 32));
  }
}

abstract class Tile {
  /**
   * sums[rows][12] += rows of x . a panel[blocks * block / 4][12][4 columns], each block's integer sum times
   * both scales.
   *
   *              panel    p (4)   q (4)   r (4)
   *     x row 0  splat     a0      a1      a2
   *     x row 1  splat     b0      b1      b2      3 * rows sums in registers. Without a dot
   *     x row 2  splat     c0      c1      c2      instruction its steps take two more
   *
   * Four rows, their vectors of weights loaded twice so that nothing leaves its register, were no faster.
   */
  @inline static one<D>(
    rows: i32,
    left: Left,
    sums: usize,
    x: usize,
    panel: usize,
    scales: usize,
    blocks: usize,
  ): void {
    const row = left.codeStride;
    const blockRow = left.scaleStride;
    const block = left.block;
    let xScales = left.scaleOf(x);
    let offsets = left.offsetOf(x);
    const end = x + block * blocks;
    const ones = Integers.ones(Simd.opaqueZero());
    let next = left.next;
    const step = left.nextStep;
    do {
      let a0 = v128.load_splat<i32>(offsets);
      let a1 = a0;
      let a2 = a0;
      let b0 = rows > 1 ? v128.load_splat<i32>(offsets + blockRow) : a0;
      let b1 = b0;
      let b2 = b0;
      let c0 = rows > 2 ? v128.load_splat<i32>(offsets + 2 * blockRow) : a0;
      let c1 = c0;
      let c2 = c0;
      const stop = x + block;
      do {
        const p = v128.load(panel);
        const q = v128.load(panel, 16);
        const r = v128.load(panel, 32);
        let y = v128.load_splat<i32>(x);
        a0 = Integers.dotBy<D>(y, p, a0, ones);
        a1 = Integers.dotBy<D>(y, q, a1, ones);
        a2 = Integers.dotBy<D>(y, r, a2, ones);
        if (rows > 1) {
          y = v128.load_splat<i32>(x + row);
          b0 = Integers.dotBy<D>(y, p, b0, ones);
          b1 = Integers.dotBy<D>(y, q, b1, ones);
          b2 = Integers.dotBy<D>(y, r, b2, ones);
        }
        if (rows > 2) {
          y = v128.load_splat<i32>(x + 2 * row);
          c0 = Integers.dotBy<D>(y, p, c0, ones);
          c1 = Integers.dotBy<D>(y, q, c1, ones);
          c2 = Integers.dotBy<D>(y, r, c2, ones);
        }
        panel += 48;
        x += 4;
      } while (x < stop);
      load<u8>(next);
      next += step;
      Total.addRow(sums, a0, a1, a2, xScales, scales);
      if (rows > 1) Total.addRow(sums + SUMS, b0, b1, b2, xScales + blockRow, scales);
      if (rows > 2) Total.addRow(sums + 2 * SUMS, c0, c1, c2, xScales + 2 * blockRow, scales);
      xScales += 4;
      offsets += 4;
      scales += 48;
    } while (x < end);
    left.next = next;
  }

  /**
   * What `one` does, for weights of two planes, the lower one `apart` bytes behind the upper: 6 * rows
   * accumulators.
   */
  @inline static two(
    rows: i32,
    left: Left,
    sums: usize,
    x: usize,
    panel: usize,
    scales: usize,
    blocks: usize,
    apart: usize,
  ): void {
    const row = left.codeStride;
    const blockRow = left.scaleStride;
    const block = left.block;
    let xScales = left.scaleOf(x);
    let offsets = left.offsetOf(x);
    const end = x + block * blocks;
    do {
      let a0 = v128.load_splat<i32>(offsets);
      let a1 = a0;
      let a2 = a0;
      let a3 = i32x4.splat(0);
      let a4 = a3;
      let a5 = a3;
      let b0 = rows > 1 ? v128.load_splat<i32>(offsets + blockRow) : a0;
      let b1 = b0;
      let b2 = b0;
      let b3 = a3;
      let b4 = a3;
      let b5 = a3;
      const stop = x + block;
      do {
        const y = v128.load_splat<i32>(x);
        const z = rows > 1 ? v128.load_splat<i32>(x + row) : y;
        let p = v128.load(panel);
        a0 = Integers.dot(y, p, a0);
        if (rows > 1) b0 = Integers.dot(z, p, b0);
        p = v128.load(panel, 16);
        a1 = Integers.dot(y, p, a1);
        if (rows > 1) b1 = Integers.dot(z, p, b1);
        p = v128.load(panel, 32);
        a2 = Integers.dot(y, p, a2);
        if (rows > 1) b2 = Integers.dot(z, p, b2);
        const low = panel + apart;
        p = v128.load(low);
        a3 = Integers.dot(y, p, a3);
        if (rows > 1) b3 = Integers.dot(z, p, b3);
        p = v128.load(low, 16);
        a4 = Integers.dot(y, p, a4);
        if (rows > 1) b4 = Integers.dot(z, p, b4);
        p = v128.load(low, 32);
        a5 = Integers.dot(y, p, a5);
        if (rows > 1) b5 = Integers.dot(z, p, b5);
        panel += 48;
        x += 4;
      } while (x < stop);
      Total.addRow(sums, Planes.join(a0, a3), Planes.join(a1, a4), Planes.join(a2, a5), xScales, scales);
      if (rows > 1) {
        const at = sums + SUMS;
        const s = xScales + blockRow;
        Total.addRow(at, Planes.join(b0, b3), Planes.join(b1, b4), Planes.join(b2, b5), s, scales);
      }
      xScales += 4;
      offsets += 4;
      scales += 48;
    } while (x < end);
  }
}

function tile2<D>(left: Left, sums: usize, x: usize, panel: usize, scales: usize, blocks: usize): void {
  Tile.one<D>(2, left, sums, x, panel, scales, blocks);
}
function tile3<D>(left: Left, sums: usize, x: usize, panel: usize, scales: usize, blocks: usize): void {
  Tile.one<D>(3, left, sums, x, panel, scales, blocks);
}
function planes1(
  left: Left,
  sums: usize,
  x: usize,
  panel: usize,
  scales: usize,
  blocks: usize,
  apart: usize,
): void {
  Tile.two(1, left, sums, x, panel, scales, blocks, apart);
}
function planes2(
  left: Left,
  sums: usize,
  x: usize,
  panel: usize,
  scales: usize,
  blocks: usize,
  apart: usize,
): void {
  Tile.two(2, left, sums, x, panel, scales, blocks, apart);
}

/**
 * sums[rows][12] += rows of x, from `x` on, . a panel, by tiles of two or three of them, or up to two where
 * there are two planes.
 * @param apart bytes from the upper plane to the lower; 0 for one plane
 * @param next the weights that are needed next, `bytes` of them: see `Left.setNext`. For one plane.
 */
export function addProducts(
  left: Left,
  sums: usize,
  x: usize,
  rows: usize,
  panel: usize,
  scales: usize,
  blocks: usize,
  apart: usize,
  next: usize,
  bytes: usize,
): void {
  const tallest: usize = apart ? 2 : 3;
  let tiles = (rows + tallest - 1) / tallest;
  const isPaired = Integers.favoursPairs();
  left.setNext(next, bytes, tiles * blocks);
  do {
    const height = (rows + tiles - 1) / tiles;
    if (apart) {
      if (height == 1) planes1(left, sums, x, panel, scales, blocks, apart);
      else planes2(left, sums, x, panel, scales, blocks, apart);
    } else if (isPaired) {
      if (height == 2) tile2<Pairs>(left, sums, x, panel, scales, blocks);
      else tile3<Pairs>(left, sums, x, panel, scales, blocks);
    } else {
      if (height == 2) tile2<Fours>(left, sums, x, panel, scales, blocks);
      else tile3<Fours>(left, sums, x, panel, scales, blocks);
    }
    sums += height * SUMS;
    x += height * left.codeStride;
    rows -= height;
  } while (--tiles);
}
