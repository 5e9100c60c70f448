import {
  FORMAT_ID,
  FORMATS,
  type Format,
  type FormatFacts,
  type FormatId,
  NAN_CODE,
  valueOfCode,
} from "../tensor/formats.ts";

/** An element format with its tables: FP8, or E2M1 and E2M3 as a byte a code. */
export interface Fp8 extends FormatFacts {
  /** The code for each index that a float32 magnitude can have: see INDEX_SHIFT. */
  readonly codes: Uint8Array;
  /** float32 bits of all 256 codes. NaN is 0x7FFx0000 (0x7FA00000 for the code 0x7D of E5M2), sign kept. */
  readonly bits: Int32Array;
  /** The values of all codes: the memory of `bits` as numbers. */
  readonly values: Float32Array;
}

export const INFINITY_BITS = 0x7f800000;

/**
 * The code of float32 bits `a` without sign: round to nearest even, saturating. Works on the significand
 * as an integer, so that normal and subnormal codes are one rule: below 2^emin more bits are dropped.
 */
function codeOf(a: number, { mantissaBits, emin, topCode }: FormatFacts): number {
  if (a > INFINITY_BITS) return NAN_CODE;
  const exponent = (a >>> 23) - 127;
  const significand = (a & 0x7fffff) | 0x800000;
  // 25 drops everything; float32 subnormals, which have no hidden bit, are far below that.
  const dropped = Math.min(23 - mantissaBits + Math.max(0, emin - exponent), 25);
  const odd = (significand >>> dropped) & 1;
  const kept = (significand + (1 << (dropped - 1)) - 1 + odd) >>> dropped;
  // The hidden bit of `kept` is itself the exponent field 1 of the code.
  return Math.min(kept + (Math.max(0, exponent - emin) << mantissaBits), topCode);
}

/**
 * Which bits of a float32 can change its code: 8 exponent bits, 4 mantissa bits, and one sticky bit that says
 * whether any lower bit is set. A code keeps at most 3 mantissa bits, so the fourth and the sticky bit
 * tell below, at and above a tie apart.
 */
const INDEX_SHIFT = 18;
const LOW_BITS = (1 << INDEX_SHIFT) - 1;

function codeTable(facts: FormatFacts): Uint8Array {
  const table = new Uint8Array(1 << (31 - INDEX_SHIFT));
  for (let i = 0; i < table.length; i++) table[i] = codeOf((i << INDEX_SHIFT) | (i & 1), facts);
  return table;
}

function valueTable(format: Format): Float32Array {
  const { mantissaBits, topCode } = FORMATS[format];
  const values = Float32Array.from({ length: 256 }, (_, code) => valueOfCode(format, code));
  const bits = new Int32Array(values.buffer);
  for (let code = 0; code < 256; code++) {
    const mantissa = code & ((1 << mantissaBits) - 1);
    if ((code & 0x7f) > topCode)
      bits[code] = INFINITY_BITS | (mantissa << (23 - mantissaBits)) | ((code & 0x80) << 24);
  }
  return values;
}

const NAMES = Object.keys(FORMAT_ID) as Format[];

const tables: (Fp8 | undefined)[] = [];

/** A format with its tables, 9 KiB, made when first asked for. */
export function fp8Of(format: FormatId): Fp8 {
  const known = tables[format];
  if (known) return known;
  const name = NAMES.find((name) => FORMAT_ID[name] === format)!;
  const facts = FORMATS[name];
  const values = valueTable(name);
  const fp8 = { ...facts, codes: codeTable(facts), bits: new Int32Array(values.buffer), values };
  tables[format] = fp8;
  return fp8;
}

function encodeOne(x: number, table: Uint8Array, rebase: number): number {
  const a = Math.max((x & 0x7fffffff) - rebase, 0);
  // Bit 18 of the sum is set when any bit below it is.
  return table[(((a & LOW_BITS) + LOW_BITS) | a) >>> INDEX_SHIFT]! | ((x >>> 24) & 0x80);
}

/**
 * codes[to + i] <- the code of float32 bits[from + i] / 2^(rebase >> 23), saturating. The power of two comes
 * straight off the exponent field, which is right while the ends of the field do not matter: Inf and NaN want
 * a rebase of 0; zeros and subnormals one from -95 << 23, where their codes are 0 in any case.
 */
export function encodeSpan(
  codes: Uint8Array,
  to: number,
  bits: Int32Array,
  from: number,
  n: number,
  table: Uint8Array,
  rebase: number,
): void {
  let i = 0;
  // Four elements a turn: the loop's own cost is a quarter of the time otherwise.
  for (; i <= n - 4; i += 4) {
    codes[to + i] = encodeOne(bits[from + i]!, table, rebase);
    codes[to + i + 1] = encodeOne(bits[from + i + 1]!, table, rebase);
    codes[to + i + 2] = encodeOne(bits[from + i + 2]!, table, rebase);
    codes[to + i + 3] = encodeOne(bits[from + i + 3]!, table, rebase);
  }
  for (; i < n; i++) codes[to + i] = encodeOne(bits[from + i]!, table, rebase);
}
