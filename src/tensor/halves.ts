import { checkArray } from "./checks.ts";
import type { HalfValues } from "./tensor.ts";

/**
 * Says that these 16-bit patterns are bfloat16 values.
 * @throws BlockscaleError `buffer`: no Uint16Array
 */
export function bf16(bits: Uint16Array): HalfValues {
  return { type: "bf16", bits: checkArray("bf16: bits", bits, "Uint16Array") };
}

/**
 * Says that these 16-bit patterns are IEEE half-precision values.
 * @throws BlockscaleError `buffer`: no Uint16Array
 */
export function f16(bits: Uint16Array): HalfValues {
  return { type: "f16", bits: checkArray("f16: bits", bits, "Uint16Array") };
}
