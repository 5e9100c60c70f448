import { Format } from "./format";
import { Shifted } from "./shifted";

/** Magnitudes of float32 as integers, and the powers of two that keep products of them in range. */
export abstract class Magnitudes {
  @inline static absMask(opaque: i32): v128 {
    return i32x4.splat(0x7fffffff | opaque);
  }

  /** What `lowest` starts with, and takes from each magnitude. */
  @inline static ones(opaque: i32): v128 {
    return i32x4.splat(-1 | opaque);
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
    const exponent = Magnitudes.xExponent<F>(highest);
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
    const exponent = Magnitudes.foldedExponent<F>(highest, highestScale);
    // The power of two and a scale are one factor, and what undoes the power is another.
    if (lowestScale + exponent < 1 || Shifted.exponent<F>() - exponent > 127) return false;
    const product =
      lowest - 127 + (lowestScale - 127) + exponent - Shifted.exponent<F>() + Format.subnormalExponent<F>();
    return exponent == Shifted.exponent<F>() || product >= -126;
  }
}
