/** OCP OFP8 E4M3 ("fn"): no Inf, NaN is 0x7F and 0xFF only. */
export class E4M3 {}

/** OCP OFP8 E5M2: IEEE-like, Inf is 0x7C. */
export class E5M2 {}

/**
 * OCP MX E2M1 (FP4), a byte a code here: the sign at bit 7, magnitudes 0 to 7 for 0, 0.5, 1, 1.5, 2, 3, 4, 6;
 * neither Inf nor NaN.
 */
export class E2M1 {}

/**
 * OCP MX E2M3 (FP6), a byte a code here: the sign at bit 7, magnitudes 0 to 31 for 0 to 7.5; neither Inf nor
 * NaN.
 */
export class E2M3 {}

/**
 * Facts of the number formats, known at compile time. For a new format, mantissa, bias and top have to say
 * what they are; the rest follows from them.
 */
export abstract class Format {
  /** Stored mantissa bits. */
  @inline static mantissa<F>(): i32 {
    if (idof<F>() == idof<E2M1>()) return 1;
    return idof<F>() == idof<E5M2>() ? 2 : 3;
  }

  /** Exponent bias: the exponent field of 1.0. */
  @inline static bias<F>(): i32 {
    if (idof<F>() == idof<E2M1>() || idof<F>() == idof<E2M3>()) return 1;
    return idof<F>() == idof<E4M3>() ? 7 : 15;
  }

  /** Exponent of the largest finite value. */
  @inline static emax<F>(): i32 {
    return (Format.top<F>() >> Format.mantissa<F>()) - Format.bias<F>();
  }

  /** Exponent of the smallest value that is not zero, and the unit of all subnormal ones. */
  @inline static subnormalExponent<F>(): i32 {
    return 1 - Format.bias<F>() - Format.mantissa<F>();
  }

  /** Code of the largest finite value; what lies above is NaN, or Inf and NaN. */
  @inline static top<F>(): i32 {
    if (idof<F>() == idof<E2M1>()) return 7;
    if (idof<F>() == idof<E2M3>()) return 0x1f;
    return idof<F>() == idof<E4M3>() ? 0x7e : 0x7b;
  }

  /**
   * The mantissa field of the largest finite value, as a float32 has it: 0x600000 for 1.75 * 2^emax of FP8,
   * 0x400000 for 1.5 * 2^emax of FP4, 0x700000 for 1.875 * 2^emax of FP6.
   */
  @inline static topMantissa<F>(): i32 {
    return (Format.top<F>() & ((1 << Format.mantissa<F>()) - 1)) << (23 - Format.mantissa<F>());
  }

  /** The largest finite value: 448, 57344, 6, 7.5. */
  @inline static max<F>(): f32 {
    return reinterpret<f32>(((Format.emax<F>() + 127) << 23) | Format.topMantissa<F>());
  }
}
