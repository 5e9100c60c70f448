import type { Rounding } from "../../src/tensor/schemes.ts";
import type { Format } from "../../src/tensor/tensor.ts";
import { type BinaryFormat, decode, floorLog2, pow2 } from "./binary.ts";
import { FORMAT } from "./cast.ts";

/** The scale byte that means NaN (OCP MX v1.0, section 5.4.1). */
export const NAN_SCALE = 0xff;

/** The value of an UE8M0 byte (OCP MX v1.0, section 5.4.1): there is no zero, no Inf and no sign. */
export function decodeScale(byte: number): number {
  return byte === NAN_SCALE ? Number.NaN : pow2(byte - 127);
}

/** The smallest power of two not below x > 0, as an exponent. */
export function ceilLog2(x: number): number {
  const e = floorLog2(x);
  return pow2(e) === x ? e : e + 1;
}

/** x > 0 rounded to `bits` bits after the leading one, halves up. */
function roundToPrecision(x: number, bits: number): number {
  const unit = pow2(floorLog2(x) - bits);
  return Math.floor(x / unit + 0.5) * unit;
}

/** The largest finite value of a format. */
export function largestValue(format: BinaryFormat): number {
  return decode(format, format.largest);
}

/** Mantissa bits that the mode EVEN rounds to when it takes the element for an FP4 one (E2M1). */
const FP4_MANTISSA_BITS = 1;

/** The exponent of the block scale for a largest magnitude x > 0, before it is fitted into a byte. */
function scaleExponent(rounding: Rounding, format: BinaryFormat, x: number): number {
  const largest = largestValue(format);
  const emax = floorLog2(largest);
  switch (rounding) {
    case "floor": // OCP MX v1.0, section 6.3
      return floorLog2(x) - emax;
    case "rceil": {
      // The smallest e with x <= largest * 2^e; the mode FLOOR gives it or one less.
      const e = floorLog2(x) - emax;
      return x <= largest * pow2(e) ? e : e + 1;
    }
    case "ceil":
      return ceilLog2(x) - emax;
    case "even":
      return floorLog2(roundToPrecision(x, format.mantissaBits)) - emax;
    case "evenFp4":
      return floorLog2(roundToPrecision(x, FP4_MANTISSA_BITS)) - emax;
  }
}

/**
 * The UE8M0 byte of a block whose largest magnitude is the float32 `amax` > 0.
 * In mode EVEN, an amax that rounds beyond float32 has no scale: NaN, as in torchao.
 */
export function scaleByte(rounding: Rounding, name: Format, amax: number): number {
  const format = FORMAT[name];
  if (rounding === "even" && roundToPrecision(amax, format.mantissaBits) >= pow2(128)) return NAN_SCALE;
  return Math.min(Math.max(scaleExponent(rounding, format, amax) + 127, 0), 254);
}
