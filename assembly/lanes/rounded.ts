import { Format } from "./format";

/**
 * The nearest value of a format under a UE8M0 scale, as a float32 and without a code in between.
 *
 * A block's scale is given by its threshold: the float32 bits of the smallest normal value at that scale,
 * 2^(byte - 126 - bias). To |x| is added M = 2^(23 - mantissa) * max(2^exponent(x), smallest normal value):
 * the sum's last place is the spacing of codes near x, so that the addition rounds to the nearest code, of
 * two the even one, and taking M away again is exact. See `Fp8` for the same with codes.
 */
export abstract class Rounded {
  /** Thresholds of UE8M0 bytes in 32-bit lanes. Those of bytes outside `Fp8.scaleIsNear` are not float32. */
  @inline static thresholds<F>(bytes: v128): v128 {
    return i32x4.shl(i32x4.add(bytes, i32x4.splat(1 - Format.bias<F>())), 23);
  }

  /**
   * Whether a byte of four is one that `Fp8.scaleIsNear` refuses: M or the result may leave float32's
   * range.
   */
  @inline static someAreFar<F>(bytes: v128): bool {
    const above = i32x4.sub(bytes, i32x4.splat(Format.bias<F>()));
    return v128.any_true(i32x4.gt_u(above, i32x4.splat(216 - Format.bias<F>())));
  }

  @inline static absMask(opaque: i32): v128 {
    return i32x4.splat(0x7fffffff | opaque);
  }
  @inline static exponentMask(opaque: i32): v128 {
    return i32x4.splat(0x7f800000 | opaque);
  }
  /** From the exponent of x, or the threshold, to that of M. */
  @inline static rise<F>(opaque: i32): v128 {
    return i32x4.splat(((23 - Format.mantissa<F>()) << 23) | opaque);
  }
  /** From the threshold to the bits of the largest value. */
  @inline static span<F>(opaque: i32): v128 {
    return i32x4.splat(
      (((Format.emax<F>() - 1 + Format.bias<F>()) << 23) + Format.topMantissa<F>()) | opaque,
    );
  }

  /** The nearest values to four finite x, of blocks whose bytes `Fp8.scaleIsNear` accepts. */
  @inline static nearest(
    x: v128,
    threshold: v128,
    absMask: v128,
    exponentMask: v128,
    rise: v128,
    span: v128,
  ): v128 {
    const magnitude = v128.and(x, absMask);
    const power = i32x4.add(i32x4.max_s(v128.and(magnitude, exponentMask), threshold), rise);
    const y = f32x4.sub(f32x4.add(magnitude, power), power);
    // Neither is negative, so that their bits compare as they do.
    return v128.or(i32x4.min_s(y, i32x4.add(threshold, span)), v128.andnot(x, absMask));
  }

  /** Counts one more in the lanes where |x| is above the largest value of its block. */
  @inline static countCut(count: v128, x: v128, threshold: v128, absMask: v128, span: v128): v128 {
    return i32x4.sub(count, i32x4.gt_s(v128.and(x, absMask), i32x4.add(threshold, span)));
  }

  /** `nearest` for one x and any threshold, in float64, where nothing leaves the range. */
  @inline static value<F>(x: f32, threshold: i32): f32 {
    const byte = Rounded.byte<F>(threshold);
    if (byte == 0xff) return NaN;
    const size = abs<f64>(<f64>x);
    const field = <i32>(reinterpret<u64>(size) >> 52);
    const spacing = Rounded.power(max(field - 1023, byte - 126 - Format.bias<F>()) - Format.mantissa<F>());
    return <f32>(
      copysign<f64>(min(nearest<f64>(size / spacing) * spacing, Rounded.largest<F>(threshold)), <f64>x)
    );
  }

  /** The largest value of a block. */
  @inline static largest<F>(threshold: i32): f64 {
    return <f64>Format.max<F>() * Rounded.power(Rounded.byte<F>(threshold) - 127);
  }

  @inline static byte<F>(threshold: i32): i32 {
    return (threshold >> 23) - 1 + Format.bias<F>();
  }

  /** 2^exponent */
  @inline static power(exponent: i32): f64 {
    return reinterpret<f64>((<u64>(exponent + 1023)) << 52);
  }
}
