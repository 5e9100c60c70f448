/**
 * Small binary floating-point formats by definition: a code is a number, a number becomes the nearest code.
 * All arithmetic is float64, in which every value, midpoint and product that occurs here is exact.
 */

/** A sign bit, an exponent field and a mantissa field, as the format's document lays them out. */
interface Layout {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  readonly bias: number;
  /** The code of the largest finite value. Larger codes are Inf (if there is one) and NaN. */
  readonly largest: number;
  readonly infinity: number | undefined;
}

/** A layout with the two tables that define everything else. */
export interface BinaryFormat extends Layout {
  /** The value of every code, negative ones too. */
  readonly values: Float64Array;
  /**
   * Entry `c` lies halfway between the values of codes `c` and `c +
   * 1`; the last one is where overflow begins.
   */
  readonly midpoints: Float64Array;
}

/** 2^exponent, by doubling and halving: exact from -1074 to 1023. */
export function pow2(exponent: number): number {
  return POWERS[exponent + 1074] as number;
}

const POWERS = new Float64Array(1074 + 1024);
for (let e = 0, up = 1; e <= 1023; e++, up *= 2) POWERS[e + 1074] = up;
for (let e = 0, down = 1; e >= -1074; e--, down /= 2) POWERS[e + 1074] = down;

/**
 * The largest power of two not above x > 0, as an exponent.
 * Comparisons decide; the logarithm is only a guess.
 */
export function floorLog2(x: number): number {
  let e = Math.floor(Math.log2(x));
  while (pow2(e) > x) e--;
  while (pow2(e + 1) <= x) e++;
  return e;
}

/** The value a code without its sign bit would have if no code were set aside for Inf and NaN. */
function magnitude({ mantissaBits, bias }: Layout, code: number): number {
  const exponent = code >> mantissaBits;
  const fraction = (code & ((1 << mantissaBits) - 1)) / (1 << mantissaBits);
  return exponent === 0 ? fraction * pow2(1 - bias) : (1 + fraction) * pow2(exponent - bias);
}

/** The sign bit of the format. */
export function signBit({ exponentBits, mantissaBits }: Layout): number {
  return 1 << (exponentBits + mantissaBits);
}

function numberOf(layout: Layout, code: number): number {
  const sign = code & signBit(layout) ? -1 : 1;
  const rest = code & (signBit(layout) - 1);
  if (rest <= layout.largest) return sign * magnitude(layout, rest);
  return rest === layout.infinity ? sign * Number.POSITIVE_INFINITY : Number.NaN;
}

function binaryFormat(layout: Layout): BinaryFormat {
  const values = Float64Array.from({ length: 2 * signBit(layout) }, (_, code) => numberOf(layout, code));
  const midpoints = Float64Array.from(
    { length: layout.largest + 1 },
    (_, code) => (magnitude(layout, code) + magnitude(layout, code + 1)) / 2,
  );
  return { ...layout, values, midpoints };
}

/** OCP 8-bit floating point (OFP8) v1.0, table 1: no Inf, one NaN per sign. */
export const E4M3: BinaryFormat = binaryFormat({
  exponentBits: 4,
  mantissaBits: 3,
  bias: 7,
  largest: 0x7e,
  infinity: undefined,
});

/** OFP8 v1.0, table 1: like IEEE 754. */
export const E5M2: BinaryFormat = binaryFormat({
  exponentBits: 5,
  mantissaBits: 2,
  bias: 15,
  largest: 0x7b,
  infinity: 0x7c,
});

/** OCP MX v1.0, table 5: every code is a number. */
export const E2M1: BinaryFormat = binaryFormat({
  exponentBits: 2,
  mantissaBits: 1,
  bias: 1,
  largest: 7,
  infinity: undefined,
});

/** OCP MX v1.0, table 4: every code is a number. */
export const E2M3: BinaryFormat = binaryFormat({
  exponentBits: 2,
  mantissaBits: 3,
  bias: 1,
  largest: 0x1f,
  infinity: undefined,
});

/** The upper half of a float32. */
export const BF16: BinaryFormat = binaryFormat({
  exponentBits: 8,
  mantissaBits: 7,
  bias: 127,
  largest: 0x7f7f,
  infinity: 0x7f80,
});

/** IEEE 754 binary16. */
export const F16: BinaryFormat = binaryFormat({
  exponentBits: 5,
  mantissaBits: 10,
  bias: 15,
  largest: 0x7bff,
  infinity: 0x7c00,
});

/** The value of a code. */
export function decode(format: BinaryFormat, code: number): number {
  return format.values[code] as number;
}

/**
 * The code nearest to a magnitude, ties to the even code; `largest + 1` if it overflows.
 * The table of midpoints is searched: the first one not below the magnitude decides.
 */
export function nearestInTable({ midpoints }: BinaryFormat, x: number): number {
  let low = 0;
  let high = midpoints.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((midpoints[middle] as number) < x) low = middle + 1;
    else high = middle;
  }
  const tieGoesUp = midpoints[low] === x && low % 2 === 1;
  return tieGoesUp ? low + 1 : low;
}

/**
 * The same by counting steps of the spacing at the magnitude, for formats with a long table and with Inf:
 * codes from a power of two to the next are equally spaced, as many in each such interval, and those
 * below the smallest normal like those above.
 */
export function nearestBySpacing(format: BinaryFormat, x: number): number {
  const { mantissaBits, bias, largest, midpoints } = format;
  if (x === 0) return 0;
  if (x >= (midpoints[largest] as number)) return largest + 1; // before Inf the largest code is odd: its tie goes up
  const smallest = 1 - bias;
  const exponent = Math.max(floorLog2(x), smallest);
  const steps = x / pow2(exponent - mantissaBits);
  const below = Math.floor(steps);
  const up = steps - below > 0.5 || (steps - below === 0.5 && below % 2 === 1);
  return below + Number(up) + ((exponent - smallest) << mantissaBits);
}

function isNegative(x: number): boolean {
  return x < 0 || Object.is(x, -0);
}

/** Nearest even; beyond the largest finite value, Inf included, the largest finite value. Not for NaN. */
export function encodeSaturating(format: BinaryFormat, x: number): number {
  const code = Math.min(nearestInTable(format, Math.abs(x)), format.largest);
  return isNegative(x) ? code | signBit(format) : code;
}

/** Nearest even with overflow to Inf, as IEEE 754 rounds. NaN is the quiet one without a payload. */
export function encodeOverflowing(format: BinaryFormat, x: number): number {
  const infinity = format.infinity as number;
  if (Number.isNaN(x)) return infinity | (1 << (format.mantissaBits - 1));
  const code = nearestBySpacing(format, Math.abs(x)); // one past the largest is Inf
  return isNegative(x) ? code | signBit(format) : code;
}
