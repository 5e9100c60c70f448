import type { Format, ValueType } from "../../src/tensor/tensor.ts";
import {
  BF16,
  type BinaryFormat,
  decode,
  E2M1,
  E2M3,
  E4M3,
  E5M2,
  encodeOverflowing,
  encodeSaturating,
  F16,
} from "./binary.ts";

/** The element formats by the names the engine knows them by. */
export const FORMAT: Readonly<Record<Format, BinaryFormat>> = {
  e4m3: E4M3,
  e5m2: E5M2,
  e2m1: E2M1,
  e2m3: E2M3,
};

/** Two-byte value types. */
export const HALF: Readonly<Record<"bf16" | "f16", BinaryFormat>> = { bf16: BF16, f16: F16 };

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** The float32 with these bits. */
export function f32FromBits(bits: number): number {
  word[0] = bits;
  return float[0] as number;
}

/** The bits of the float32 nearest to a number. */
export function bitsOfF32(x: number): number {
  float[0] = x;
  return word[0] as number;
}

/**
 * FP8 code of a float32, given as bits because a NaN keeps its sign: nearest even, saturating, NaN is 0x7F.
 */
export function encodeBits(format: Format, bits: number): number {
  const x = f32FromBits(bits);
  if (Number.isNaN(x)) return bits >>> 31 ? 0xff : 0x7f;
  return encodeSaturating(FORMAT[format], x);
}

/** FP8 codes of float32 patterns. */
export function encodeAll(format: Format, patterns: Uint32Array): Uint8Array {
  return Uint8Array.from(patterns, (bits) => encodeBits(format, bits));
}

/** The value of an FP8 code. */
export function decodeCode(format: Format, code: number): number {
  return decode(FORMAT[format], code);
}

/** Two-byte values as float32: every one of them is a float32. */
export function widen(type: "bf16" | "f16", bits: Uint16Array): Float32Array {
  return Float32Array.from(bits, (b) => decode(HALF[type], b));
}

/** Float32 values in the type asked for, rounded once; overflow becomes Inf. */
export function narrow(type: ValueType, values: Float32Array): Float32Array | Uint16Array {
  if (type === "f32") return values;
  return Uint16Array.from(values, (x) => encodeOverflowing(HALF[type], x));
}
