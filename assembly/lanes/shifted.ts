import { E4M3, Format } from "./format";
import { Simd } from "./simd";

/**
 * FP8 codes to float32 by shift and mask, the form that products take. Moved so that its mantissa meets
 * float32's, a code is the float32 of its value times 2^(bias - 127), exactly, zero and subnormal codes
 * included: nine operations for sixteen codes, where `Fp8` needs twenty-one. A product has to multiply by a
 * scale anyway, and 2^(127 - bias) goes into that. Inf and NaN codes come out as if they were further finite
 * ones.
 *
 * The four codes in a 32-bit lane are worked on at once, those of bytes 3 and 1 where they are, those of 2
 * and 0 after a shift of 8, or loaded again from a byte before, which leaves eight operations. A byte on top
 * is shifted down arithmetically, which leaves its sign at bit 31.
 *
 * Where multiply-adds are fused, both 16-bit halves are shifted at once, and a byte shuffle brings the lower
 * one up: on x86 one of these operations competes with multiply-adds for ports, not two. Elsewhere the byte
 * below the middle is sign-extended and shifted up by one multiply-add of 16-bit halves, which takes the low
 * half alone. Both give the same bits.
 *
 * Measured and lost: unpacking to 16-bit lanes first (9 operations too, on fewer ports), widening loads (10),
 * byte shuffles into place (11), four loads a byte apart (8, but all of the shifts on the same ports).
 */
export abstract class Shifted {
  /** Sign and magnitude at their place in float32. */
  @inline static mask<F>(zero: i32): v128 {
    return i32x4.splat(0x80000000 | (0x7f << (23 - Format.mantissa<F>())) | zero);
  }

  /**
   * What `middle` takes besides: the bytes that a shuffle puts into each lane, or multipliers of the low
   * 16-bit halves, by which bit 8 goes to the lowest mantissa bit.
   */
  @inline static raise<F>(zero: i32): v128 {
    return Simd.isFused()
      ? Simd.lanes(0x01000000 | zero, 0x05040000 | zero, 0x09080000 | zero, 0x0d0c0000 | zero)
      : i32x4.splat((1 << (15 - Format.mantissa<F>())) | zero);
  }

  /** Codes as `top` and `middle` take them. */
  @inline static halves<F>(codes: v128): v128 {
    return Simd.isFused() ? i16x8.shr_s(codes, 1 + Format.mantissa<F>()) : codes;
  }

  /** Byte 3 of each 32-bit lane. */
  @inline static top<F>(halves: v128, mask: v128): v128 {
    return v128.and(Simd.isFused() ? halves : i32x4.shr_s(halves, 1 + Format.mantissa<F>()), mask);
  }

  /** Byte 1 of each 32-bit lane. */
  @inline static middle(halves: v128, raise: v128, mask: v128): v128 {
    const raised = Simd.isFused() ? Simd.lookup(halves, raise) : i32x4.dot_i16x8_s(halves, raise);
    return v128.and(raised, mask);
  }

  /** Bytes 2 and 0 moved to where bytes 3 and 1 are. */
  @inline static lower(codes: v128): v128 {
    return i32x4.shl(codes, 8);
  }

  /** What a decoded value is too small by, as a power of two. */
  @inline static exponent<F>(): i32 {
    return 127 - Format.bias<F>();
  }

  /** 2^exponent. */
  @inline static unit<F>(): f32 {
    return reinterpret<f32>((127 + Shifted.exponent<F>()) << 23);
  }

  /** The largest exponent field of a scale whose product with `unit` is a float32. */
  @inline static highestField<F>(): i32 {
    return 254 - Shifted.exponent<F>();
  }

  /**
   * Whether a scale with this exponent field can take a code beyond float32, be it one that means Inf or NaN:
   * bytes behind a row are decoded too, and multiplied by 0. Scales that are NaN or Inf count as such.
   */
  @inline static overflows<F>(field: i32): bool {
    return field > 253 + Format.bias<F>() - (0x7f >> Format.mantissa<F>());
  }

  /** The value of one code as float64: exact, Inf and NaN included. */
  static value<F>(code: i32): f64 {
    const magnitude = code & 0x7f;
    const bits = magnitude << (23 - Format.mantissa<F>());
    let value = <f64>reinterpret<f32>(bits) * <f64>Shifted.unit<F>();
    if (magnitude > Format.top<F>()) {
      // E5M2 has one Inf in front of its NaNs.
      value = idof<F>() != idof<E4M3>() && magnitude == Format.top<F>() + 1 ? Infinity : NaN;
    }
    return code & 0x80 ? -value : value;
  }
}

/** Magnitudes of float32 as integers, and the powers of two that keep products of them in range. */
export abstract class Range {
  @inline static absMask(zero: i32): v128 {
    return i32x4.splat(0x7fffffff | zero);
  }

  /** What `lowest` starts with, and takes from each magnitude. */
  @inline static ones(zero: i32): v128 {
    return i32x4.splat(-1 | zero);
  }

  /** Running maximum of magnitudes. */
  @inline static highest(highest: v128, x: v128, absMask: v128): v128 {
    return i32x4.max_s(highest, v128.and(x, absMask));
  }

  /** Running minimum of nonzero magnitudes, less one, as unsigned numbers: zero becomes the largest. */
  @inline static lowest(lowest: v128, x: v128, absMask: v128, ones: v128): v128 {
    return i32x4.min_u(lowest, i32x4.add(v128.and(x, absMask), ones));
  }

  /** The largest of four lanes. */
  @inline static largest(x: v128): i32 {
    return max(
      max(i32x4.extract_lane(x, 0), i32x4.extract_lane(x, 1)),
      max(i32x4.extract_lane(x, 2), i32x4.extract_lane(x, 3)),
    );
  }

  /** The smallest of four unsigned lanes. */
  @inline static smallest(x: v128): i32 {
    return min(
      min<u32>(i32x4.extract_lane(x, 0), i32x4.extract_lane(x, 1)),
      min<u32>(i32x4.extract_lane(x, 2), i32x4.extract_lane(x, 3)),
    );
  }

  /** The float32 with these bits. */
  @inline static value(magnitude: i32): f32 {
    return reinterpret<f32>(magnitude);
  }

  /** The exponent field of a magnitude; 255 if it is Inf or NaN. */
  @inline static field(magnitude: i32): i32 {
    return magnitude >>> 23;
  }

  /** 2^exponent as float32, for exponents -126 to 127. */
  @inline static power(exponent: i32): f32 {
    return reinterpret<f32>((exponent + 127) << 23);
  }

  /**
   * The power of two, as an exponent, that x with largest exponent field `highest` is multiplied by so that
   * its products with `Shifted` codes are true to size, or as near to that as float32 reaches.
   */
  @inline static xExponent<F>(highest: i32): i32 {
    return min(Shifted.exponent<F>(), 253 - highest);
  }

  /**
   * Whether products with codes may be summed before they are scaled: none falls below float32's normal range
   * that would be inside of it when scaled. `lowest` is the exponent field of the smallest nonzero x,
   * `lowestScale` and `highestScale` those of the scales.
   */
  @inline static isSafe<F>(highest: i32, lowest: i32, lowestScale: i32, highestScale: i32): bool {
    if (highest == 255) return false;
    const exponent = Range.xExponent<F>(highest);
    const product = lowest - 127 + exponent - Shifted.exponent<F>() + Format.subnormalExponent<F>();
    if (exponent == Shifted.exponent<F>()) return product >= -126 || highestScale <= 127;
    return lowest > 0 && product + min(0, lowestScale - 127) >= -126;
  }

  /**
   * `xExponent` for x that is multiplied by scales up to exponent field `highestScale` besides: a product of
   * the largest of both is below 2^(highest + highestScale + exponent - 252), which is at most 2^128.
   */
  @inline static foldedExponent<F>(highest: i32, highestScale: i32): i32 {
    return min(Shifted.exponent<F>(), min(380 - highest - highestScale, 254 - highestScale));
  }

  /**
   * Whether x may be multiplied by the scales before it meets the codes: none of the factors leaves float32's
   * normal range, and no product is rounded below it but one that is below it when true to size.
   */
  @inline static isFoldable<F>(highest: i32, lowest: i32, lowestScale: i32, highestScale: i32): bool {
    if (highest == 255 || lowest == 0 || lowestScale == 0) return false;
    const exponent = Range.foldedExponent<F>(highest, highestScale);
    // The power of two and a scale are one factor, and what undoes the power is another.
    if (lowestScale + exponent < 1 || Shifted.exponent<F>() - exponent > 127) return false;
    const product =
      lowest - 127 + (lowestScale - 127) + exponent - Shifted.exponent<F>() + Format.subnormalExponent<F>();
    return exponent == Shifted.exponent<F>() || product >= -126;
  }
}
