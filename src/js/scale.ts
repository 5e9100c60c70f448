import { ROUNDING_ID, type RoundingId } from "../tensor/formats.ts";
import { type Fp8, INFINITY_BITS } from "./fp8.ts";

export const NAN_SCALE = 0xff;

/** float32 bits of NaN as a scale. */
export const NAN_BITS = 0x7fc00000;

/** What carries into the exponent of amax just when the rounding asks for one power of two more. */
function addendOf(rounding: RoundingId, { mantissaBits, topCode }: Fp8): number {
  switch (rounding) {
    case ROUNDING_ID.floor:
      return 0;
    case ROUNDING_ID.rceil:
      // a mantissa above that of the largest value: 1.75 in FP8, 1.5 in E2M1, 1.875 in E2M3
      return 0x7fffff - ((topCode & ((1 << mantissaBits) - 1)) << (23 - mantissaBits));
    case ROUNDING_ID.ceil:
      return 0x7fffff; // any mantissa but 1
    case ROUNDING_ID.even:
      return 1 << (22 - mantissaBits); // half of the element's last place
    case ROUNDING_ID.evenFp4:
      return 1 << 21; // the same with FP4's one mantissa bit
  }
}

/** The UE8M0 byte of a block with this amax (float32 bits): integer arithmetic, no logarithm. */
export function scaleByte(
  amax: number,
  fp8: Fp8,
  rounding: RoundingId,
  amaxFloor: number,
  zeroScale: number,
): number {
  if (amax >= INFINITY_BITS) return NAN_SCALE;
  if (amax === 0) return zeroScale;
  const exponent = (Math.max(amax, amaxFloor) + addendOf(rounding, fp8)) >>> 23;
  // torchao's EVEN rounds the largest amaxes to Inf.
  if (exponent === 0xff && rounding === ROUNDING_ID.even) return NAN_SCALE;
  return Math.min(Math.max(exponent - fp8.emax, 0), 254);
}

/**
 * float32 bits of the multiplier of a block with this amax (float32 bits): amax / largest
 * value, never subnormal. Rounding the quotient of two float32 first to float64 and then to
 * float32 is the same as rounding it once.
 */
export function multiplierBits(amax: number, fp8: Fp8, amaxFloor: number, zeroScale: number): number {
  if (amax >= INFINITY_BITS) return NAN_BITS;
  const floored = Math.max(amax, amaxFloor);
  if (floored === 0) return powerBits(zeroScale);
  return Math.max(bitsOf(floatOf(floored) / fp8.values[fp8.topCode]!), 1 << 23);
}

/** float32 bits of 2^(byte - 127); 0 is the subnormal 2^-127, 255 is NaN. */
export function powerBits(byte: number): number {
  if (byte === NAN_SCALE) return NAN_BITS;
  return byte === 0 ? 0x00400000 : byte << 23;
}

const pun: Float32Array = /* @__PURE__ */ new Float32Array(1);
const punBits: Int32Array = /* @__PURE__ */ new Int32Array(pun.buffer);

/** float32 bits of a number that is not NaN, rounded to float32. */
export function bitsOf(value: number): number {
  pun[0] = value;
  return punBits[0]!;
}

/** The number with these float32 bits. */
export function floatOf(bits: number): number {
  punBits[0] = bits;
  return pun[0]!;
}
