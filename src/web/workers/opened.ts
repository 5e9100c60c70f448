import { type InspectedTensor, type Inspection, inspect } from "../../checkpoint/measure/inspect.ts";
import { type OpenedCheckpoint, openCheckpoint } from "../../checkpoint/plan/folder.ts";
import { fusedWeights } from "../../checkpoint/plan/quantize.ts";
import { resolve } from "../../checkpoint/read/resolve.ts";
import type { Weight } from "../../checkpoint/read/weights.ts";
import type { Source } from "../../io/source.ts";
import { openFiles } from "./chosen.ts";
import type { ConversionSpeed } from "./estimate.ts";
import type { CheckpointFacts, NamedSource } from "./protocol.ts";
import { sampleHashOf } from "./sample-hash.ts";

/** The checkpoint that is open. */
export interface CurrentCheckpoint {
  readonly files: readonly NamedSource[];
  /** The files that hold tensors. */
  readonly shards: readonly NamedSource[];
  readonly opened: OpenedCheckpoint;
  readonly tensors: readonly InspectedTensor[];
  readonly sampleHashes: ReadonlyMap<string, string>;
  /** Everything that was opened, by path. */
  readonly sources: ReadonlyMap<string, Source>;
  readonly missingScale: "error" | "one";
  /** Whether all files are on this computer, and none on a server. */
  readonly isLocal: boolean;
  /** Speed of files on a server. It is measured once, since a measurement reads a few megabytes. */
  serverSpeed: ConversionSpeed | null;
  /** `null` until a weight is needed. */
  weights: CurrentWeights | null;
}

/** The weights of the checkpoint, each of them by its name. */
export interface CurrentWeights {
  readonly byName: ReadonlyMap<string, Weight>;
  /** The weights that are fused with one, itself included: see `fusedWeights`. */
  readonly fused: ReturnType<typeof fusedWeights>;
}

/** Opens files and looks inside. @throws BlockscaleError `format`, `io` */
export async function openInside(
  name: string,
  files: readonly NamedSource[],
): Promise<{ readonly open: CurrentCheckpoint; readonly found: CheckpointFacts }> {
  const sources = await openFiles(files);
  const opened = await openCheckpoint(sources);
  const byPath = new Map(files.map((named) => [named.path, named]));
  const shards = opened.checkpoint.shards.map(({ name }) => byPath.get(name)!);
  const { inspection, missingScale } = await lookInside(opened);
  const { tensors, ...facts } = inspection;
  const sampleHashes = new Map<string, string>();
  // Files on servers need no hash: their ETag tells of changes.
  for (const named of shards) {
    if ("file" in named) sampleHashes.set(named.path, await sampleHashOf(named));
  }
  const found = {
    name,
    inspection: facts,
    tensors: tensors.length,
    nameOrders: nameOrdersOf(tensors),
    missingScaleIsOne: missingScale === "one",
    hasConfig: opened.configText !== null,
    shardNumber: shardNumberOf(shards.map(({ path }) => path)),
  };
  const isLocal = files.every((named) => "file" in named);
  const known = { files, shards, sources, opened, tensors, sampleHashes, missingScale, isLocal };
  return { open: { ...known, serverSpeed: null, weights: null }, found };
}

/**
 * Inspects a checkpoint. Where only scales are missing, as in a single shard of many, they are taken as 1.
 */
async function lookInside({
  checkpoint,
}: OpenedCheckpoint): Promise<Pick<CurrentCheckpoint, "missingScale"> & { readonly inspection: Inspection }> {
  const inspection = await inspect(checkpoint, null);
  if (inspection.warnings.length === 0) return { inspection, missingScale: "error" };
  const lenient = await inspect(checkpoint, null, { missingScale: "one" });
  // With missing scales taken as 1, only warnings about them go away.
  return lenient.warnings.length === inspection.warnings.length
    ? { inspection, missingScale: "error" }
    : { inspection: { ...lenient, warnings: inspection.warnings }, missingScale: "one" };
}

/** The weights. One with an error counts as another tensor: the error was shown when it was opened. */
export function weightsOf({ opened, missingScale }: CurrentCheckpoint): CurrentWeights {
  const { weights } = resolve(opened.checkpoint, { missingScale }, () => {});
  return { byName: new Map(weights.map((weight) => [weight.name, weight])), fused: fusedWeights(weights) };
}

/**
 * Places of tensors in the order of their names, in which layer 2 comes before layer 10, and all of layer 01
 * before layer 1.
 */
function nameOrdersOf(tensors: readonly InspectedTensor[]): Uint32Array {
  const keys = tensors.map(({ name }) => name.replace(/\d+/g, (digits) => digits.padStart(8, "0") + digits));
  const orders = new Uint32Array(tensors.length);
  const inOrder = [...keys.keys()].sort((a, b) => (keys[a]! < keys[b]! ? -1 : 1));
  for (const [order, i] of inOrder.entries()) orders[i] = order;
  return orders;
}

/**
 * What the name of a file says of its siblings:
 * model-00001-of-00005.safetensors; `null` where all of them are open.
 */
function shardNumberOf(names: readonly string[]): CheckpointFacts["shardNumber"] {
  const [, index, of] = /-(\d+)-of-(\d+)\.safetensors$/.exec(names[0] ?? "") ?? [];
  if (index === undefined || names.length >= Number(of)) return null;
  return { index: Number(index), of: Number(of) };
}
