import { Functions } from "./functions";

/** The activation functions of an MLP; ids: ACTIVATION_ID of src/model/kernels.ts. */
export abstract class ActivationFunction {
  /** x / (1 + e^-x) */
  @inline static silu(x: v128): v128 {
    return f32x4.mul(x, Functions.sigmoid(x));
  }

  /** x times the normal distribution's share below x, by the error function. */
  @inline static gelu(x: v128): v128 {
    const half = f32x4.mul(x, f32x4.splat(0.5));
    return f32x4.add(half, f32x4.mul(half, Functions.erf(f32x4.mul(x, f32x4.splat(Mathf.SQRT1_2)))));
  }

  /** `gelu` by the approximation 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). */
  @inline static geluTanh(x: v128): v128 {
    const cube = f32x4.mul(f32x4.mul(x, x), f32x4.mul(x, f32x4.splat(0.044715)));
    const inner = f32x4.mul(f32x4.add(x, cube), f32x4.splat(0.7978845608028654));
    const half = f32x4.mul(x, f32x4.splat(0.5));
    return f32x4.add(half, f32x4.mul(half, Functions.tanh(inner)));
  }

  @inline static of(kind: i32, x: v128): v128 {
    if (kind == 0) return ActivationFunction.silu(x);
    return kind == 1 ? ActivationFunction.gelu(x) : ActivationFunction.geluTanh(x);
  }

  /** Four gates and ups that lie in turn, of gpt-oss: see `activatePairs`. */
  @inline static pairs(a: v128, b: v128, limit: f32): v128 {
    const gate = Functions.clamp(Functions.evens(a, b), -Infinity, limit);
    const up = Functions.clamp(Functions.odds(a, b), -limit, limit);
    const glu = f32x4.mul(gate, Functions.sigmoid(f32x4.mul(gate, f32x4.splat(1.702))));
    return f32x4.mul(f32x4.add(up, f32x4.splat(1)), glu);
  }
}
