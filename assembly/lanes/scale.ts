import { Format } from "./format";
import { F32, Half } from "./half";
import { Simd } from "./simd";

/**
 * Scales from the largest magnitude of a block (amax), by integer arithmetic on its float32 bits.
 *
 * Magnitudes compare as integers: below Inf, below NaN. The largest FP8 value is 1.75 * 2^emax, so the
 * exponent of amax / largest, rounded up, is exponent(amax) - emax, and one more if the mantissa is above
 * 1.75. Adding 2^23 - 1 - 0.75 * 2^23 to the bits carries into the exponent in just those cases. No
 * logarithm: ceil(log2(x)) in float32 is one too low for up to 42 values above each power of two.
 */
export abstract class Scale {
  /** Added to amax's bits before the exponent is taken; ids: ROUNDING_ID of src/tensor/formats.ts. */
  @inline static addend<F>(rounding: i32): i32 {
    switch (rounding) {
      case Scale.FLOOR:
        return 0; // OCP MX v1.0, 6.3
      case Scale.RCEIL:
        // Carries if the mantissa is above that of the largest code: DeepGEMM ceil_to_ue8m0(amax / 448),
        // torchao RCEIL.
        return 0x7fffff - Format.topMantissa<F>();
      case Scale.CEIL:
        return 0x7fffff; // carries unless amax is a power of two: torchao CEIL
      case Scale.EVEN:
        return 1 << (22 - Format.mantissa<F>()); // half of the element's last place: torchao EVEN
      default:
        return 1 << 21; // EVEN for the one mantissa bit of FP4: compressed-tensors
    }
  }

  @inline static get FLOOR(): i32 {
    return 0;
  }
  @inline static get RCEIL(): i32 {
    return 1;
  }
  @inline static get CEIL(): i32 {
    return 2;
  }
  @inline static get EVEN(): i32 {
    return 3;
  }

  // ---- amax

  /** Running maximum of magnitudes, in lanes as wide as the value type. */
  @inline static larger<T>(amax: v128, values: v128, magnitudeMask: v128): v128 {
    const m = v128.and(values, magnitudeMask);
    return idof<T>() == idof<F32>() ? i32x4.max_s(amax, m) : i16x8.max_s(amax, m);
  }

  @inline static magnitudeMask<T>(opaque: i32): v128 {
    return idof<T>() == idof<F32>() ? i32x4.splat(0x7fffffff | opaque) : i16x8.splat(<i16>(0x7fff | opaque));
  }

  /** Whether the running maximum has met nothing but zeros. */
  @inline static isZero(amax: v128): bool {
    return !v128.any_true(amax);
  }

  /** Four running maxima of `larger` to the float32 bits of four amaxes. */
  @inline static amaxOfEach<T>(a: v128, b: v128, c: v128, d: v128): v128 {
    if (idof<T>() == idof<F32>()) return Simd.maxOfEach(a, b, c, d);
    const m = Simd.maxOfEach(Scale.halves(a), Scale.halves(b), Scale.halves(c), Scale.halves(d));
    return Half.widen<T>(m, 0);
  }

  @inline static halves(m: v128): v128 {
    return i32x4.max_s(i32x4.extend_low_i16x8_u(m), i32x4.extend_high_i16x8_u(m));
  }

  // ---- scale of four blocks

  /**
   * UE8M0 bytes in 32-bit lanes: exponent(amax + addend) - emax, not below 0. `smallestAmaxes`, `offsets` and
   * `limits` are made below, once for many blocks: the smallest amax keeps the difference from becoming
   * negative, the offset is addend and -emax in one.
   */
  @inline static ue8m0(
    amax: v128,
    smallestAmaxes: v128,
    offsets: v128,
    limits: v128,
    zeroScales: v128,
  ): v128 {
    const byte = i32x4.shr_u(i32x4.add(i32x4.max_s(amax, smallestAmaxes), offsets), 23);
    const isZero = i32x4.eq(amax, i32x4.splat(0));
    const isNan = i32x4.gt_s(amax, limits);
    return v128.or(v128.bitselect(zeroScales, byte, isZero), i32x4.shr_u(isNan, 24));
  }

  /** The smallest amax that a block is scaled for: the scheme's floor, or what byte 0 covers. */
  @inline static smallestAmax<F>(rounding: i32, amaxFloor: i32): i32 {
    return max(amaxFloor, (Format.emax<F>() << 23) - Scale.addend<F>(rounding));
  }

  @inline static offset<F>(rounding: i32): i32 {
    return Scale.addend<F>(rounding) - (Format.emax<F>() << 23);
  }

  /**
   * Above this amax a block is NaN: the largest float32, or for EVEN, as in torchao, what does not round to
   * Inf.
   */
  @inline static limit<F>(rounding: i32): i32 {
    return 0x7f7fffff - (rounding == Scale.EVEN ? Scale.addend<F>(rounding) : 0);
  }

  /**
   * float32 multipliers amax / largest code, never below the smallest normal float32; NaN where amax is not
   * finite.
   */
  @inline static f32<F>(amax: v128, amaxFloor: i32, zeroScale: i32): v128 {
    const floored = i32x4.max_s(amax, i32x4.splat(amaxFloor));
    const ratio = i32x4.max_s(f32x4.div(floored, f32x4.splat(Format.max<F>())), i32x4.splat(1 << 23));
    const isZero = i32x4.eq(floored, i32x4.splat(0));
    const scale = v128.bitselect(f32x4.splat(Scale.power(zeroScale)), ratio, isZero);
    return v128.bitselect(i32x4.splat(0x7fc00000), scale, Scale.notFinite(amax));
  }

  @inline static notFinite(amax: v128): v128 {
    return i32x4.gt_s(amax, i32x4.splat(0x7f7fffff));
  }

  /** The low bytes of four 32-bit lanes, lane 0 lowest. */
  @inline static bytes(scales: v128): u32 {
    const narrow = i16x8.narrow_i32x4_u(scales, scales);
    return i32x4.extract_lane(i8x16.narrow_i16x8_u(narrow, narrow), 0);
  }

  // ---- one scale as a number

  /** 2^(byte - 127) as float32: byte 0 is the subnormal 2^-127, 255 is NaN. */
  @inline static power(byte: i32): f32 {
    if (byte == 0) return reinterpret<f32>(0x00400000);
    return reinterpret<f32>(byte == 0xff ? 0x7fc00000 : byte << 23);
  }

  /**
   * 2^(byte - 127) as float32, as `power` gives it, but 255 becomes Inf: no branch, for loops that have
   * looked for 255 before.
   */
  @inline static finitePower(byte: i32): f32 {
    return reinterpret<f32>(max(byte << 23, 0x00400000));
  }

  /** What `finitePower` gives, for four bytes in 32-bit lanes. */
  @inline static powers(bytes: v128): v128 {
    return i32x4.max_s(i32x4.shl(bytes, 23), i32x4.splat(0x00400000));
  }

  /** The exponent field of a float32 scale; 255 if it is Inf or NaN. */
  @inline static field(scale: f32): i32 {
    return (reinterpret<i32>(scale) >>> 23) & 0xff;
  }

  @inline static isNan(scale: f32): bool {
    return scale != scale;
  }

  /**
   * For a scale byte outside `Fp8.scaleIsNear`: one inside, 96 steps away. Values times `nearFactor`
   * quantised with it give the same codes: the product is exact unless it is below 2^-126, and then its code
   * is 0 either way.
   */
  @inline static nearByte(byte: i32): i32 {
    return byte < 127 ? byte + 96 : byte - 96;
  }

  @inline static nearFactor(byte: i32): f32 {
    return Scale.power(byte < 127 ? 127 + 96 : 127 - 96);
  }
}
