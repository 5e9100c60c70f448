import { Fp8 } from "../../lanes/fp8";
import { Simd } from "../../lanes/simd";
import { Scratch } from "../scratch";

/** codes[n] <- float32[n], unscaled: any value at all, NaN and Inf included. */
export function encode<F>(codes: usize, src: usize, n: usize): void {
  const zero = Simd.opaqueZero();
  const absMask = Fp8.absMask(zero);
  const exponentMask = Fp8.exponentMask(zero);
  const mergeWeights = Fp8.mergeWeights<F>(zero);
  const topCode = Fp8.topCode<F>(zero);
  const signMask = Fp8.signMask(zero);
  const nanMask = Fp8.magnitudeMask(zero);
  const saturation = Fp8.saturation<F>(zero);
  const threshold = i32x4.splat(Fp8.threshold<F>(127) | zero);
  const addend = i32x4.splat(Fp8.powerAddend<F>(Fp8.threshold<F>(127)) | zero);
  const full = codes + (n & ~15);
  if (codes < full)
    do {
      const x0 = v128.load(src);
      const x1 = v128.load(src, 16);
      const x2 = v128.load(src, 32);
      const x3 = v128.load(src, 48);
      const a = Fp8.magnitude(x0, absMask);
      const b = Fp8.magnitude(x1, absMask);
      const c = Fp8.magnitude(x2, absMask);
      const d = Fp8.magnitude(x3, absMask);
      const magnitudes = Fp8.narrow<F>(
        Fp8.round(Fp8.saturate(a, saturation), threshold, addend, exponentMask, mergeWeights),
        Fp8.round(Fp8.saturate(b, saturation), threshold, addend, exponentMask, mergeWeights),
        Fp8.round(Fp8.saturate(c, saturation), threshold, addend, exponentMask, mergeWeights),
        Fp8.round(Fp8.saturate(d, saturation), threshold, addend, exponentMask, mergeWeights),
        topCode,
      );
      const withNan = Fp8.withNan(magnitudes, a, b, c, d, exponentMask, nanMask);
      v128.store(codes, Fp8.withSigns(withNan, x0, x1, x2, x3, signMask));
      codes += 16;
      src += 64;
    } while (codes < full);
  const rest = n & 15;
  if (rest) {
    encode<F>(Scratch.output, Scratch.padInput(src, 4 * rest), 16);
    Scratch.copyOutput(codes, rest);
  }
}
