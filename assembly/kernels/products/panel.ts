import { Shifted } from "../../lanes/shifted";
import { Simd } from "../../lanes/simd";
import { MatrixRecord } from "../matrix";
import { fillByTable } from "./subnormal-rows";
import { Subnormals } from "./subnormals";

/** Rows of weights that are decoded together: the columns of a micro-kernel's tile. */
export const PANEL_ROWS: usize = 8;

/**
 * panel[columns][8] <- float32 values of rows n .. n + 7, columns from .. from + columns, scaled. `columns`
 * is a multiple of 16; what is past the end of a row is some finite number.
 * @param unitFitsScales whether each scale times `Shifted.unit` is a float32
 * @param spread memory for half a panel
 * @param zeros as many bytes as columns
 */
export function decodePanel<F>(
  panel: usize,
  spread: usize,
  zeros: usize,
  weights: MatrixRecord,
  n: usize,
  from: usize,
  columns: usize,
  unitFitsScales: bool,
): void {
  const isScaledAtOnce = unitFitsScales && weights.isAligned;
  for (let half: usize = 0; half < 2; half++) {
    const n0 = weights.clampRow(n);
    const n1 = weights.clampRow(n + 1);
    const n2 = weights.clampRow(n + 2);
    const n3 = weights.clampRow(n + 3);
    spreadScales(spread, weights, n0, n1, n2, n3, from, columns, isScaledAtOnce ? 16 : 1);
    const codes0 = codesOf(weights, n0, from, zeros);
    const codes1 = codesOf(weights, n1, from, zeros);
    const codes2 = codesOf(weights, n2, from, zeros);
    const codes3 = codesOf(weights, n3, from, zeros);
    decodeRows<F>(panel, codes0, codes1, codes2, codes3, columns, spread, isScaledAtOnce);
    if (!isScaledAtOnce) scalePanel(panel, spread, columns);
    if (weights.list) addSubnormals<F>(panel, weights, n, from, columns, spread);
    panel += 16;
    n += 4;
  }
}

/** Codes of row n; zeros where there are too many subnormal ones. */
function codesOf(weights: MatrixRecord, n: usize, from: usize, zeros: usize): usize {
  return Subnormals.hasMany(weights, n) ? zeros : weights.codesOf(n) + from;
}

/** What is missing of rows n .. n + 3: codes in the list, and rows with many subnormal codes. */
function addSubnormals<F>(
  panel: usize,
  weights: MatrixRecord,
  n: usize,
  from: usize,
  columns: usize,
  work: usize,
): void {
  const end = min(n + 4, weights.rows);
  for (; n < end; n++, panel += 4) {
    if (Subnormals.hasMany(weights, n)) fillByTable<F>(panel, weights, n, from, work);
    else Subnormals.putBack(panel, weights, n, from, columns);
  }
}

/** spread[columns / step][4] <- the scales of four rows at every column, or at every sixteenth. */
function spreadScales(
  spread: usize,
  weights: MatrixRecord,
  n0: usize,
  n1: usize,
  n2: usize,
  n3: usize,
  from: usize,
  columns: usize,
  step: usize,
): void {
  const a = weights.scalesOf(n0);
  const b = weights.scalesOf(n1);
  const c = weights.scalesOf(n2);
  const d = weights.scalesOf(n3);
  const blockCols = weights.runCols;
  let block = (from / blockCols) * weights.scaleBytes;
  let blockEnd = from - (from % blockCols);
  const end = from + columns;
  let column = from;
  do {
    blockEnd += blockCols;
    // The last block takes the padding.
    const pieceEnd = blockEnd < weights.cols ? min(blockEnd, end) : end;
    const scales = weights.scalesAt(a + block, b + block, c + block, d + block);
    for (; column < pieceEnd; column += step, spread += 16) v128.store(spread, scales);
    block += weights.scaleBytes;
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
  const raise = Shifted.raise<F>(zero);
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
      const q0 = Simd.lowHalves(low01, low23);
      const t0 = Shifted.halves<F>(q0);
      const l0 = Shifted.halves<F>(Shifted.lower(q0));
      v128.store(dst, Simd.product(Shifted.middle(l0, raise, mask), factors, zeros), 0);
      v128.store(dst, Simd.product(Shifted.middle(t0, raise, mask), factors, zeros), 32);
      v128.store(dst, Simd.product(Shifted.top<F>(l0, mask), factors, zeros), 64);
      v128.store(dst, Simd.product(Shifted.top<F>(t0, mask), factors, zeros), 96);
      const q1 = Simd.highHalves(low01, low23);
      const t1 = Shifted.halves<F>(q1);
      const l1 = Shifted.halves<F>(Shifted.lower(q1));
      v128.store(dst, Simd.product(Shifted.middle(l1, raise, mask), factors, zeros), 128);
      v128.store(dst, Simd.product(Shifted.middle(t1, raise, mask), factors, zeros), 160);
      v128.store(dst, Simd.product(Shifted.top<F>(l1, mask), factors, zeros), 192);
      v128.store(dst, Simd.product(Shifted.top<F>(t1, mask), factors, zeros), 224);
      const high01 = Simd.zip32High(r0, r1);
      const high23 = Simd.zip32High(r2, r3);
      const q2 = Simd.lowHalves(high01, high23);
      const t2 = Shifted.halves<F>(q2);
      const l2 = Shifted.halves<F>(Shifted.lower(q2));
      v128.store(dst, Simd.product(Shifted.middle(l2, raise, mask), factors, zeros), 256);
      v128.store(dst, Simd.product(Shifted.middle(t2, raise, mask), factors, zeros), 288);
      v128.store(dst, Simd.product(Shifted.top<F>(l2, mask), factors, zeros), 320);
      v128.store(dst, Simd.product(Shifted.top<F>(t2, mask), factors, zeros), 352);
      const q3 = Simd.highHalves(high01, high23);
      const t3 = Shifted.halves<F>(q3);
      const l3 = Shifted.halves<F>(Shifted.lower(q3));
      v128.store(dst, Simd.product(Shifted.middle(l3, raise, mask), factors, zeros), 384);
      v128.store(dst, Simd.product(Shifted.middle(t3, raise, mask), factors, zeros), 416);
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

/**
 * Scales of any size, a step of its own: panel[columns][0..3] of a panel of eight, times spread[columns][4].
 */
function scalePanel(panel: usize, spread: usize, columns: usize): void {
  const end = spread + (columns << 4);
  if (spread < end)
    do {
      v128.store(panel, f32x4.mul(v128.load(panel), v128.load(spread)));
      panel += 32;
      spread += 16;
    } while (spread < end);
}
