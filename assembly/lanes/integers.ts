import { Simd } from "./simd";

/** How four products become part of a sum: by one instruction, or by pairs. All give the same. */
export class Fours {}
export class Pairs {}

/** Sums of products of small integers, four at a time in each 32-bit lane, and the way there from float32. */
export abstract class Integers {
  /** See {@link Simd.dot4}. */
  @inline static dot(a: v128, b: v128, sum: v128): v128 {
    return Simd.dot4(a, b, sum);
  }

  /** What `dot` gives, in the way D; `ones` are those of {@link Integers.ones}. */
  @inline static dotBy<D>(a: v128, b: v128, sum: v128, ones: v128): v128 {
    if (idof<D>() == idof<Pairs>()) return Simd.dot4OfPairs(a, b, sum, ones);
    return Simd.dot4(a, b, sum);
  }

  /** Whether `Pairs` are faster than `Fours` here. */
  @inline static favoursPairs(): bool {
    return Simd.sumsPairs(Simd.opaqueZero());
  }

  @inline static ones(opaque: i32): v128 {
    return i32x4.splat(0x00010001 | opaque);
  }

  /** Bits of 3 * 2^22: float32 between 2^23 and 2^24 are the integers there, in the order of their bits. */
  @inline static large(opaque: i32): v128 {
    return i32x4.splat(((127 + 23) << 23) | (1 << 22) | opaque);
  }

  /**
   * The nearest integers of x * factor, ties to even, for results below 2^22: an addition rounds to them.
   * WebAssembly's own rounding and conversion would be ten instructions on x86 instead of these three.
   */
  @inline static rounded(x: v128, factor: v128, large: v128): v128 {
    return i32x4.sub(f32x4.add(f32x4.mul(x, factor), large), large);
  }

  /** Sixteen bytes of four vectors of integers from -128 to 127. */
  @inline static bytes(a: v128, b: v128, c: v128, d: v128): v128 {
    return i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
  }

  /** -64 times the sum of all lanes. */
  @inline static offset(x: v128): i32 {
    const pairs = i32x4.add(x, i32x4.shuffle(x, x, 2, 3, 0, 1));
    return -64 * (i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1));
  }

  /** Each byte + 64. */
  @inline static raised(bytes: v128): v128 {
    return i8x16.add(bytes, i8x16.splat(64));
  }

  /** Integers as float32, rounded to nearest. */
  @inline static floats(x: v128): v128 {
    return f32x4.convert_i32x4_s(x);
  }

  /** The 32-bit lane i. */
  @inline static word(x: v128, i: i32): i32 {
    if (i == 0) return i32x4.extract_lane(x, 0);
    if (i == 1) return i32x4.extract_lane(x, 1);
    return i == 2 ? i32x4.extract_lane(x, 2) : i32x4.extract_lane(x, 3);
  }
}

/**
 * E4M3 codes as integers of two planes: with F the nearest integer of 16 times a code's value, F + 8192 = 128
 * high + low, both from 0 to 127.
 *
 * A value is (8 + mantissa) * 2^(e - 10), so F = (8 + mantissa) * 2^(e - 6) from exponent field e = 6 on
 * (|value| >= 0.5), exactly: at most 15 * 2^9. Below, it is rounded, halves up. A code's lower four bits, the
 * last of e and the mantissa, say G = (8 + mantissa) * 2^(e & 1); its upper four, the sign and h = e >> 1,
 * say what F is of that: +-4^(h - 3). One instruction multiplies and rounds: (a * b + 2^14) >> 15 with
 * a = G * 2^10 and b = +-2^(2h - 1), or 0 for h = 0, where F < 1/2. The code of NaN becomes a number.
 */
export abstract class Planes {
  /** The upper byte of a, 4 G, by the lower four bits of a code. */
  @inline static significands(opaque: i32): v128 {
    return Simd.lanes(0x2c282420 | opaque, 0x3c383430 | opaque, 0x58504840 | opaque, 0x78706860 | opaque);
  }

  /** The lower byte of b, by the upper four bits of a code. */
  @inline static lowPowers(opaque: i32): v128 {
    return Simd.lanes(0x20080200 | opaque, 0x00000080 | opaque, 0xe0f8fe00 | opaque, 0x00000080 | opaque);
  }

  /** The upper byte of b, likewise. */
  @inline static highPowers(opaque: i32): v128 {
    return Simd.lanes(opaque, 0x20080200 | opaque, 0xffffff00 | opaque, 0xe0f8feff | opaque);
  }

  /** Four low bits of each byte. */
  @inline static nibbles(opaque: i32): v128 {
    return i32x4.splat(0x0f0f0f0f | opaque);
  }

  /** What makes upper digits from -64 to 63 positive. */
  @inline static raise(opaque: i32): v128 {
    return i32x4.splat(0x40404040 | opaque);
  }

  /** The seven bits of the lower plane. */
  @inline static sevenBits(opaque: i32): v128 {
    return i32x4.splat(0x007f007f | opaque);
  }

  /** The lower four bits of each byte. */
  @inline static lowers(codes: v128, nibbles: v128): v128 {
    return v128.and(codes, nibbles);
  }

  /** The upper four. */
  @inline static uppers(codes: v128, nibbles: v128): v128 {
    return v128.and(i16x8.shr_u(codes, 4), nibbles);
  }

  /** F of the lower eight codes, whose significands and powers were looked up. */
  @inline static lowerHalf(significands: v128, lows: v128, highs: v128, zeros: v128): v128 {
    return Simd.roundedHalf(Simd.zipBytesLow(zeros, significands), Simd.zipBytesLow(lows, highs));
  }

  /** F of the upper eight codes. */
  @inline static upperHalf(significands: v128, lows: v128, highs: v128, zeros: v128): v128 {
    return Simd.roundedHalf(Simd.zipBytesHigh(zeros, significands), Simd.zipBytesHigh(lows, highs));
  }

  @inline static high(lower: v128, upper: v128, raise: v128): v128 {
    return i8x16.add(i8x16.narrow_i16x8_s(i16x8.shr_s(lower, 7), i16x8.shr_s(upper, 7)), raise);
  }

  @inline static low(lower: v128, upper: v128, sevenBits: v128): v128 {
    return i8x16.narrow_i16x8_u(v128.and(lower, sevenBits), v128.and(upper, sevenBits));
  }

  /** 128 high + low, of sums. */
  @inline static join(high: v128, low: v128): v128 {
    return i32x4.add(i32x4.shl(high, 7), low);
  }
}

/** E2M1 codes, two a byte, as twice their values + 64: 0, 1, 2, 3, 4, 6, 8 and 12, and their negatives. */
export abstract class Nibbles {
  @inline static doubles(opaque: i32): v128 {
    return Simd.lanes(0x43424140 | opaque, 0x4c484644 | opaque, 0x3d3e3f40 | opaque, 0x34383a3c | opaque);
  }

  @inline static mask(opaque: i32): v128 {
    return i32x4.splat(0x0f0f0f0f | opaque);
  }

  @inline static low(bytes: v128, mask: v128, doubles: v128): v128 {
    return Simd.lookup(doubles, v128.and(bytes, mask));
  }

  @inline static high(bytes: v128, mask: v128, doubles: v128): v128 {
    return Simd.lookup(doubles, v128.and(i16x8.shr_u(bytes, 4), mask));
  }
}
