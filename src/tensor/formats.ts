/** An FP8 element format (OCP OFP8 v1.0). */
export type Fp8Format = "e4m3" | "e5m2";

/** An element format of less than a byte (OCP MX v1.0): E2M1 of FP4, E2M3 of FP6. */
export type SubByteFormat = "e2m1" | "e2m3";

/** An element format. */
export type Format = Fp8Format | SubByteFormat;

/**
 * Formats as the kernels number them: assembly/index.ts turns an id into a type. 3 and 4 are integers: see
 * src/wasm/matrix.ts.
 */
export const FORMAT_ID = { e4m3: 0, e5m2: 1, e2m1: 2, e2m3: 5 } as const;
export type FormatId = (typeof FORMAT_ID)[keyof typeof FORMAT_ID];

/**
 * The facts of an element format. In the kernels a code of any format is a byte with its sign at bit 7, and
 * the bits of exponent and mantissa at the bottom.
 */
export interface FormatFacts {
  readonly mantissaBits: number;
  /** Exponent of the smallest normal value. */
  readonly emin: number;
  /** Exponent of the largest value. */
  readonly emax: number;
  /** The code of the largest value. Above it are Inf, where the mantissa is 0, and NaN. */
  readonly topCode: number;
  /**
   * Bits of a code as it is stored, its sign on top. Those of less than a byte follow one another, the first
   * lowest.
   */
  readonly codeBits: 4 | 6 | 8;
  /**
   * Whether its codes can meet int8 activations: E4M3 codes are two planes of 7 bits, E2M1 codes one; E2M3
   * codes become E4M3 ones. E5M2 spans too many powers of two.
   */
  readonly hasIntegerProducts: boolean;
}

/**
 * Every element format. E4M3 has no Inf and ends at 448, E5M2 ends at 57344, E2M1 has
 * neither Inf nor NaN: its values are 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives. E2M3 has neither: its
 * values are 0 to 2 in steps of 1/8, to 4 in steps of 1/4, to 7.5 in steps of 1/2, and their negatives. OCP
 * OFP8 v1.0, table 1; OCP MX v1.0, tables 4 and 5.
 */
export const FORMATS: Readonly<Record<Format, FormatFacts>> = {
  e4m3: { mantissaBits: 3, emin: -6, emax: 8, topCode: 0x7e, codeBits: 8, hasIntegerProducts: true },
  e5m2: { mantissaBits: 2, emin: -14, emax: 15, topCode: 0x7b, codeBits: 8, hasIntegerProducts: false },
  e2m1: { mantissaBits: 1, emin: 0, emax: 2, topCode: 7, codeBits: 4, hasIntegerProducts: true },
  e2m3: { mantissaBits: 3, emin: 0, emax: 2, topCode: 0x1f, codeBits: 6, hasIntegerProducts: true },
};

/** The facts of a format, by its number. */
export function factsOf(id: FormatId): FormatFacts {
  const [name] = Object.entries(FORMAT_ID).find(([, number]) => number === id)!;
  return FORMATS[name as Format];
}

/** The code that stands for every element of a block with NaN or Inf. */
export const NAN_CODE = 0x7f;

/** The number that a code stands for, its sign at bit 7. */
export function valueOfCode(format: Format, code: number): number {
  const { mantissaBits, emin, topCode } = FORMATS[format];
  const magnitude = code & 0x7f;
  const exponent = magnitude >> mantissaBits;
  const mantissa = magnitude & ((1 << mantissaBits) - 1);
  const sign = code & 0x80 ? -1 : 1;
  if (magnitude > topCode) return mantissa === 0 ? sign * Infinity : Number.NaN;
  const significand = exponent === 0 ? mantissa : mantissa + (1 << mantissaBits);
  return sign * significand * 2 ** (Math.max(exponent, 1) - 1 + emin - mantissaBits);
}

/** The largest value of a format. */
export function largestOf(format: Format): number {
  return valueOfCode(format, FORMATS[format].topCode);
}

export const VALUE_TYPE_ID = { f32: 0, bf16: 1, f16: 2 } as const;
export type ValueTypeId = (typeof VALUE_TYPE_ID)[keyof typeof VALUE_TYPE_ID];

export const SCALE_TYPE_ID = { ue8m0: 0, f32: 1 } as const;
export type ScaleTypeId = (typeof SCALE_TYPE_ID)[keyof typeof SCALE_TYPE_ID];

/** Scales as kernels take them: UE8M0 bytes, or float32 multipliers. */
export type Scales = Uint8Array | Float32Array;

/** The type of scales as kernels take them: bytes are UE8M0. Scales of NVFP4 become multipliers first. */
export function scaleTypeOf(scales: Scales): keyof typeof SCALE_TYPE_ID {
  return scales.BYTES_PER_ELEMENT === 1 ? "ue8m0" : "f32";
}

/** The value of a UE8M0 byte: a power of two, or NaN. */
export function ue8m0Value(byte: number): number {
  return byte === 0xff ? Number.NaN : 2 ** (byte - 127);
}

/** The multipliers of scales in float32, which holds every power of two of UE8M0. */
export function scaleValues(scales: Scales): Float32Array {
  return scaleTypeOf(scales) === "f32" ? (scales as Float32Array) : valuesOfBytes(scales, ue8m0Value);
}

/**
 * What each byte stands for. A large tensor has millions of them, and `from` is slow: bytes are looked up.
 */
export function valuesOfBytes(
  bytes: ArrayLike<number>,
  meaning: (byte: number) => number,
): Float32Array<ArrayBuffer> {
  const byByte = Float32Array.from({ length: 256 }, (_, byte) => meaning(byte));
  const values = new Float32Array(bytes.length);
  for (let i = 0; i < values.length; i++) values[i] = byByte[bytes[i]!]!;
  return values;
}

export const ROUNDING_ID = { floor: 0, rceil: 1, ceil: 2, even: 3, evenFp4: 4 } as const;
export type RoundingId = (typeof ROUNDING_ID)[keyof typeof ROUNDING_ID];
