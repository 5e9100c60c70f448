import { BF16 } from "../../lanes/half";
import { Nibbles, Planes } from "../../lanes/integers";
import { Simd } from "../../lanes/simd";
import { MatrixRecord } from "../matrix";
import { prefetch } from "../prefetch";
import { Quad } from "../products/plain-panel";
import { GROUP } from "./quantize";

/** What F of `Planes` counts: sixteenths of a block's scale. */
const UNIT: f32 = 1 / 16;

/**
 * panel[columns / 4][12][4] <- E2M1 codes[columns / 8][12 rows][4 bytes]: a byte's lower four bits are a
 * code, its upper four that of four columns later.
 */
export function unpackNibbles(panel: usize, codes: usize, columns: usize): void {
  const zero = Simd.opaqueZero();
  const mask = Nibbles.mask(zero);
  const doubles = Nibbles.doubles(zero);
  const end = panel + GROUP * columns;
  if (panel < end)
    do {
      const a = v128.load(codes);
      const b = v128.load(codes, 16);
      const c = v128.load(codes, 32);
      v128.store(panel, Nibbles.low(a, mask, doubles));
      v128.store(panel, Nibbles.low(b, mask, doubles), 16);
      v128.store(panel, Nibbles.low(c, mask, doubles), 32);
      v128.store(panel, Nibbles.high(a, mask, doubles), 48);
      v128.store(panel, Nibbles.high(b, mask, doubles), 64);
      v128.store(panel, Nibbles.high(c, mask, doubles), 80);
      codes += 48;
      panel += 96;
    } while (panel < end);
}

/** spread[blocks][12] <- bfloat16 scales as float32. */
export function widenScales(spread: usize, scales: usize, blocks: usize): void {
  const zero = Simd.opaqueZero();
  for (const end = spread + 4 * GROUP * blocks; spread < end; spread += 16, scales += 8)
    v128.store(spread, Quad.load<BF16>(scales, zero));
}

/**
 * Two panels[columns / 4][12][4], `apart` bytes apart, <- the planes of E4M3 codes of rows n .. n + 11,
 * columns from .. from + columns. Sixteen columns at a time: those behind the end of a row belong to the next
 * one, or are what was there, and meet zeros of x.
 */
export function splitPlanes(
  panel: usize,
  weights: MatrixRecord,
  n: usize,
  from: usize,
  columns: usize,
  apart: usize,
): void {
  const known = min(columns, weights.paddedCols - from);
  // Four rows are read at once. A processor's own prefetcher follows one stream of addresses in a page of
  // memory, and two rows may lie on one page.
  for (let row: usize = 0; row < GROUP; row++)
    prefetch(weights.codesOf(weights.clampRow(n + row)) + from, known);
  for (let row: usize = 0; row < GROUP; row += 4, panel += 16) {
    const first = n + row;
    splitRows(
      panel,
      weights.codesOf(weights.clampRow(first)) + from,
      weights.codesOf(weights.clampRow(first + 1)) + from,
      weights.codesOf(weights.clampRow(first + 2)) + from,
      weights.codesOf(weights.clampRow(first + 3)) + from,
      known,
      apart,
    );
  }
}

function splitRows(panel: usize, a: usize, b: usize, c: usize, d: usize, columns: usize, apart: usize): void {
  const zero = Simd.opaqueZero();
  const zeros = i32x4.splat(zero);
  const significands = Planes.significands(zero);
  const lows = Planes.lowPowers(zero);
  const highs = Planes.highPowers(zero);
  const nibbles = Planes.nibbles(zero);
  const raise = Planes.raise(zero);
  const sevenBits = Planes.sevenBits(zero);
  const end = a + columns;
  if (a < end)
    do {
      const r0 = v128.load(a);
      const r1 = v128.load(b);
      const r2 = v128.load(c);
      const r3 = v128.load(d);
      // Four codes of each row as a lane.
      const low01 = Simd.zip32Low(r0, r1);
      const low23 = Simd.zip32Low(r2, r3);
      const high01 = Simd.zip32High(r0, r1);
      const high23 = Simd.zip32High(r2, r3);
      const q0 = Simd.lowHalves(low01, low23);
      Split.store(panel, q0, apart, significands, lows, highs, nibbles, raise, sevenBits, zeros);
      const q1 = Simd.highHalves(low01, low23);
      Split.store(panel + 48, q1, apart, significands, lows, highs, nibbles, raise, sevenBits, zeros);
      const q2 = Simd.lowHalves(high01, high23);
      Split.store(panel + 96, q2, apart, significands, lows, highs, nibbles, raise, sevenBits, zeros);
      const q3 = Simd.highHalves(high01, high23);
      Split.store(panel + 144, q3, apart, significands, lows, highs, nibbles, raise, sevenBits, zeros);
      panel += 192;
      a += 16;
      b += 16;
      c += 16;
      d += 16;
    } while (a < end);
}

/**
 * Constants come from registers: built anew at each use, as V8 does from version 13 on, they were two fifths
 * of the loop.
 */
abstract class Split {
  @inline static store(
    panel: usize,
    codes: v128,
    apart: usize,
    significands: v128,
    lows: v128,
    highs: v128,
    nibbles: v128,
    raise: v128,
    sevenBits: v128,
    zeros: v128,
  ): void {
    const significand = Simd.lookup(significands, Planes.lowers(codes, nibbles));
    const power = Planes.uppers(codes, nibbles);
    const low = Simd.lookup(lows, power);
    const high = Simd.lookup(highs, power);
    const lower = Planes.lowerHalf(significand, low, high, zeros);
    const upper = Planes.upperHalf(significand, low, high, zeros);
    v128.store(panel, Planes.high(lower, upper, raise));
    v128.store(panel + apart, Planes.low(lower, upper, sevenBits));
  }
}

/**
 * spread[columns / block][12] <- the scales of rows n .. n + 11 in sixteenths, those of columns
 * from .. from + columns.
 */
export function spreadScales(
  spread: usize,
  weights: MatrixRecord,
  n: usize,
  from: usize,
  columns: usize,
  block: usize,
): void {
  for (let row: usize = 0; row < GROUP; row++, spread += 4) {
    const scales = weights.scalesOf(weights.clampRow(n + row));
    let dst = spread;
    for (let k = from; k < from + columns; k += block, dst += 4 * GROUP)
      store<f32>(dst, weights.scaleAt(scales, k) * UNIT);
  }
}
