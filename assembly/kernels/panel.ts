import { Shifted } from "../lanes/shifted";
import { Simd } from "../lanes/simd";
import { Weights } from "./weights";

/** Rows of weights that are decoded together: the columns of a micro-kernel's tile. */
export const PANEL_ROWS: usize = 8;

/**
 * panel[columns][8] <- float32 values of rows n .. n + 7, columns from .. from + columns, scaled. `columns` is a
 * multiple of 16; what is past the end of a row is some finite number.
 * @param isFused whether each scale times `Shifted.unit` is a float32
 * @param spread room for another panel
 */
export function decodePanel<F>(
  panel: usize,
  spread: usize,
  n: usize,
  from: usize,
  columns: usize,
  isFused: bool,
): void {
  const isSpread = !isFused || !Weights.isAligned;
  for (let half: usize = 0; half < 2; half++) {
    const first = n + 4 * half;
    const a = Weights.row(first);
    const b = Weights.row(first + 1);
    const c = Weights.row(first + 2);
    const d = Weights.row(first + 3);
    const sa = Weights.scalesOf(first);
    const sb = Weights.scalesOf(first + 1);
    const sc = Weights.scalesOf(first + 2);
    const sd = Weights.scalesOf(first + 3);
    const blockCols = Weights.blockCols;
    let block = (from / blockCols) * Weights.scaleBytes;
    let column = from;
    let blockEnd = column - (column % blockCols);
    const end = from + columns;
    do {
      blockEnd += blockCols;
      // The last block takes the padding.
      const pieceEnd = blockEnd < Weights.cols ? min(blockEnd, end) : end;
      const scales = Weights.scalesAt(sa + block, sb + block, sc + block, sd + block);
      if (isSpread) {
        spreadScales(spread + ((column - from) << 4), pieceEnd - column, scales);
      } else {
        const factors = f32x4.mul(scales, f32x4.splat(Shifted.unit<F>()));
        decodeRows<F>(
          panel + ((column - from) << 5),
          a + column,
          b + column,
          c + column,
          d + column,
          pieceEnd - column,
          factors,
        );
      }
      block += Weights.scaleBytes;
      column = pieceEnd;
    } while (column < end);
    if (isSpread) decodeRowsBy<F>(panel, a + from, b + from, c + from, d + from, columns, spread);
    panel += 16;
  }
}

/** Four rows, one scale each: panel[column][0..3] of a panel of eight. */
function decodeRows<F>(
  dst: usize,
  a: usize,
  b: usize,
  c: usize,
  d: usize,
  columns: usize,
  factors: v128,
): void {
  const zero = Simd.opaqueZero();
  const mask = Shifted.mask<F>(zero);
  const weights = Shifted.weights<F>(zero);
  const zeros = f32x4.splat(0);
  const end = a + columns;
  if (a < end)
    do {
      const r0 = v128.load(a);
      const r1 = v128.load(b);
      const r2 = v128.load(c);
      const r3 = v128.load(d);
      // Four codes of each row as a lane: lane i of t0 holds columns 0..3 of row i.
      const low01 = Simd.zip32Low(r0, r1);
      const low23 = Simd.zip32Low(r2, r3);
      const t0 = Simd.lowHalves(low01, low23);
      const l0 = Shifted.lower(t0);
      v128.store(dst, Simd.product(Shifted.middle(l0, weights, mask), factors, zeros), 0);
      v128.store(dst, Simd.product(Shifted.middle(t0, weights, mask), factors, zeros), 32);
      v128.store(dst, Simd.product(Shifted.top<F>(l0, mask), factors, zeros), 64);
      v128.store(dst, Simd.product(Shifted.top<F>(t0, mask), factors, zeros), 96);
      const t1 = Simd.highHalves(low01, low23);
      const l1 = Shifted.lower(t1);
      v128.store(dst, Simd.product(Shifted.middle(l1, weights, mask), factors, zeros), 128);
      v128.store(dst, Simd.product(Shifted.middle(t1, weights, mask), factors, zeros), 160);
      v128.store(dst, Simd.product(Shifted.top<F>(l1, mask), factors, zeros), 192);
      v128.store(dst, Simd.product(Shifted.top<F>(t1, mask), factors, zeros), 224);
      const high01 = Simd.zip32High(r0, r1);
      const high23 = Simd.zip32High(r2, r3);
      const t2 = Simd.lowHalves(high01, high23);
      const l2 = Shifted.lower(t2);
      v128.store(dst, Simd.product(Shifted.middle(l2, weights, mask), factors, zeros), 256);
      v128.store(dst, Simd.product(Shifted.middle(t2, weights, mask), factors, zeros), 288);
      v128.store(dst, Simd.product(Shifted.top<F>(l2, mask), factors, zeros), 320);
      v128.store(dst, Simd.product(Shifted.top<F>(t2, mask), factors, zeros), 352);
      const t3 = Simd.highHalves(high01, high23);
      const l3 = Shifted.lower(t3);
      v128.store(dst, Simd.product(Shifted.middle(l3, weights, mask), factors, zeros), 384);
      v128.store(dst, Simd.product(Shifted.middle(t3, weights, mask), factors, zeros), 416);
      v128.store(dst, Simd.product(Shifted.top<F>(l3, mask), factors, zeros), 448);
      v128.store(dst, Simd.product(Shifted.top<F>(t3, mask), factors, zeros), 480);
      a += 16;
      b += 16;
      c += 16;
      d += 16;
      dst += 512;
    } while (a < end);
}

/** spread[columns][4] <- the scales of four rows, as often as their block is wide. */
function spreadScales(spread: usize, columns: usize, scales: v128): void {
  const end = spread + (columns << 4);
  if (spread < end)
    do {
      v128.store(spread, scales);
      spread += 16;
    } while (spread < end);
}

/** The same for blocks of any width and scales of any size: a scale per column and row, and two exact steps. */
function decodeRowsBy<F>(
  dst: usize,
  a: usize,
  b: usize,
  c: usize,
  d: usize,
  columns: usize,
  spread: usize,
): void {
  decodeRows<F>(dst, a, b, c, d, columns, f32x4.splat(Shifted.unit<F>()));
  const end = spread + (columns << 4);
  if (spread < end)
    do {
      v128.store(dst, f32x4.mul(v128.load(dst), v128.load(spread)));
      dst += 32;
      spread += 16;
    } while (spread < end);
}
