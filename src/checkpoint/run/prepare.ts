import type { TensorScale } from "../../engine/nvfp4.ts";
import { isSmall, type Loaded, withLoaded } from "../../io/merged-reads.ts";
import { readRange, type Source } from "../../io/source.ts";
import { quotedTensor } from "../../safetensors/display.ts";
import { largestOf } from "../../tensor/formats.ts";
import type { Preparation, WeightConversion } from "../plan/conversion.ts";
import { keepsCodes } from "../plan/keep-codes.ts";
import { stripsOf } from "../plan/strip.ts";
import { type PlainWeight, type ScaledWeight, storedTensorsOf } from "../read/weights.ts";
import type { Converter } from "./run.ts";

/** The largest E4M3 scale times the largest E2M1 code. */
const LARGEST: number = largestOf("e4m3") * largestOf("e2m1");

/**
 * Largest magnitude of the weights that share a float32 of NVFP4, by the first of them: they are read once
 * for all.
 */
const amaxByFirstWeight = new WeakMap<PlainWeight | ScaledWeight, Promise<number>>();

/**
 * Finds out what the strips of a conversion need to know of the whole weight.
 * @throws BlockscaleError `dialect`, `io`
 */
export async function prepare(
  conversion: WeightConversion,
  sources: readonly Source[],
  convert: Converter,
): Promise<Preparation> {
  const { from } = conversion;
  const loaded = await loadSmall(from, sources);
  const keepCodes = await keepsCodes(conversion, withLoaded(sources, loaded));
  const given = await tensorFactorOf(conversion, sources, convert);
  return { keepCodes, loaded, ...(given && { tensorScale: given.factor }) };
}

/**
 * The float32 of NVFP4 under which a weight is stored; undefined for all else.
 * @throws BlockscaleError `dialect`, `io`
 */
export async function tensorFactorOf(
  { into }: WeightConversion,
  sources: readonly Source[],
  convert: Converter,
): Promise<TensorScale | undefined> {
  const target = into.kind === "scaled" ? into.tensorScale : undefined;
  if (target === undefined) return undefined;
  const { fusedWith, divides } = target;
  const first = fusedWith[0]!;
  const amax = amaxByFirstWeight.get(first) ?? amaxOfWeights(fusedWith, sources, convert);
  amaxByFirstWeight.set(first, amax);
  // What could not be read once may be read the next time.
  amax.catch(() => amaxByFirstWeight.delete(first));
  return { factor: tensorScaleOf(await amax, divides), divides };
}

/**
 * The float32 that gives the largest block the largest scale; a power
 * of two where the quotient is out of range.
 */
function tensorScaleOf(amax: number, divides: boolean): number {
  if (amax === 0) return 1;
  return divides
    ? Math.min(Math.fround(LARGEST / amax), 2 ** 126)
    : Math.max(Math.fround(amax / LARGEST), 2 ** -126);
}

/** The largest finite magnitude of some weights. */
async function amaxOfWeights(
  weights: readonly (PlainWeight | ScaledWeight)[],
  sources: readonly Source[],
  convert: Converter,
): Promise<number> {
  let amax = 0;
  for (const from of weights) {
    const loaded = await loadSmall(from, sources);
    const conversion: WeightConversion = { from, into: { kind: "amax" } };
    for (const strip of stripsOf(conversion)) {
      const { precision } = await convert(conversion, strip, { keepCodes: false, loaded });
      amax = Math.max(amax, precision.amax);
    }
  }
  return amax;
}

/** Reads those tensors of a weight that are small: its scales, and all of a small weight. */
async function loadSmall(weight: PlainWeight | ScaledWeight, sources: readonly Source[]): Promise<Loaded[]> {
  const small = storedTensorsOf(weight).filter(isSmall);
  return Promise.all(
    small.map(async ({ name, shard, start, end }) => {
      const bytes = await readRange(quotedTensor(name), sources[shard]!, start, end);
      return { shard, start, bytes };
    }),
  );
}
