import type { RawValues } from "../tensor/checks.ts";
import { VALUE_TYPE_ID, type ValueTypeId } from "../tensor/formats.ts";
import { INFINITY_BITS } from "./fp8.ts";

/** float32 bits of IEEE half-precision bits. */
function widenF16(h: number): number {
  const sign = (h & 0x8000) << 16;
  const magnitude = (h & 0x7fff) << 13;
  const exponent = h & 0x7c00;
  // The exponent fields differ by 112, and by twice that where all ones mean Inf or NaN.
  if (exponent === 0x7c00) return sign | (magnitude + (224 << 23));
  if (exponent !== 0) return sign | (magnitude + (112 << 23));
  const mantissa = h & 0x3ff;
  if (mantissa === 0) return sign;
  // Subnormal mantissa * 2^-24: its top bit becomes the hidden one.
  const top = 31 - Math.clz32(mantissa);
  return sign | ((top - 24 + 127) << 23) | ((mantissa << (23 - top)) & 0x7fffff);
}

/** float32 bits of the 16-bit pattern `h`. */
export function widen(type: ValueTypeId, h: number): number {
  return type === VALUE_TYPE_ID.bf16 ? h << 16 : widenF16(h);
}

/** wide[i] <- float32 bits of halves[from + i]. */
export function widenSpan(
  type: ValueTypeId,
  wide: Int32Array,
  halves: Uint16Array,
  from: number,
  n: number,
): void {
  if (type === VALUE_TYPE_ID.bf16) {
    for (let i = 0; i < n; i++) wide[i] = halves[from + i]! << 16;
  } else {
    for (let i = 0; i < n; i++) wide[i] = widenF16(halves[from + i]!);
  }
}

/** Values as float32: the array itself, if they are float32 already. */
export function floatsOf({ type, data }: RawValues): Float32Array {
  if (type === "f32") return data as Float32Array;
  const wide = new Float32Array(data.length);
  widenSpan(VALUE_TYPE_ID[type], new Int32Array(wide.buffer), data as Uint16Array, 0, data.length);
  return wide;
}

/** The nearest bfloat16, ties to even; a NaN gets its quiet bit, so that none of its bits carries. */
function narrowBf16(bits: number): number {
  if ((bits & 0x7fffffff) > INFINITY_BITS) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

const HALF_INFINITY = 0x7c00;

/** The nearest half, ties to even, Inf from 65520 on; NaN is 0x7E00 with its sign. */
function narrowF16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const a = bits & 0x7fffffff;
  if (a > INFINITY_BITS) return sign | 0x7e00;
  const exponent = (a >>> 23) - 127;
  const significand = (a & 0x7fffff) | 0x800000;
  const dropped = Math.min(13 + Math.max(0, -14 - exponent), 25);
  const kept = (significand + (1 << (dropped - 1)) - 1 + ((significand >>> dropped) & 1)) >>> dropped;
  return sign | Math.min(kept + (Math.max(0, exponent + 14) << 10), HALF_INFINITY);
}

/** The 16-bit pattern of float32 bits, rounded once. */
export function narrow(type: ValueTypeId, bits: number): number {
  return type === VALUE_TYPE_ID.bf16 ? narrowBf16(bits) : narrowF16(bits);
}
