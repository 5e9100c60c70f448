import { Half } from "../../lanes/half";
import { Integers, Nibbles } from "../../lanes/integers";
import { Simd } from "../../lanes/simd";
import { Quad } from "../products/plain-panel";
import { Left } from "./left";
import { GROUP } from "./quantize";
import { SUMS, Total } from "./tiles";

// One row of x: weights are read once, where they are, and if they come from memory, reading takes most of
// the time. So three groups of twelve rows are read at a time, a third of all groups apart: a processor
// fetches several streams faster than one. To read a byte ahead of each as well costs a tenth. Four groups
// gain another 7 % for E2M1 codes from memory, but sums in twelve registers leave too few for `Pairs`: int7
// in a cache is 4 % slower there.

/** Groups of weights that are read at a time. */
export const STREAMS: usize = 3;

/** Where these groups are: a record in the working memory of a product. */
@unmanaged
export class Streams {
  /** Where the codes and the scales of the first group are. */
  codes: usize = 0;
  scales: usize = 0;
  /** Bytes from there to the second and the third group. */
  codesToB: usize = 0;
  codesToC: usize = 0;
  scalesToB: usize = 0;
  scalesToC: usize = 0;
}

/** Bytes of the record, and of what follows it on a boundary of 16. */
export const STREAMS_BYTES: usize = (offsetof<Streams>() + 15) & ~15;

/** sums[3][12] <- a row of x . three groups of integers of seven bits, [columns / 4][12][4] each. */
export function sumInt7<D>(left: Left, sums: usize, streams: Streams): void {
  const ones = Integers.ones(Simd.opaqueZero());
  const block = left.block;
  const toB = streams.codesToB;
  const toC = streams.codesToC;
  const scalesToB = streams.scalesToB;
  const scalesToC = streams.scalesToC;
  let codes = streams.codes;
  let scales = streams.scales;
  let x = left.codes;
  let xScales = left.scales;
  let offsets = left.offsets;
  const end = x + left.codeStride;
  Total.clear(sums);
  Total.clear(sums + SUMS);
  Total.clear(sums + 2 * SUMS);
  if (x < end)
    do {
      let a0 = v128.load_splat<i32>(offsets);
      let a1 = a0;
      let a2 = a0;
      let b0 = a0;
      let b1 = a0;
      let b2 = a0;
      let c0 = a0;
      let c1 = a0;
      let c2 = a0;
      const stop = x + block;
      do {
        const codesB = codes + toB;
        const codesC = codes + toC;
        const y = v128.load_splat<i32>(x);
        a0 = Integers.dotBy<D>(y, v128.load(codes), a0, ones);
        a1 = Integers.dotBy<D>(y, v128.load(codes, 16), a1, ones);
        a2 = Integers.dotBy<D>(y, v128.load(codes, 32), a2, ones);
        b0 = Integers.dotBy<D>(y, v128.load(codesB), b0, ones);
        b1 = Integers.dotBy<D>(y, v128.load(codesB, 16), b1, ones);
        b2 = Integers.dotBy<D>(y, v128.load(codesB, 32), b2, ones);
        c0 = Integers.dotBy<D>(y, v128.load(codesC), c0, ones);
        c1 = Integers.dotBy<D>(y, v128.load(codesC, 16), c1, ones);
        c2 = Integers.dotBy<D>(y, v128.load(codesC, 32), c2, ones);
        const z = v128.load_splat<i32>(x, 4);
        a0 = Integers.dotBy<D>(z, v128.load(codes, 48), a0, ones);
        a1 = Integers.dotBy<D>(z, v128.load(codes, 64), a1, ones);
        a2 = Integers.dotBy<D>(z, v128.load(codes, 80), a2, ones);
        b0 = Integers.dotBy<D>(z, v128.load(codesB, 48), b0, ones);
        b1 = Integers.dotBy<D>(z, v128.load(codesB, 64), b1, ones);
        b2 = Integers.dotBy<D>(z, v128.load(codesB, 80), b2, ones);
        c0 = Integers.dotBy<D>(z, v128.load(codesC, 48), c0, ones);
        c1 = Integers.dotBy<D>(z, v128.load(codesC, 64), c1, ones);
        c2 = Integers.dotBy<D>(z, v128.load(codesC, 80), c2, ones);
        codes += 96;
        x += 8;
      } while (x < stop);
      Total.addRow(sums, a0, a1, a2, xScales, scales);
      Total.addRow(sums + SUMS, b0, b1, b2, xScales, scales + scalesToB);
      Total.addRow(sums + 2 * SUMS, c0, c1, c2, xScales, scales + scalesToC);
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
  const ones = Integers.ones(zero);
  const block = left.block;
  const toB = streams.codesToB;
  const toC = streams.codesToC;
  const scalesToB = streams.scalesToB;
  const scalesToC = streams.scalesToC;
  let codes = streams.codes;
  let scales = streams.scales;
  let x = left.codes;
  let xScales = left.scales;
  let offsets = left.offsets;
  const end = x + left.codeStride;
  Total.clear(sums);
  Total.clear(sums + SUMS);
  Total.clear(sums + 2 * SUMS);
  if (x < end)
    do {
      let a0 = v128.load_splat<i32>(offsets);
      let a1 = a0;
      let a2 = a0;
      let b0 = a0;
      let b1 = a0;
      let b2 = a0;
      let c0 = a0;
      let c1 = a0;
      let c2 = a0;
      const stop = x + block;
      do {
        const codesB = codes + toB;
        const codesC = codes + toC;
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
        p = v128.load(codesB);
        b0 = Integers.dotBy<D>(y, Nibbles.low(p, mask, doubles), b0, ones);
        b0 = Integers.dotBy<D>(z, Nibbles.high(p, mask, doubles), b0, ones);
        p = v128.load(codesB, 16);
        b1 = Integers.dotBy<D>(y, Nibbles.low(p, mask, doubles), b1, ones);
        b1 = Integers.dotBy<D>(z, Nibbles.high(p, mask, doubles), b1, ones);
        p = v128.load(codesB, 32);
        b2 = Integers.dotBy<D>(y, Nibbles.low(p, mask, doubles), b2, ones);
        b2 = Integers.dotBy<D>(z, Nibbles.high(p, mask, doubles), b2, ones);
        p = v128.load(codesC);
        c0 = Integers.dotBy<D>(y, Nibbles.low(p, mask, doubles), c0, ones);
        c0 = Integers.dotBy<D>(z, Nibbles.high(p, mask, doubles), c0, ones);
        p = v128.load(codesC, 16);
        c1 = Integers.dotBy<D>(y, Nibbles.low(p, mask, doubles), c1, ones);
        c1 = Integers.dotBy<D>(z, Nibbles.high(p, mask, doubles), c1, ones);
        p = v128.load(codesC, 32);
        c2 = Integers.dotBy<D>(y, Nibbles.low(p, mask, doubles), c2, ones);
        c2 = Integers.dotBy<D>(z, Nibbles.high(p, mask, doubles), c2, ones);
        codes += 48;
        x += 8;
      } while (x < stop);
      const scale = v128.load_splat<f32>(xScales);
      Scaled.add<S>(sums, a0, a1, a2, scale, scales, zero);
      Scaled.add<S>(sums + SUMS, b0, b1, b2, scale, scales + scalesToB, zero);
      Scaled.add<S>(sums + 2 * SUMS, c0, c1, c2, scale, scales + scalesToC, zero);
      xScales += 4;
      offsets += 4;
      scales += GROUP * Half.size<S>();
    } while (x < end);
}

abstract class Scaled {
  /** Twelve float sums in memory += those of integers, times the scale of x and those of the weights. */
  @inline static add<S>(at: usize, a: v128, b: v128, c: v128, scale: v128, scales: usize, zero: i32): void {
    const quad: usize = 4 * Half.size<S>();
    Total.add(at, a, scale, Quad.load<S>(scales, zero));
    Total.add(at + 16, b, scale, Quad.load<S>(scales + quad, zero));
    Total.add(at + 32, c, scale, Quad.load<S>(scales + 2 * quad, zero));
  }
}
