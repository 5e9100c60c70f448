import { Simd } from "../../lanes/simd";

/**
 * Columns of K that are staged and decoded at a time; a panel of them, 16 KiB, stays in a first-level cache.
 */
export const DEPTH: usize = 512;

/**
 * Bytes from one staged row to the next: not a power of two, or the rows of a tile would share their cache
 * sets.
 */
export const STAGED_ROW: usize = 2112;

/**
 * A tile of the result. Its height is what the registers of x86 hold: a row more where multiply-adds are
 * fused, since the product needs no register then.
 */
export abstract class Tile {
  @inline static get rows(): usize {
    return Simd.isFused() ? 6 : 5;
  }

  /**
   * The micro-kernel: dst[rows][8] <- x[rows][columns] . panel[columns][8].
   *
   *              panel    p (4)   q (4)
   *     x row 0  splat     a0      b0
   *     x row 1  splat     a1      b1
   *       ...                              2 * rows accumulators in registers
   *
   * One loop and nothing after it but stores, or V8 11 spills the accumulators.
   */
  @inline static multiply(rows: i32, dst: usize, x: usize, panel: usize, columns: usize): void {
    const end = panel + (columns << 5);
    let a0 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let a2 = f32x4.splat(0);
    let b2 = f32x4.splat(0);
    let a3 = f32x4.splat(0);
    let b3 = f32x4.splat(0);
    let a4 = f32x4.splat(0);
    let b4 = f32x4.splat(0);
    let a5 = f32x4.splat(0);
    let b5 = f32x4.splat(0);
    // Without the test in front, V8 11 schedules all loads before all multiply-adds, and spills: half the
    // speed.
    if (panel < end)
      do {
        const p = v128.load(panel);
        const q = v128.load(panel, 16);
        const x0 = v128.load_splat<f32>(x);
        a0 = Simd.madd(x0, p, a0);
        b0 = Simd.madd(x0, q, b0);
        if (rows > 1) {
          const x1 = v128.load_splat<f32>(x, STAGED_ROW);
          a1 = Simd.madd(x1, p, a1);
          b1 = Simd.madd(x1, q, b1);
        }
        if (rows > 2) {
          const x2 = v128.load_splat<f32>(x, 2 * STAGED_ROW);
          a2 = Simd.madd(x2, p, a2);
          b2 = Simd.madd(x2, q, b2);
        }
        if (rows > 3) {
          const x3 = v128.load_splat<f32>(x, 3 * STAGED_ROW);
          a3 = Simd.madd(x3, p, a3);
          b3 = Simd.madd(x3, q, b3);
        }
        if (rows > 4) {
          const x4 = v128.load_splat<f32>(x, 4 * STAGED_ROW);
          a4 = Simd.madd(x4, p, a4);
          b4 = Simd.madd(x4, q, b4);
        }
        if (rows > 5) {
          const x5 = v128.load_splat<f32>(x, 5 * STAGED_ROW);
          a5 = Simd.madd(x5, p, a5);
          b5 = Simd.madd(x5, q, b5);
        }
        x += 4;
        panel += 32;
      } while (panel < end);
    v128.store(dst, a0);
    v128.store(dst, b0, 16);
    if (rows > 1) {
      v128.store(dst, a1, 32);
      v128.store(dst, b1, 48);
    }
    if (rows > 2) {
      v128.store(dst, a2, 64);
      v128.store(dst, b2, 80);
    }
    if (rows > 3) {
      v128.store(dst, a3, 96);
      v128.store(dst, b3, 112);
    }
    if (rows > 4) {
      v128.store(dst, a4, 128);
      v128.store(dst, b4, 144);
    }
    if (rows > 5) {
      v128.store(dst, a5, 160);
      v128.store(dst, b5, 176);
    }
  }
}

function tile1(dst: usize, x: usize, panel: usize, columns: usize): void {
  Tile.multiply(1, dst, x, panel, columns);
}
function tile2(dst: usize, x: usize, panel: usize, columns: usize): void {
  Tile.multiply(2, dst, x, panel, columns);
}
function tile3(dst: usize, x: usize, panel: usize, columns: usize): void {
  Tile.multiply(3, dst, x, panel, columns);
}
function tile4(dst: usize, x: usize, panel: usize, columns: usize): void {
  Tile.multiply(4, dst, x, panel, columns);
}
function tile5(dst: usize, x: usize, panel: usize, columns: usize): void {
  Tile.multiply(5, dst, x, panel, columns);
}
function tile6(dst: usize, x: usize, panel: usize, columns: usize): void {
  Tile.multiply(6, dst, x, panel, columns);
}

type TileFunction = (dst: usize, x: usize, panel: usize, columns: usize) => void;

function tileOf(rows: usize): TileFunction {
  switch (<i32>rows) {
    case 1:
      return tile1;
    case 2:
      return tile2;
    case 3:
      return tile3;
    case 4:
      return tile4;
    case 5:
      return tile5;
    default:
      return tile6;
  }
}

/**
 * dst[rows][8] <- x[rows][columns] . panel[columns][8], by tiles whose heights differ by one at most. They
 * are called through a table: a tile that Binaryen has taken into this function loses a third of its speed on
 * V8 11.
 */
export function multiplyPanel(dst: usize, x: usize, rows: usize, panel: usize, columns: usize): void {
  let tiles = (rows + Tile.rows - 1) / Tile.rows;
  let remaining = rows;
  do {
    const height = (remaining + tiles - 1) / tiles;
    const tile = tileOf(height);
    tile(dst, x, panel, columns);
    dst += height << 5;
    x += height * STAGED_ROW;
    remaining -= height;
  } while (--tiles);
}
