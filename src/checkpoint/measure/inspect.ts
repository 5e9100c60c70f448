import { mergeReads } from "../../io/merged-reads.ts";
import type { Source } from "../../io/source.ts";
import { quotedTensor } from "../../safetensors/display.ts";
import type { Dtype } from "../../safetensors/dtype.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { checkKnown } from "../../tensor/options.ts";
import { sharedStrips } from "../plan/strip.ts";
import { type Checkpoint, type Config, checkCheckpoint } from "../read/checkpoint.ts";
import { methodWithoutTensors } from "../read/foreign.ts";
import { quantizationConfig, quantizationOf } from "../read/quantization.ts";
import { type ResolveOptions, resolve } from "../read/resolve.ts";
import { readScales, type ScaleFacts, scaleCount, scaleFacts } from "../read/scales.ts";
import { type ScaledWeight, storedTensorsOf, type Weight } from "../read/weights.ts";
import { readScaledRows, scalesOfStrip } from "../run/rows.ts";

/** What inspection tells about one logical tensor. */
export interface InspectedTensor {
  readonly name: string;
  readonly shard: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Scales included. */
  readonly bytes: number;
  /**
   * Element type of the codes, block [rows, cols], name and dtype of the scales, and what was found in them;
   * `null` for plain tensors.
   */
  readonly scaled: {
    readonly element: string;
    readonly block: readonly [number, number];
    readonly scales: string | null;
    readonly scaleDtype: Dtype | null;
    readonly facts: ScaleFacts | null;
  } | null;
}

/** The contents of a checkpoint, from its headers and scales. */
export interface Inspection {
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly tensors: number }[];
  /** A name of a dialect, another format's, `mixed`, or `none` where nothing is quantised. */
  readonly dialect: string;
  readonly metadata: { readonly [key: string]: string };
  readonly tensors: readonly InspectedTensor[];
  /** Oddities, in English sentences: scales that fit nothing, or data of methods that are not read. */
  readonly warnings: readonly string[];
  /** Bytes of tensors by dtype as stored, scales under their own. */
  readonly bytesByDtype: { readonly [dtype: string]: number };
}

/**
 * Looks inside a checkpoint. With sources it also reads the scales, which are small; without,
 * headers are all. Codes without scales, and scales that make no sense, are warnings:
 * whatever has a valid header can be looked at.
 * @throws BlockscaleError `io`; what the signal was aborted with
 */
export async function inspect(
  checkpoint: Checkpoint,
  sources: readonly Source[] | null,
  options: ResolveOptions & { readonly signal?: AbortSignal } = {},
): Promise<Inspection> {
  checkKnown("inspect", options, ["missingScale", "signal"]);
  checkCheckpoint("inspect", checkpoint);
  const warnings: string[] = [];
  const warn = ({ fault }: BlockscaleError): void => {
    warnings.push(`${fault.where}: expected ${fault.expected}, got ${fault.got}`);
  };
  const { weights, foreign } = resolve(checkpoint, options, warn);
  const isQuantised = weights.some(({ kind }) => kind === "scaled");
  const problem = methodWithoutTensors(foreign, quantizationOf(checkpoint), isQuantised);
  if (problem !== null) warn(problem);
  for (const { tensor, method, reader } of foreign) {
    warnings.push(`${quotedTensor(tensor.name)}: ${method}, not read here; ${reader} reads it`);
  }
  const tensors: InspectedTensor[] = [];
  // Scales are read: what stands behind the first place of a weight.
  const scales = weights.flatMap((weight) => storedTensorsOf(weight).slice(1));
  const merged = sources === null ? null : mergeReads(sources, scales);
  for (const weight of weights) {
    options.signal?.throwIfAborted();
    tensors.push(await inspectWeight(weight, checkpoint, merged, warn));
  }
  const methods = new Set(foreign.map(({ method }) => method));
  const bytesByDtype: { [dtype: string]: number } = {};
  for (const { dtype, begin, end } of checkpoint.shards.flatMap(({ header }) => header.tensors)) {
    bytesByDtype[dtype] = (bytesByDtype[dtype] ?? 0) + end - begin;
  }
  return {
    files: checkpoint.shards.map(({ name, size, header }) => ({
      name,
      bytes: size,
      tensors: header.tensors.length,
    })),
    dialect:
      methods.size > 0
        ? `${[...methods].join(", ")} (not read)`
        : recognise(weights, tensors, checkpoint.config),
    metadata: Object.fromEntries(checkpoint.shards.flatMap(({ header }) => [...(header.metadata ?? [])])),
    tensors,
    warnings,
    bytesByDtype,
  };
}

async function inspectWeight(
  weight: Weight,
  { shards }: Checkpoint,
  sources: readonly Source[] | null,
  warn: (problem: BlockscaleError) => void,
): Promise<InspectedTensor> {
  const [tensor] = storedTensorsOf(weight);
  const base = {
    name: weight.name,
    shard: shards[tensor.shard]!.name,
    dtype: tensor.dtype,
    shape: weight.kind === "scaled" ? weight.shape : tensor.shape,
  };
  if (weight.kind !== "scaled") return { ...base, bytes: tensor.end - tensor.start, scaled: null };
  const { element, block, scales } = weight;
  const facts = sources === null || scales === null ? null : await factsOf(weight, sources, warn);
  return {
    ...base,
    bytes: tensor.end - tensor.start + (scales === null ? 0 : scales.end - scales.start),
    scaled: { element, block, scales: scales?.name ?? null, scaleDtype: scales?.dtype ?? null, facts },
  };
}

/** Facts about the scales of a weight; null, and a warning, where they make no sense. */
async function factsOf(
  weight: ScaledWeight,
  sources: readonly Source[],
  warn: (problem: BlockscaleError) => void,
): Promise<ScaleFacts | null> {
  let facts: ScaleFacts | null = null;
  try {
    const scales = await readScales(weight, sources, 0, scaleCount(weight));
    facts = scaleFacts(scales);
    if (scales instanceof Float32Array && scales.includes(0)) await checkZeros(weight, scales, sources);
  } catch (error) {
    if (!(error instanceof BlockscaleError) || error.code !== "dialect") throw error;
    warn(error);
  }
  return facts;
}

/**
 * Reads the codes that scales of 0 serve, and those around them.
 * @throws BlockscaleError `dialect`: some of them are codes other than 0
 */
async function checkZeros(
  weight: ScaledWeight,
  scales: Float32Array,
  sources: readonly Source[],
): Promise<void> {
  for (const strip of sharedStrips(weight, weight)) {
    const { first, count } = scalesOfStrip(weight, strip);
    if (scales.subarray(first, first + count).includes(0)) await readScaledRows(weight, strip, sources);
  }
}

/** The name of how a checkpoint is quantised, from its weights first and its config second. */
function recognise(
  weights: readonly Weight[],
  tensors: readonly InspectedTensor[],
  config: Config | null,
): string {
  const isRounded = tensors.every(({ scaled }) => (scaled?.facts?.nonPowersOfTwo ?? 0) === 0);
  const wasRead = tensors.some(({ scaled }) => scaled?.facts != null);
  const quantization = quantizationConfig(config);
  const names = new Set(
    weights.flatMap((weight) =>
      weight.kind === "scaled"
        ? [recogniseWeight(weight, wasRead ? isRounded : quantization?.scale_fmt === "ue8m0", quantization)]
        : [],
    ),
  );
  const isMixed = quantization?.format === "mixed-precision";
  if (names.size > 0 && isMixed) return "compressed-tensors-mixed";
  // Quark may store some layers in MXFP4 beside it.
  if (names.has("quark-mxfp6")) names.delete("mxfp4");
  return names.size === 0 ? "none" : names.size === 1 ? [...names][0]! : "mixed";
}

function recogniseWeight(weight: ScaledWeight, isRounded: boolean, quantization: Config | null): string {
  const { element, block, scales, scaleType } = weight;
  const isTiled = block[0] === 128 && block[1] === 128;
  if (scaleType === "e4m3") return "nvfp4";
  if (element === "e2m3") return "quark-mxfp6";
  if (element === "int4") return "int4 (compressed-tensors)";
  if (element === "e2m1") return scales?.name.endsWith(".scale") ? "deepseek-v4" : "mxfp4";
  if (scales === null) return "no scales";
  if (quantization?.quant_method === "modelopt") return "modelopt";
  if (scales.name.endsWith(".scale")) return "deepseek-v4";
  if (scales.name.endsWith("_scale_inv")) {
    if (scaleType === "ue8m0") return block[0] === 1 && block[1] === 32 ? "mxfp8" : "ue8m0 blocks";
    if (isTiled && scaleType === "f32") return isRounded ? "deepseek-v3.1" : "deepseek-v3";
    if (isTiled) return `qwen3 (${scales.dtype} scales)`;
  }
  if (scales.name.endsWith("_scale") && scaleType === "ue8m0") return "compressed-tensors";
  if (scales.shape.every((size) => size === 1)) return "fp8 per tensor";
  return block[0] === 1 ? "fp8 per channel" : "fp8 blocks";
}
