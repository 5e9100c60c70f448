import { Format } from "./format";

/** Stochastic rounding: up or down at random, so that the mean is the value itself. */
export abstract class Stochastic {
  /**
   * x rounded to a multiple of the spacing that codes of format F times 2^exponent have there: up with the
   * probability (to 2^-32) of how far it is on the way to the next one. |x| over the spacing has 24 bits and
   * a word 32: their sum is exact in float64 unless |x| is below 2^-20 spacings. What is above the largest
   * code becomes that; NaN stays.
   */
  @inline static round<F>(x: f32, exponent: i32, word: u32): f32 {
    const field = ((reinterpret<i32>(x) >> 23) & 0xff) - 127;
    const smallest = exponent + 1 - Format.bias<F>();
    const spacing = Stochastic.power(max(field, smallest) - Format.mantissa<F>());
    const steps = floor<f64>(<f64>abs<f32>(x) / spacing + <f64>word * Stochastic.power(-32));
    const largest = <f64>Format.max<F>() * Stochastic.power(exponent);
    return copysign<f32>(<f32>min(steps * spacing, largest), x);
  }

  /** 2^n, n from -1022 to 1023. */
  @inline static power(n: i32): f64 {
    return reinterpret<f64>((<i64>(n + 1023)) << 52);
  }

  /** The exponent n of the scale 2^n that a UE8M0 byte stands for. */
  @inline static exponent(byte: u32): i32 {
    return <i32>byte - 127;
  }
}
