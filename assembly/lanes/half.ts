import { Simd } from "./simd";

/** Value types: what the high-precision side of a conversion holds. */
export class F32 {}
export class BF16 {}
export class F16 {}

/**
 * bfloat16 and IEEE half precision to and from float32, eight at a time; every conversion to a half rounds to
 * nearest even. `opaque` is `Simd.opaqueZero()`: a constant made from it is made once per iteration instead
 * of once per use.
 */
export abstract class Half {
  /** Whether T is one of these types, and not one of codes. */
  @inline static has<T>(): bool {
    return idof<T>() == idof<F32>() || idof<T>() == idof<BF16>() || idof<T>() == idof<F16>();
  }

  /** Bytes of one value. */
  @inline static size<T>(): usize {
    return idof<T>() == idof<F32>() ? 4 : 2;
  }

  /** bfloat16 or half patterns in 32-bit lanes, upper halves 0, as float32. */
  @inline static widen<T>(h: v128, opaque: i32): v128 {
    return idof<T>() == idof<BF16>() ? i32x4.shl(h, 16) : Half.fromF16(h, opaque);
  }

  /**
   * Half patterns in 32-bit lanes to float32. Moved up by 13, the fields are in place and the exponent is
   * short by 112, or by twice that for Inf and NaN. A subnormal m is made as 2^-14 (1 + m / 1024) - 2^-14,
   * exactly.
   */
  @inline static fromF16(h: v128, opaque: i32): v128 {
    const rebias = i32x4.splat((112 << 23) | opaque);
    const magnitude = i32x4.shl(v128.and(h, i32x4.splat(0x7fff | opaque)), 13);
    const isSpecial = i32x4.gt_s(magnitude, i32x4.splat(0x0f7fffff | opaque));
    const normal = i32x4.add(i32x4.add(magnitude, rebias), v128.and(isSpecial, rebias));
    const subnormal = f32x4.sub(
      i32x4.add(magnitude, i32x4.splat((113 << 23) | opaque)),
      i32x4.splat((113 << 23) | opaque),
    );
    const isSubnormal = i32x4.lt_s(magnitude, i32x4.splat((1 << 23) | opaque));
    const sign = i32x4.shl(v128.and(h, i32x4.splat(0x8000 | opaque)), 16);
    return v128.or(v128.bitselect(subnormal, normal, isSubnormal), sign);
  }

  /** Eight bfloat16 or half values from two vectors of float32. Overflow becomes Inf, NaN stays NaN. */
  @inline static narrow<T>(a: v128, b: v128, opaque: i32): v128 {
    if (idof<T>() == idof<BF16>())
      return Simd.high16(Half.roundToBf16(a, opaque), Half.roundToBf16(b, opaque));
    return i16x8.narrow_i32x4_u(Half.toF16(a, opaque), Half.toF16(b, opaque));
  }

  /** One bfloat16 or half pattern as float32. */
  @inline static value<T>(bits: u32): f32 {
    if (idof<T>() == idof<BF16>()) return reinterpret<f32>(bits << 16);
    return f32x4.extract_lane(Half.fromF16(i32x4.splat(bits), 0), 0);
  }

  /** The bfloat16 pattern of one float32, rounded to nearest even; NaN stays NaN. */
  @inline static bf16(x: f32): i32 {
    const bits = reinterpret<i32>(x);
    if (x != x) return (bits >>> 16) | 0x40;
    return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
  }

  /** float32 whose upper half is the nearest bfloat16, ties to even. */
  @inline static roundToBf16(x: v128, opaque: i32): v128 {
    const isNan = i32x4.gt_s(v128.and(x, i32x4.splat(0x7fffffff | opaque)), i32x4.splat(0x7f800000 | opaque));
    const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1 | opaque));
    const bias = i32x4.add(odd, i32x4.splat(0x7fff | opaque));
    // A NaN gets its quiet bit instead of a rounding bias that could carry out of its payload.
    return i32x4.add(v128.or(x, v128.and(isNan, i32x4.splat(0x400000 | opaque))), v128.andnot(bias, isNan));
  }

  /**
   * Half patterns in 32-bit lanes from float32, by the addition that Fp8 explains: M = 2^13 * max(2^e,
   * 2^-14). Magnitudes are cut to 65536, whose pattern is Inf; those from 65520 on round up to it.
   */
  @inline static toF16(x: v128, opaque: i32): v128 {
    const bits = v128.and(x, i32x4.splat(0x7fffffff | opaque));
    const isNan = i32x4.gt_s(bits, i32x4.splat(0x7f800000 | opaque));
    const magnitude = i32x4.min_s(bits, i32x4.splat(((127 + 16) << 23) | opaque));
    const power = i32x4.max_s(
      v128.and(magnitude, i32x4.splat(0x7f800000 | opaque)),
      i32x4.splat(((127 - 14) << 23) | opaque),
    );
    const sum = f32x4.add(magnitude, i32x4.add(power, i32x4.splat((13 << 23) | opaque)));
    // Exponent field << 10 plus the low mantissa bits, less the field of the smallest normal.
    const merged = i32x4.dot_i16x8_s(sum, i32x4.splat(0x80001 | opaque));
    const code = i32x4.sub(merged, i32x4.splat(((127 - 14 + 13) << 10) | opaque));
    const sign = v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000 | opaque));
    return v128.or(v128.or(code, sign), v128.and(isNan, i32x4.splat(0x200 | opaque)));
  }
}
