import { Shifted } from "../../lanes/shifted";
import { Simd } from "../../lanes/simd";
import { Weights } from "./right-operand";
import { fillDense } from "./subnormal-rows";
import { Subnormals } from "./subnormals";

/** Rows of weights that are decoded together: the columns of a micro-kernel's tile. */
export const PANEL_ROWS: usize = 8;

/**
 * panel[columns][8] <- float32 values of rows n .. n + 7, columns from .. from + columns, scaled. `columns` is a
 * multiple of 16; what is past the end of a row is some finite number.
 * @param isFused whether each scale times `Shifted.unit` is a float32
 * @param spread room for half a panel
 * @param zeros as many bytes as columns
 */
export function decodePanel<F>(
  panel: usize,
  spread: usize,
  zeros: usize,
  n: usize,
  from: usize,
  columns: usize,
  isFused: bool,
): void {
  const isPlain = isFused && Weights.isAligned;
  for (let half: usize = 0; half < 2; half++) {
    spreadScales(spread, n, from, columns, isPlain ? 16 : 1);
    const codes0 = codesOf(n, from, zeros);
    const codes1 = codesOf(n + 1, from, zeros);
    const codes2 = codesOf(n + 2, from, zeros);
    const codes3 = codesOf(n + 3, from, zeros);
    decodeRows<F>(panel, codes0, codes1, codes2, codes3, columns, spread, isPlain);
    if (!isPlain) scalePanel(panel, spread, columns);
    if (Subnormals.list) addSubnormals<F>(panel, n, from, columns, spread);
    panel += 16;
    n += 4;
  }
}

/** Codes of row n; zeros where there are too many subnormal ones. */
function codesOf(n: usize, from: usize, zeros: usize): usize {
  return Subnormals.isDense(n) ? zeros : Weights.row(n) + from;
}

/** What is missing of rows n .. n + 3: codes that were set aside, and whole rows. */
function addSubnormals<F>(panel: usize, n: usize, from: usize, columns: usize, room: usize): void {
  const end = min(n + 4, Weights.rows);
  for (; n < end; n++, panel += 4) {
    if (Subnormals.isDense(n)) fillDense<F>(panel, n, from, room);
    else Subnormals.putBack(panel, n, from, columns);
  }
}

/** spread[columns / step][4] <- the scales of rows n .. n + 3 at every column, or at every sixteenth. */
function spreadScales(spread: usize, n: usize, from: usize, columns: usize, step: usize): void {
  const a = Weights.scalesOf(n);
  const b = Weights.scalesOf(n + 1);
  const c = Weights.scalesOf(n + 2);
  const d = Weights.scalesOf(n + 3);
  const blockCols = Weights.blockCols;
  let block = (from / blockCols) * Weights.scaleBytes;
  let blockEnd = from - (from % blockCols);
  const end = from + columns;
  let column = from;
  do {
    blockEnd += blockCols;
    // The last block takes the padding.
    const pieceEnd = blockEnd < Weights.cols ? min(blockEnd, end) : end;
    const scales = Weights.scalesAt(a + block, b + block, c + block, d + block);
    for (; column < pieceEnd; column += step, spread += 16) v128.store(spread, scales);
    block += Weights.scaleBytes;
  } while (column < end);
}

/** Four rows of codes, times the scale of their columns or not: panel[column][0..3] of a panel of eight. */
function decodeRows<F>(
  dst: usize,
  a: usize,
  b: usize,
  c: usize,
  d: usize,
  columns: usize,
  scales: usize,
  isScaled: bool,
): void {
  const zero = Simd.opaqueZero();
  const mask = Shifted.mask<F>(zero);
  const weights = Shifted.weights<F>(zero);
  const zeros = f32x4.splat(0);
  const unit = f32x4.splat(Shifted.unit<F>());
  const end = a + columns;
  if (a < end)
    do {
      const factors = isScaled ? f32x4.mul(v128.load(scales), unit) : unit;
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
      scales += 16;
      dst += 512;
    } while (a < end);
}

/** Scales of any size, a step of its own: panel[columns][0..3] of a panel of eight, times spread[columns][4]. */
function scalePanel(panel: usize, spread: usize, columns: usize): void {
  const end = spread + (columns << 4);
  if (spread < end)
    do {
      v128.store(panel, f32x4.mul(v128.load(panel), v128.load(spread)));
      panel += 32;
      spread += 16;
    } while (spread < end);
}
