import { Format } from "./format";

/**
 * FP8 codes to and from wider floats. All of it is integer arithmetic but for one addition in `round`, and
 * nothing depends on the data: subnormal codes cost what others cost, and no operand is ever a subnormal
 * float32.
 *
 * **Decoding** goes through bfloat16, which holds every code times every power of two in range exactly. Moved
 * left until its mantissa sits at the top of bfloat16's, a normal code is right but for its exponent, which
 * is too small by K = (scale byte - bias) << 7. So `code << shift` plus an addend from a 16-entry table is
 * the answer:
 *
 *   index -1         code 0          0 (the lookup gives 0 for an index with its top bit set)
 *   index 0..        subnormal m     K + what turns m << shift into the normalised pattern
 *   index ..7        normal          K
 *   index 8..        Inf, NaN        raises the exponent field to all ones, whatever the scale
 *
 * This is exact while every result is a normal bfloat16: `scaleIsNormal`.
 *
 * **Encoding** adds to |x| a power of two M = 2^(23 - mantissa) * max(2^exponent(x), smallest normal value):
 * the sum's last place is exactly the spacing of codes near x, so the one float32 addition rounds to nearest
 * even at the right bit, for normal and subnormal results alike. The sum's exponent field and low mantissa
 * bits then hold the code: code = (field - constant) << mantissa | low bits, merged by one multiply-add of
 * 16-bit halves.
 */
export abstract class Fp8 {
  /** How far left a code moves to have its mantissa at the top of bfloat16's seven bits. */
  @inline static shift<F>(): i32 {
    return 7 - Format.mantissa<F>();
  }

  // ---- decode

  /**
   * Whether every finite code times 2^(byte - 127) is zero or a normal float32: neither subnormal nor above
   * its range.
   */
  @inline static scaleIsNormal<F>(byte: i32): bool {
    // Smallest: 2^(1 - bias - mantissa + byte - 127) >= 2^-126. Largest: 2^(emax + byte - 127) <= 2^127.
    const lowest = Format.bias<F>() + Format.mantissa<F>();
    const highest = 254 - Format.emax<F>();
    return <u32>(byte - lowest) <= <u32>(highest - lowest);
  }

  /**
   * The addend of subnormal code m without K. Its bfloat16 pattern, seen from K, is (e - mantissa) << 7 plus
   * m with its top bit at bit 7.
   */
  @inline static correction<F>(m: i32): i16 {
    const e = 31 - clz(m);
    const subnormal = m < 1 << Format.mantissa<F>();
    return subnormal ? <i16>(((e - Format.mantissa<F>()) << 7) + (m << (7 - e)) - (m << Fp8.shift<F>())) : 0;
  }

  /** Addends of table indices 0..7 for K = 0. */
  @inline static corrections<F>(): v128 {
    return i16x8(
      Fp8.correction<F>(1),
      Fp8.correction<F>(2),
      Fp8.correction<F>(3),
      Fp8.correction<F>(4),
      Fp8.correction<F>(5),
      Fp8.correction<F>(6),
      Fp8.correction<F>(7),
      0,
    );
  }

  /** Addends of table indices 0..7 at scale byte `byte`. */
  @inline static addends<F>(corrections: v128, byte: i32): v128 {
    return i16x8.add(corrections, i16x8.splat(<i16>((byte - Format.bias<F>()) << 7)));
  }

  /** Addends of indices 8..15. The field of Inf and NaN codes, all ones or nearly, is raised to 0xFF. */
  @inline static specials<F>(): v128 {
    const field: i32 = 0x7f >> Format.mantissa<F>();
    return i16x8.splat(<i16>(0x7f80 - (field << 7)));
  }

  /** The constants of `index` and `place`, to be kept in locals before a loop. */
  @inline static magnitudeMask(opaque: i32): v128 {
    return i8x16.splat(<i8>(0x7f | opaque));
  }
  @inline static one(opaque: i32): v128 {
    return i8x16.splat(<i8>(1 | opaque));
  }
  @inline static normalIndex<F>(opaque: i32): v128 {
    const index: i32 = (1 << Format.mantissa<F>()) - 1;
    return i8x16.splat(<i8>(index | opaque));
  }
  @inline static specialOffset<F>(opaque: i32): v128 {
    return i8x16.splat(<i8>((Format.top<F>() - 7) | opaque));
  }
  /** Sign, and the seven magnitude bits at their place in bfloat16. */
  @inline static placeMask<F>(opaque: i32): v128 {
    return i16x8.splat(<i16>(0x8000 | (0x7f << Fp8.shift<F>()) | opaque));
  }

  /** The table index of each code: see the table above. min and max are signed. */
  @inline static index(
    codes: v128,
    magnitudeMask: v128,
    one: v128,
    normalIndex: v128,
    specialOffset: v128,
  ): v128 {
    const m = v128.and(codes, magnitudeMask);
    return i8x16.max_s(i8x16.min_s(i8x16.sub(m, one), normalIndex), i8x16.sub(m, specialOffset));
  }

  /** Eight bfloat16 results from eight codes in the high bytes of 16-bit lanes, and their addends. */
  @inline static place<F>(codes: v128, addends: v128, placeMask: v128): v128 {
    // The arithmetic shift leaves the sign where it is; the mask clears its copies.
    return i16x8.add(v128.and(i16x8.shr_s(codes, 8 - Fp8.shift<F>()), placeMask), addends);
  }

  /** Whether all sixteen codes are 0 or -0. */
  @inline static areZero(codes: v128, magnitudeMask: v128): bool {
    return !v128.any_true(v128.and(codes, magnitudeMask));
  }

  // ---- encode

  @inline static exponentMask(opaque: i32): v128 {
    return i32x4.splat(0x7f800000 | opaque);
  }
  @inline static absMask(opaque: i32): v128 {
    return i32x4.splat(0x7fffffff | opaque);
  }
  @inline static signMask(opaque: i32): v128 {
    return i8x16.splat(<i8>(0x80 | opaque));
  }
  @inline static topCode<F>(opaque: i32): v128 {
    return i8x16.splat(<i8>(Format.top<F>() | opaque));
  }
  /**
   * 16-bit multipliers of `round`: low halves to code position, high halves (exponent field << 7) as they
   * are.
   */
  @inline static mergeWeights<F>(opaque: i32): v128 {
    return i32x4.splat(0x10000 | (1 << Fp8.shift<F>()) | opaque);
  }

  /**
   * Whether `round` stays in float32's range at this scale. Downwards: the exponent field of the threshold
   * has to be 1 or more. Upwards: M's exponent is 23 - mantissa above that of amax, which is below
   * 2^(byte - 127 + emax + 1), and 216 leaves room for every format.
   */
  @inline static scaleIsNear<F>(byte: i32): bool {
    return <u32>(byte - Format.bias<F>()) <= <u32>(216 - Format.bias<F>());
  }

  /** float32 bits of the smallest normal value at scale 2^(byte - 127). */
  @inline static threshold<F>(byte: i32): i32 {
    return (byte + 1 - Format.bias<F>()) << 23;
  }

  /**
   * What turns 2^e into M: the exponent goes up, and the low half takes away the constant of the code's
   * exponent, (field of the threshold + up) << mantissa. The constant is even, so rounding to even is not
   * disturbed. It is taken from 2^16: as a signed 16-bit number the low half is then -constant, and the sum's
   * low bits (up to 2^(mantissa + 1)) never carry.
   */
  @inline static powerAddend<F>(threshold: i32): i32 {
    const up = 23 - Format.mantissa<F>();
    return (up << 23) + 0x10000 - (up << Format.mantissa<F>()) - (threshold >> up);
  }

  /** float32 without their signs. */
  @inline static magnitude(x: v128, absMask: v128): v128 {
    return v128.and(x, absMask);
  }

  /** Codes << shift in 32-bit lanes, not yet saturated, of four magnitudes (float32 without sign). */
  @inline static round(
    magnitude: v128,
    threshold: v128,
    addend: v128,
    exponentMask: v128,
    mergeWeights: v128,
  ): v128 {
    const power = i32x4.add(i32x4.max_s(v128.and(magnitude, exponentMask), threshold), addend);
    return i32x4.dot_i16x8_s(f32x4.add(magnitude, power), mergeWeights);
  }

  /** Sixteen saturated codes without sign from four results of `round`. */
  @inline static narrow<F>(a: v128, b: v128, c: v128, d: v128, topCode: v128): v128 {
    const low = i16x8.shr_u(i16x8.narrow_i32x4_u(a, b), Fp8.shift<F>());
    const high = i16x8.shr_u(i16x8.narrow_i32x4_u(c, d), Fp8.shift<F>());
    return i8x16.min_u(i8x16.narrow_i16x8_u(low, high), topCode);
  }

  /**
   * Codes with the signs of the sixteen float32 they came from: saturating narrowing keeps the sign bit on
   * top.
   */
  @inline static withSigns(codes: v128, a: v128, b: v128, c: v128, d: v128, signMask: v128): v128 {
    const signs = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
    return v128.or(codes, v128.and(signs, signMask));
  }

  /** Codes of sixteen finite float32, at the scale that made `threshold` and `addend`. */
  @inline static encode<F>(
    a: v128,
    b: v128,
    c: v128,
    d: v128,
    threshold: v128,
    addend: v128,
    absMask: v128,
    exponentMask: v128,
    mergeWeights: v128,
    topCode: v128,
    signMask: v128,
  ): v128 {
    const magnitudes = Fp8.narrow<F>(
      Fp8.round(Fp8.magnitude(a, absMask), threshold, addend, exponentMask, mergeWeights),
      Fp8.round(Fp8.magnitude(b, absMask), threshold, addend, exponentMask, mergeWeights),
      Fp8.round(Fp8.magnitude(c, absMask), threshold, addend, exponentMask, mergeWeights),
      Fp8.round(Fp8.magnitude(d, absMask), threshold, addend, exponentMask, mergeWeights),
      topCode,
    );
    return Fp8.withSigns(magnitudes, a, b, c, d, signMask);
  }

  /** Magnitudes above this float32, 2^(emax + 1), all saturate, so they may be replaced by it. */
  @inline static saturation<F>(opaque: i32): v128 {
    return i32x4.splat(((Format.emax<F>() + 128) << 23) | opaque);
  }

  /** Magnitudes cut to `saturation`, NaN included. */
  @inline static saturate(magnitude: v128, saturation: v128): v128 {
    return i32x4.min_s(magnitude, saturation);
  }

  /** Codes with 0x7F where the magnitudes they came from are NaN: those are above Inf's. */
  @inline static withNan(
    codes: v128,
    a: v128,
    b: v128,
    c: v128,
    d: v128,
    infinity: v128,
    magnitudeMask: v128,
  ): v128 {
    const low = i16x8.narrow_i32x4_s(i32x4.gt_s(a, infinity), i32x4.gt_s(b, infinity));
    const high = i16x8.narrow_i32x4_s(i32x4.gt_s(c, infinity), i32x4.gt_s(d, infinity));
    return v128.or(codes, v128.and(i8x16.narrow_i16x8_s(low, high), magnitudeMask));
  }

  // ---- inspection

  /** All ones in the bytes that hold Inf or NaN. */
  @inline static isSpecial(magnitudes: v128, topCode: v128): v128 {
    return i8x16.gt_u(magnitudes, topCode);
  }

  /** The largest subnormal code. */
  @inline static largestSubnormal<F>(): i32 {
    return (1 << Format.mantissa<F>()) - 1;
  }

  /** Whether a code is 1 to the largest subnormal one, sign aside; 0 less one is a large unsigned number. */
  @inline static isSubnormalCode(code: u32, largest: u32): bool {
    return (code & 0x7f) - 1 < largest;
  }

  /** The smallest value that is not zero. */
  @inline static smallest<F>(): f64 {
    return reinterpret<f64>((<u64>(1023 + Format.subnormalExponent<F>())) << 52);
  }

  /**
   * The value of a subnormal code in units of the smallest one. With a sign of 1, ^ -1 and + 1 negate; with 0
   * they change nothing.
   */
  @inline static subnormal(code: i32): i32 {
    const sign = code >> 7;
    return ((code & 0x7f) ^ -sign) + sign;
  }

  /** All ones in the bytes that hold a subnormal code: 1 to the largest; 0 less one is 255. */
  @inline static isSubnormal(magnitudes: v128, one: v128, largest: v128): v128 {
    return i8x16.lt_u(i8x16.sub(magnitudes, one), largest);
  }

  /** The code of NaN, for blocks that are NaN as a whole. */
  @inline static nan(): u8 {
    return 0x7f;
  }
}
