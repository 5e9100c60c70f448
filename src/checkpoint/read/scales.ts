import { readRange, type Source } from "../../io/source.ts";
import { tensorNamed } from "../../safetensors/names.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { widen } from "./values.ts";
import type { ScaledWeight } from "./weights.ts";

/** Facts about the scales of one weight, or of many. */
export interface ScaleFacts {
  readonly count: number;
  /** Of the smallest and the largest scale: floor(log2(scale)). */
  readonly minExponent: number;
  readonly maxExponent: number;
  /** Scales with a mantissa: they cannot become UE8M0 without requantising the codes. */
  readonly nonPowersOfTwo: number;
  /** How many scales have each exponent from minExponent to maxExponent. */
  readonly counts: readonly number[];
}

/**
 * Reads scales as stored: UE8M0 bytes as they are, all other types widened to float32.
 * @param first index of the first scale wanted
 * @param count how many
 * @throws BlockscaleError `dialect`: a scale that is negative, zero, infinite or NaN; `io`
 */
export async function readScales(
  weight: ScaledWeight,
  sources: readonly Source[],
  first: number,
  count: number,
): Promise<Uint8Array | Float32Array> {
  const { scales, scaleType } = weight;
  if (scales === null) return new Uint8Array(count).fill(127);
  const where = tensorNamed(scales.name);
  const width = scaleType === "ue8m0" ? 1 : scaleType === "f32" ? 4 : 2;
  const start = scales.start + first * width;
  const bytes = await readRange(where, sources[scales.shard]!, start, start + count * width);
  const values = scaleType === "ue8m0" ? bytes : widen(scaleType, bytes, new Float32Array(count));
  const bad = scaleType === "ue8m0" ? bytes.indexOf(0xff) : values.findIndex((s) => !(s > 0 && s < Infinity));
  if (bad >= 0) {
    throw new BlockscaleError("dialect", {
      where,
      expected: "scales that are positive numbers",
      got: `${scaleType === "ue8m0" ? NaN : values[bad]} at index ${first + bad}`,
      fix: "The checkpoint is damaged, or its scales mean something else: convert it with the tool that made it.",
    });
  }
  return values;
}

/** Number of scales of a weight. */
export function scaleCount({ scales }: ScaledWeight): number {
  return scales === null ? 1 : scales.shape.reduce((n, size) => n * size, 1);
}

const word = new DataView(new ArrayBuffer(4));

/** floor(log2(scale)) of a positive float32, subnormal ones too. */
export function exponentOf(scale: number): number {
  word.setFloat32(0, scale);
  const biased = word.getUint32(0) >>> 23;
  return biased > 0 ? biased - 127 : 31 - Math.clz32(word.getUint32(0)) - 149;
}

/** Whether a positive float32 is a power of two that UE8M0 can hold: 2^-127 to 2^127. */
export function isPowerOfTwo(scale: number): boolean {
  const exponent = exponentOf(scale);
  return exponent >= -127 && scale === 2 ** exponent;
}

/** Exponents and mantissas of scales. */
export function scaleFacts(scales: Uint8Array | Float32Array): ScaleFacts {
  let nonPowersOfTwo = 0;
  const exponents = new Int16Array(scales.length);
  for (let i = 0; i < scales.length; i++) {
    const scale = scales[i]!;
    exponents[i] = scales instanceof Uint8Array ? scale - 127 : exponentOf(scale);
    if (scales instanceof Float32Array && !isPowerOfTwo(scale)) nonPowersOfTwo++;
  }
  return { count: scales.length, ...countExponents(exponents), nonPowersOfTwo };
}

/** How often each exponent occurs, from the smallest to the largest; infinite bounds where there are none. */
export function countExponents(
  exponents: Int16Array,
): Pick<ScaleFacts, "minExponent" | "maxExponent" | "counts"> {
  const all = new Array<number>(LARGEST_EXPONENT - SMALLEST_EXPONENT + 1).fill(0);
  for (const exponent of exponents) all[exponent - SMALLEST_EXPONENT]!++;
  const first = all.findIndex((n) => n > 0);
  if (first < 0) return { minExponent: Infinity, maxExponent: -Infinity, counts: [] };
  let last = all.length - 1;
  while (all[last] === 0) last--;
  return {
    minExponent: first + SMALLEST_EXPONENT,
    maxExponent: last + SMALLEST_EXPONENT,
    counts: all.slice(first, last + 1),
  };
}

/** Of float32, subnormal values included; UE8M0 lies within, its NaN being one beyond. */
const [SMALLEST_EXPONENT, LARGEST_EXPONENT] = [-149, 128];
