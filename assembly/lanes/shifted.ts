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
  @inline static mask<F>(opaque: i32): v128 {
    return i32x4.splat(0x80000000 | (0x7f << (23 - Format.mantissa<F>())) | opaque);
  }

  /**
   * What `middle` takes besides: the bytes that a shuffle puts into each lane, or multipliers of the low
   * 16-bit halves, by which bit 8 goes to the lowest mantissa bit.
   */
  @inline static raise<F>(opaque: i32): v128 {
    return Simd.isFused()
      ? Simd.lanes(0x01000000 | opaque, 0x05040000 | opaque, 0x09080000 | opaque, 0x0d0c0000 | opaque)
      : i32x4.splat((1 << (15 - Format.mantissa<F>())) | opaque);
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
