import { Simd } from "./simd";

/** Sums of products of small integers, four at a time in each 32-bit lane, and the way there from float32. */
export abstract class Integers {
  /** See {@link Simd.dot4}. */
  @inline static dot(a: v128, b: v128, sum: v128): v128 {
    return Simd.dot4(a, b, sum);
  }

  /** The nearest integers of x * factor, ties to even. */
  @inline static rounded(x: v128, factor: v128): v128 {
    return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(x, factor)));
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

  /** The largest magnitude of a running maximum and x; NaN, if one is. */
  @inline static magnitude(most: v128, x: v128): v128 {
    return f32x4.max(most, f32x4.abs(x));
  }

  /** The 32-bit lane i. */
  @inline static word(x: v128, i: i32): i32 {
    if (i == 0) return i32x4.extract_lane(x, 0);
    if (i == 1) return i32x4.extract_lane(x, 1);
    return i == 2 ? i32x4.extract_lane(x, 2) : i32x4.extract_lane(x, 3);
  }
}
