import { Half } from "../../lanes/half";
import { Integers, Nibbles } from "../../lanes/integers";
import { Simd } from "../../lanes/simd";
import { Quad } from "../products/plain-panel";
import { Left } from "./left";
import { SUMS, Total } from "./tiles";

// One row of x: weights are read once, where they are, and if they come from memory, reading takes most of
// the time. Two groups of twelve rows are read at a time, half of all groups apart: a processor fetches two
// streams faster than one.

/**
 * How many bytes ahead of each stream a byte is read. Loads whose data the next steps wait for fill a
 * processor's queue after some four cache lines of codes; a byte that nothing waits for does not.
 */
const AHEAD: usize = 1024;

/** Two groups of weights: a record in the working memory of a product. */
@unmanaged
export class Streams {
  codes: usize = 0;
  scales: usize = 0;
  /** Bytes from the codes of the first group to those of the second, and from scales to scales. */
  codesApart: usize = 0;
  scalesApart: usize = 0;
  /** The last byte that may be read: that of the scales, which lie behind the codes. */
  last: usize = 0;

  @inline set(codes: usize, scales: usize, codesApart: usize, scalesApart: usize): void {
    this.codes = codes;
    this.scales = scales;
    this.codesApart = codesApart;
    this.scalesApart = scalesApart;
  }
}

/** Bytes of the record, and of what follows it on a boundary of 16. */
export const STREAMS_BYTES: usize = (offsetof<Streams>() + 15) & ~15;

/** sums[2][12] <- a row of x . two groups of integers of seven bits, [columns / 4][12][4] each. */
export function sumInt7<D>(left: Left, sums: usize, streams: Streams): void {
  const ones = Integers.ones(Simd.opaqueZero());
  const block = left.block;
  const apart = streams.codesApart;
  const scalesApart = streams.scalesApart;
  const last = streams.last;
  let codes = streams.codes;
  let scales = streams.scales;
  let x = left.codes;
  let xScales = left.scales;
  let offsets = left.offsets;
  const end = x + left.codeRow;
  Total.clear(sums);
  Total.clear(sums + SUMS);
  if (x < end)
    do {
      let a0 = v128.load_splat<i32>(offsets);
      let a1 = a0;
      let a2 = a0;
      let b0 = a0;
      let b1 = a0;
      let b2 = a0;
      const stop = x + block;
      do {
        const other = codes + apart;
        const y = v128.load_splat<i32>(x);
        a0 = Integers.dotBy<D>(y, v128.load(codes), a0, ones);
        a1 = Integers.dotBy<D>(y, v128.load(codes, 16), a1, ones);
        a2 = Integers.dotBy<D>(y, v128.load(codes, 32), a2, ones);
        b0 = Integers.dotBy<D>(y, v128.load(other), b0, ones);
        b1 = Integers.dotBy<D>(y, v128.load(other, 16), b1, ones);
        b2 = Integers.dotBy<D>(y, v128.load(other, 32), b2, ones);
        const z = v128.load_splat<i32>(x, 4);
        a0 = Integers.dotBy<D>(z, v128.load(codes, 48), a0, ones);
        a1 = Integers.dotBy<D>(z, v128.load(codes, 64), a1, ones);
        a2 = Integers.dotBy<D>(z, v128.load(codes, 80), a2, ones);
        b0 = Integers.dotBy<D>(z, v128.load(other, 48), b0, ones);
        b1 = Integers.dotBy<D>(z, v128.load(other, 64), b1, ones);
        b2 = Integers.dotBy<D>(z, v128.load(other, 80), b2, ones);
        load<u8>(min(codes + AHEAD, last));
        load<u8>(min(other + AHEAD, last));
        codes += 96;
        x += 8;
      } while (x < stop);
      const other = scales + scalesApart;
      Total.addRow(sums, a0, a1, a2, xScales, scales);
      Total.addRow(sums + SUMS, b0, b1, b2, xScales, other);
      load<u8>(min(scales + AHEAD / 8, last));
      load<u8>(min(other + AHEAD / 8, last));
      xScales += 4;
      offsets += 4;
      scales += 48;
    } while (x < end);
}

/**
 * What `sumInt7` does, for E2M1 codes, [columns / 8][12][8] each: see `unpackNibbles`. Scales are of type S.
 */
export function sumNibbles<S, D>(left: Left, sums: usize, streams: Streams): void {
  const zero = Simd.opaqueZero();
  const mask = Nibbles.mask(zero);
  const doubles = Nibbles.doubles(zero);
  const quad: usize = 4 * Half.size<S>();
  const ones = Integers.ones(zero);
  const block = left.block;
  const apart = streams.codesApart;
  const scalesApart = streams.scalesApart;
  const last = streams.last;
  let codes = streams.codes;
  let scales = streams.scales;
  let x = left.codes;
  let xScales = left.scales;
  let offsets = left.offsets;
  const end = x + left.codeRow;
  Total.clear(sums);
  Total.clear(sums + SUMS);
  if (x < end)
    do {
      let a0 = v128.load_splat<i32>(offsets);
      let a1 = a0;
      let a2 = a0;
      let b0 = a0;
      let b1 = a0;
      let b2 = a0;
      const stop = x + block;
      do {
        const other = codes + apart;
        const y = v128.load_splat<i32>(x);
        const z = v128.load_splat<i32>(x, 4);
        let p = v128.load(codes);
        a0 = Integers.dotBy<D>(y, Nibbles.low(p, mask, doubles), a0, ones);
        a0 = Integers.dotBy<D>(z, Nibbles.high(p, mask, doubles), a0, ones);
        p = v128.load(codes, 16);
        a1 = Integers.dotBy<D>(y, Nibbles.low(p, mask, doubles), a1, ones);
        a1 = Integers.dotBy<D>(z, Nibbles.high(p, mask, doubles), a1, ones);
        p = v128.load(codes, 32);
        a2 = Integers.dotBy<D>(y, Nibbles.low(p, mask, doubles), a2, ones);
        a2 = Integers.dotBy<D>(z, Nibbles.high(p, mask, doubles), a2, ones);
        p = v128.load(other);
        b0 = Integers.dotBy<D>(y, Nibbles.low(p, mask, doubles), b0, ones);
        b0 = Integers.dotBy<D>(z, Nibbles.high(p, mask, doubles), b0, ones);
        p = v128.load(other, 16);
        b1 = Integers.dotBy<D>(y, Nibbles.low(p, mask, doubles), b1, ones);
        b1 = Integers.dotBy<D>(z, Nibbles.high(p, mask, doubles), b1, ones);
        p = v128.load(other, 32);
        b2 = Integers.dotBy<D>(y, Nibbles.low(p, mask, doubles), b2, ones);
        b2 = Integers.dotBy<D>(z, Nibbles.high(p, mask, doubles), b2, ones);
        load<u8>(min(codes + AHEAD, last));
        load<u8>(min(other + AHEAD, last));
        codes += 48;
        x += 8;
      } while (x < stop);
      const scale = v128.load_splat<f32>(xScales);
      const other = scales + scalesApart;
      Total.add(sums, a0, scale, Quad.load<S>(scales, zero));
      Total.add(sums + 16, a1, scale, Quad.load<S>(scales + quad, zero));
      Total.add(sums + 32, a2, scale, Quad.load<S>(scales + 2 * quad, zero));
      Total.add(sums + SUMS, b0, scale, Quad.load<S>(other, zero));
      Total.add(sums + SUMS + 16, b1, scale, Quad.load<S>(other + quad, zero));
      Total.add(sums + SUMS + 32, b2, scale, Quad.load<S>(other + 2 * quad, zero));
      load<u8>(min(scales + (AHEAD / 16) * Half.size<S>(), last));
      load<u8>(min(other + (AHEAD / 16) * Half.size<S>(), last));
      xScales += 4;
      offsets += 4;
      scales += 3 * quad;
    } while (x < end);
}
