import { readRange, type Source } from "../../io/source.ts";
import { quotedTensor } from "../../safetensors/display.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { multipliersOf } from "../../tensor/sub-byte.ts";
import { spreadStoredScales } from "./fused-scales.ts";
import { widen } from "./values.ts";
import { countOf, matrixOf, type ScaledWeight, scaleShape } from "./weights.ts";

/** Facts about the scales of one weight, or of many. */
export interface ScaleFacts {
  readonly count: number;
  /** Exponent of the smallest scale, floor(log2(scale)); `maxExponent` is that of the largest. */
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
 * @throws BlockscaleError `dialect`: a scale that is negative, infinite or NaN; `io`
 */
export async function readScales(
  weight: ScaledWeight,
  sources: readonly Source[],
  first: number,
  count: number,
): Promise<Uint8Array | Float32Array> {
  const { scales, scaleType, storedCols, blocksPerScale } = weight;
  if (scales === null) return new Uint8Array(count).fill(127);
  if (blocksPerScale !== undefined) {
    const { blocksPerScale: _, ...whole } = weight;
    return spreadStoredScales(
      await readScales(whole, sources, 0, blocksPerScale.length),
      blocksPerScale,
      first,
      count,
    );
  }
  const where = quotedTensor(scales.name);
  const width = scaleType === "ue8m0" || scaleType === "e4m3" ? 1 : scaleType === "f32" ? 4 : 2;
  const read = (from: number, n: number): Promise<Uint8Array> => {
    const start = scales.start + from * width;
    return readRange(where, sources[scales.shard]!, start, start + n * width);
  };
  const bytes =
    storedCols === undefined
      ? await read(first, count)
      : await readCropped(weight, read, first, count, width);
  const values =
    scaleType === "ue8m0"
      ? bytes
      : scaleType === "e4m3"
        ? await tensorMultipliers(weight, bytes, first, sources)
        : widen(scaleType, bytes, new Float32Array(count));
  // A scale of 0 is what some tools write for a block of zeros: readers of the codes check that.
  const bad =
    scaleType === "ue8m0" ? bytes.indexOf(0xff) : values.findIndex((s) => !(s >= 0 && s < Infinity));
  if (bad >= 0) {
    throw new BlockscaleError("dialect", {
      where,
      expected: "scales that are finite and not negative",
      got: `${scaleType === "ue8m0" ? NaN : values[bad]} at index ${first + bad}`,
      fix: "The checkpoint is damaged, or its scales mean something else: convert it with the tool that made it.",
    });
  }
  return values;
}

/** Scales of a grid that is stored with more columns than the weight needs, which are left out. */
async function readCropped(
  { shape, block, storedCols = 0 }: ScaledWeight,
  read: (first: number, count: number) => Promise<Uint8Array>,
  first: number,
  count: number,
  width: number,
): Promise<Uint8Array> {
  const cols = scaleShape(shape, block).at(-1)!;
  const top = Math.floor(first / cols);
  const bottom = Math.ceil((first + count) / cols);
  const stored = await read(top * storedCols, (bottom - top) * storedCols);
  const cropped = new Uint8Array((bottom - top) * cols * width);
  for (let row = 0; row < bottom - top; row++) {
    const at = row * storedCols * width;
    cropped.set(stored.subarray(at, at + cols * width), row * cols * width);
  }
  return cropped.subarray((first - top * cols) * width, (first - top * cols + count) * width);
}

/**
 * Scales in E4M3 as multipliers: see {@link multipliersOf}.
 * @param first index of the first scale among those of the weight
 */
async function tensorMultipliers(
  { tensorScale, shape, block }: ScaledWeight,
  bytes: Uint8Array,
  first: number,
  sources: readonly Source[],
): Promise<Float32Array> {
  if (tensorScale === undefined) return multipliersOf(bytes, 1);
  const { place, divides } = tensorScale;
  const stored = await readRange(quotedTensor(place.name), sources[place.shard]!, place.start, place.end);
  const factors = widen("f32", stored, new Float32Array(stored.length / 4));
  const { rows, cols } = matrixOf(scaleShape(shape, block));
  const scalesPerFactor = factors.length === 1 ? Infinity : rows * cols;
  const multipliers = new Float32Array(bytes.length);
  for (let at = 0; at < bytes.length; ) {
    const slice = Math.floor((first + at) / scalesPerFactor);
    const end = Math.min(bytes.length, (slice + 1) * scalesPerFactor - first);
    multipliers.set(multipliersOf(bytes.subarray(at, end), factors[slice]!, divides), at);
    at = end;
  }
  return multipliers;
}

/**
 * Number of scales that `readScales` can give of a weight: without the padding of a grid that is too large,
 * and with one for each block where a stored one stands for several.
 */
export function scaleCount({ scales, shape, block, storedCols, blocksPerScale }: ScaledWeight): number {
  if (scales === null) return 1;
  const isAsStored = storedCols === undefined && blocksPerScale === undefined;
  return countOf(isAsStored ? scales.shape : scaleShape(shape, block));
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
  let n = 0;
  const exponents = new Int16Array(scales.length);
  for (let i = 0; i < scales.length; i++) {
    const scale = scales[i]!;
    if (scale === 0 && scales instanceof Float32Array) continue; // of a block of zeros
    exponents[n++] = scales instanceof Uint8Array ? scale - 127 : exponentOf(scale);
    if (scales instanceof Float32Array && !isPowerOfTwo(scale)) nonPowersOfTwo++;
  }
  return { count: scales.length, ...countExponents(exponents.subarray(0, n)), nonPowersOfTwo };
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

/** Exponents of float32, subnormal values included; those of UE8M0 lie within, its NaN one beyond. */
const [SMALLEST_EXPONENT, LARGEST_EXPONENT] = [-149, 128];
