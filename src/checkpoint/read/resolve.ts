import { BlockscaleError } from "../../tensor/errors.ts";
import { checkChoice } from "../../tensor/options.ts";
import { type Checkpoint, type Config, type StoredTensor, storedTensors } from "./checkpoint.ts";
import { type ForeignTensor, foreignTensors } from "./foreign.ts";
import { packedFp4 } from "./fp4.ts";
import { type CheckpointContext, fp8Weight } from "./fp8.ts";
import { makers } from "./makers/index.ts";
import { isStray, isStrayName } from "./names.ts";
import { configuredBlocks, metadataLabels, quantizationOf, refuseTransforms } from "./quantization.ts";
import { groupByParent } from "./refusals.ts";
import { type ScaledWeight, storedTensorsOf, valueTypeOf, type Weight } from "./weights.ts";

/** How to read a checkpoint. */
export interface ResolveOptions {
  /** FP8 codes without a scale: "error" (the default) refuses them, "one" takes 1 as their scale. */
  readonly missingScale?: "error" | "one";
}

/** The logical tensors of a checkpoint, and what else is in it. */
export interface Resolved {
  /** Weights, in the order of their data. */
  readonly weights: readonly Weight[];
  /** Quantised data that nothing here reads. */
  readonly foreign: readonly ForeignTensor[];
  /** Tensors that describe a quantisation and are no part of a weight: of no use once it is gone. */
  readonly quantizationExtras: ReadonlySet<string>;
}

/**
 * Takes codes and scales together: the logical weights of a checkpoint. A weight
 * and its scales may be in different shards.
 * @param onProblem told of a weight whose scales are missing or make no sense, which then counts as another
 * tensor; left out, the first such weight is an error
 * @throws BlockscaleError `dialect`: codes without a scale, or scales that fit no block; names the tensor
 */
export function resolve(
  checkpoint: Checkpoint,
  options: ResolveOptions = {},
  onProblem?: (problem: BlockscaleError) => void,
): Resolved {
  if (options.missingScale !== undefined) checkChoice("missingScale", options.missingScale, ["error", "one"]);
  const stored = storedTensors(checkpoint);
  const byName = new Map(stored.map((tensor) => [tensor.name, tensor]));
  const attempt = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch (error) {
      if (onProblem === undefined || !(error instanceof BlockscaleError)) throw error;
      onProblem(error);
      return undefined;
    }
  };
  let byParent: ReturnType<CheckpointContext["byParent"]> | undefined;
  const context: CheckpointContext = {
    byName,
    byParent: () => (byParent ??= groupByParent(stored)),
    config: checkpoint.config,
    configuredBlocks: attempt(() => configuredBlocks(checkpoint.config)) ?? [],
    missingScaleIsOne: options.missingScale === "one",
  };
  const scaled = new Map<string, ScaledWeight>();
  const taken = new Set<string>();
  const take = (tensor: StoredTensor, weight: ScaledWeight | null): void => {
    if (weight === null) return;
    scaled.set(tensor.name, weight);
    for (const { name } of storedTensorsOf(weight).slice(1)) taken.add(name);
  };
  // Packed codes first: scales of NVFP4 are E4M3, and would be taken for codes.
  const quantization = quantizationOf(checkpoint);
  attempt(() => refuseTransforms(quantization));
  for (const tensor of stored) {
    attempt(() => take(tensor, packedBy(tensor, byName, quantization) ?? packedFp4(tensor, byName)));
  }
  for (const tensor of stored) {
    if (scaled.has(tensor.name) || taken.has(tensor.name)) continue;
    attempt(() => take(tensor, fp8Weight(tensor, context)));
  }
  const isQuantised =
    scaled.size > 0 || quantization !== null || isLabelled(checkpoint) || stored.some(isMarker);
  const quantizationExtras = new Set(
    isQuantised ? stored.filter((tensor) => isStray(tensor, byName)).map(({ name }) => name) : [],
  );
  const weights = stored.flatMap((tensor): Weight[] => {
    const { name } = tensor;
    const weight = scaled.get(name);
    if (weight !== undefined) return [weight];
    return taken.has(name) ? [] : [unscaledWeight(tensor)];
  });
  const unread = weights.flatMap((weight) =>
    weight.kind === "scaled" || quantizationExtras.has(weight.name) ? [] : storedTensorsOf(weight),
  );
  return { weights, quantizationExtras, foreign: foreignTensors(unread, quantization, scaled.size > 0) };
}

/** The logical weights alone: see {@link resolve}. */
export function resolveWeights(checkpoint: Checkpoint, options: ResolveOptions = {}): readonly Weight[] {
  return resolve(checkpoint, options).weights;
}

/** A tensor without scales: plain values, or something else. */
function unscaledWeight(tensor: StoredTensor): Weight {
  const { name, shape } = tensor;
  const type = valueTypeOf(tensor.dtype);
  return type === null
    ? { kind: "other", name, tensor }
    : { kind: "plain", name, shape, type, values: tensor };
}

/** Reads codes that one maker packs in its own way. */
function packedBy(
  tensor: StoredTensor,
  byName: ReadonlyMap<string, StoredTensor>,
  quantization: Config | null,
): ScaledWeight | null {
  for (const { packed } of makers) {
    const weight = packed?.(tensor, byName, quantization) ?? null;
    if (weight !== null) return weight;
  }
  return null;
}

/** A tensor of FP8 whose name says that it tells of a quantisation, such as ComfyUI's `scaled_fp8`. */
function isMarker({ name, dtype }: StoredTensor): boolean {
  return dtype.startsWith("F8_") && isStrayName(name);
}

function isLabelled({ shards }: Checkpoint): boolean {
  return shards.some(({ header }) => metadataLabels(header.metadata).size > 0);
}
