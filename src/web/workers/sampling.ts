import { type DialectName, dialects } from "../../checkpoint/dialects/index.ts";
import { type BlockPlace, type BlockValues, joinBlock, meetsBlock } from "../../checkpoint/measure/block.ts";
import { joinSamples, type Sample, type StripUnderScheme } from "../../checkpoint/measure/sample.ts";
import { type Strip, stripsOf } from "../../checkpoint/plan/strip.ts";
import { matrixOf, type PlainWeight, type ScaledWeight } from "../../checkpoint/read/weights.ts";
import { tensorFactorOf } from "../../checkpoint/run/prepare.ts";
import { type Scheme, schemes } from "../../tensor/schemes.ts";
import type { CurrentCheckpoint, CurrentWeights } from "./opened.ts";
import type { StripPool } from "./pool.ts";

/** Most elements of a sample, and most elements of a tensor that is read as a whole. */
const SAMPLED = 1 << 21;
const WHOLE = 1 << 25;

/** How the strips of a sample are stored: the parts of StripUnderScheme that are the same for all. */
export type SampleStorage = Pick<StripUnderScheme, "scheme" | "tensorScale">;

/**
 * How a dialect stores a weight. The float32 of NVFP4 follows from all values of a weight and of those that
 * it is fused with; where files are on a server, each strip gets one of its own, since so much is not fetched
 * for a sample.
 * @param name `null` for a weight as it is
 */
export async function storageOf(
  name: DialectName | null,
  weight: PlainWeight | ScaledWeight,
  { fused }: CurrentWeights,
  { isLocal, opened }: CurrentCheckpoint,
  pool: StripPool,
): Promise<SampleStorage> {
  if (name === null) return { scheme: null };
  const { scheme, scales, tensorScale: meant } = dialects[name].storage;
  if (meant === undefined || !isLocal) return { scheme };
  const tensorScale = { divides: meant.divides, fusedWith: fused.get(weight.name) ?? [weight] };
  const into = { kind: "scaled", scheme, scaleDtype: scales.dtype, tensorScale } as const;
  const given = await tensorFactorOf({ from: weight, into }, opened.sources, pool.convert);
  return { scheme, ...(given && { tensorScale: given }) };
}

/**
 * Looks at a weight under a scheme: at all of it, or at strips spread evenly over it where that is too much.
 */
export async function sampleWeight(
  weight: PlainWeight | ScaledWeight,
  storage: SampleStorage,
  whole: boolean,
  pool: StripPool,
): Promise<Sample> {
  const { scheme } = storage;
  const strips = thinOut(stripsUnder(weight, scheme), matrixOf(weight.shape).cols, whole ? WHOLE : SAMPLED);
  const samples = await Promise.all(strips.map((strip) => pool.sample({ weight, strip, ...storage })));
  return joinSamples(weight, scheme, blockOf(weight, scheme), samples);
}

/** One block of a weight under a scheme, or as it is stored; `null` where it has no blocks. */
export async function blockOfWeight(
  weight: PlainWeight | ScaledWeight,
  storage: SampleStorage,
  place: BlockPlace,
  pool: StripPool,
): Promise<BlockValues | null> {
  const { scheme } = storage;
  const block = blockOf(weight, scheme);
  if (block === null) return null;
  const strips = stripsUnder(weight, scheme).filter((one) => meetsBlock(one, weight.shape, block, place));
  const parts = await Promise.all(strips.map((strip) => pool.block({ weight, strip, ...storage }, place)));
  const [first, ...others] = parts;
  return first === undefined ? null : joinBlock([first, ...others]);
}

function stripsUnder(weight: PlainWeight | ScaledWeight, scheme: Scheme | null): Strip[] {
  const into = { kind: "scaled", scheme: scheme ?? schemes.deepseekWeight, scaleDtype: "F32" } as const;
  return [...stripsOf({ from: weight, into })];
}

function blockOf(
  weight: PlainWeight | ScaledWeight,
  scheme: Scheme | null,
): readonly [number, number] | null {
  return scheme?.block ?? (weight.kind === "scaled" ? weight.block : null);
}

/** All strips, or some spread evenly over them. */
export function thinOut(strips: readonly Strip[], cols: number, elements: number): Strip[] {
  const each = (strips[0]?.rows ?? 1) * cols;
  const wanted = Math.max(1, Math.floor(elements / each));
  if (strips.length <= wanted) return [...strips];
  return Array.from({ length: wanted }, (_, i) => strips[Math.floor((i * strips.length) / wanted)]!);
}
