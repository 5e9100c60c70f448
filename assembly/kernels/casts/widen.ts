import { Half } from "../../lanes/half";
import { Simd } from "../../lanes/simd";

/** float32[n] at dst <- bfloat16 or half values[n] at src, exactly. */
export function widen<T>(dst: usize, src: usize, n: usize): void {
  const zero = Simd.opaqueZero();
  const whole = dst + 4 * (n & ~3);
  const end = dst + 4 * n;
  for (; dst < whole; dst += 16, src += 8) v128.store(dst, Half.widen<T>(v128.load_ext<u16>(src), zero));
  for (; dst < end; dst += 4, src += 2) store<f32>(dst, Half.value<T>(load<u16>(src)));
}
