import { byteLength, type Dtype } from "../../safetensors/dtype.ts";
import { serializeHeader, type TensorSpec } from "../../safetensors/header.ts";
import { tensorNamed } from "../../safetensors/names.ts";
import { kindOf } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { Checkpoint, StoredTensor } from "../read/checkpoint.ts";
import { QUANTIZATION_METADATA } from "../read/quantization.ts";
import {
  matrixOf,
  type PlainWeight,
  placesOfWeight,
  plainShape,
  type ScaledWeight,
  type Weight,
} from "../read/weights.ts";
import type { Conversion } from "./conversion.ts";
import { arrangeGroups, type Group } from "./layout.ts";
import { stripsOf } from "./strip.ts";

export type { Conversion, PlainTarget, ScaledTarget } from "./conversion.ts";

/**
 * One entry of an output file, in the order of its bytes. Steps are
 * plain records: they can be cloned to workers.
 */
export type Step =
  | { readonly kind: "copy"; readonly tensors: readonly TensorSpec[]; readonly from: StoredTensor }
  | {
      readonly kind: "convert";
      readonly tensors: readonly TensorSpec[];
      readonly conversion: Conversion;
      /**
       * Codes followed by scales; or one of them alone, where their alignment asks for
       * different places; or the float32 of NVFP4.
       */
      readonly emit: "both" | "codes" | "scales" | "tensorScale";
    };

/** Conversions of a plan, each weight once although parts of it may be written apart. */
export function conversionsOf({ files }: Pick<Plan, "files">): Conversion[] {
  return files.flatMap(({ steps }) =>
    steps.flatMap((step) =>
      step.kind === "convert" && (step.emit === "both" || step.emit === "codes") ? [step.conversion] : [],
    ),
  );
}

/** The places that a file of the output is made from. */
export function rangesOf({ steps }: Pick<FilePlan, "steps">): StoredTensor[] {
  return steps.flatMap((step) => (step.kind === "copy" ? [step.from] : placesOfWeight(step.conversion.from)));
}

/** What becomes of one logical tensor. */
export interface PlannedTensor {
  readonly name: string;
  /** Index of the shard it comes from. */
  readonly shard: number;
  readonly action: "copy" | "quantize" | "dequantize" | "requantize" | "drop";
  /** Whether it was stored as codes and scales. */
  readonly wasScaled: boolean;
  /** The tensor has codes without a scale, which was taken as 1. */
  readonly scaleTakenAsOne?: true;
  /** Why it is copied or dropped; `null` where it is converted. */
  readonly reason: string | null;
  readonly shape: readonly number[];
  /** The name of its format, in a dialect that stores several. */
  readonly format?: string;
  readonly before: StoredAs;
  readonly after: StoredAs;
}

/** How a logical tensor is stored: dtype and bytes of values or codes, scales included in the bytes. */
export interface StoredAs {
  readonly dtype: Dtype | null;
  readonly bytes: number;
}

/** One output file: its first bytes, and what follows them. */
export interface FilePlan {
  readonly name: string;
  /** Length and header, ready to be written. */
  readonly header: Uint8Array;
  /** Size of the whole file in bytes: known before anything is read. */
  readonly size: number;
  /** Made anew at each look, since those of all files would fill much memory: keep them no longer than needed. */
  readonly steps: readonly Step[];
}

/** A planned conversion: every decision and every byte's place, before anything is read. A plain record. */
export interface Plan {
  readonly files: readonly FilePlan[];
  /** Tensors, in the order of the input's data. */
  readonly tensors: readonly PlannedTensor[];
}

/** @throws BlockscaleError `option`: it is no plan */
export function checkPlan(where: string, plan: Plan): void {
  if (Array.isArray(plan?.files) && Array.isArray(plan.tensors)) return;
  throw new BlockscaleError("option", {
    where: `${where}: plan`,
    expected: "a plan: { files, tensors }",
    got: kindOf(plan),
    fix: "Pass what planQuantize or planDequantize gives.",
  });
}

/** Strips that a plan is cut into, counted up to a number: the work that can be shared out. */
export function countStrips(plan: Plan, most: number): number {
  let count = 0;
  for (const conversion of conversionsOf(plan)) {
    for (const _ of stripsOf(conversion)) if (++count >= most) return most;
  }
  return count;
}

/** How weights are converted: one record for all that are stored alike, since a plan may have a hundred thousand. */
export interface Target {
  intoOf(weight: PlainWeight | ScaledWeight): Conversion["into"];
  /** The tensors that a weight becomes: values; or codes and scales, and the float32 of NVFP4. */
  tensorsOf(weight: PlainWeight | ScaledWeight): readonly TensorSpec[];
}

/** What becomes of one logical tensor, and all that is needed to write it. */
export interface Decision {
  readonly planned: PlannedTensor;
  readonly weight: Weight;
  /** `null` where the bytes stay as they are, or go. */
  readonly target: Target | null;
}

/** A tensor that keeps its bytes, with its scales if it has any. */
export function copied(weight: Weight, reason: string): Decision {
  const places = placesOfWeight(weight);
  const wasScaled = weight.kind === "scaled";
  const { name } = weight;
  const { dtype, shape, shard } = places[0];
  const stored = storedAs(dtype, bytesOf(places));
  return {
    planned: { name, shard, action: "copy", wasScaled, reason, shape, before: stored, after: stored },
    weight,
    target: null,
  };
}

/** Why tensors are dropped that describe a quantisation which the output does not have. */
export const STRAY_REASON =
  "describes a quantisation that is gone: scale of activations or of the cache, or a marker";

/** Why a scaled weight keeps its bytes although it belongs to the dialect. */
export const ALREADY_REASON = "stored so already";

/** A tensor that the output has no use for. */
export function dropped(weight: Weight, reason: string): Decision {
  const [{ name, shape, shard, dtype, start, end }] = placesOfWeight(weight);
  const before = { dtype, bytes: end - start };
  const after = { dtype: null, bytes: 0 };
  return {
    planned: { name, shard, action: "drop", wasScaled: false, reason, shape, before, after },
    weight,
    target: null,
  };
}

/**
 * A weight to be converted.
 * @throws BlockscaleError `shape`: one row of blocks is too large for memory
 */
export function converted(weight: PlainWeight | ScaledWeight, target: Target): Decision {
  const into = target.intoOf(weight);
  refuseLargeStrips({ from: weight, into });
  const places = placesOfWeight(weight);
  const tensors = target.tensorsOf(weight);
  const bytes = tensors.reduce((n, { dtype, shape }) => n + byteLength(dtype, shape)!, 0);
  const isScaled = weight.kind === "scaled";
  // One literal: what is put together from two takes more room.
  const planned: PlannedTensor = {
    name: weight.name,
    shard: places[0].shard,
    action: into.kind === "plain" ? "dequantize" : isScaled ? "requantize" : "quantize",
    wasScaled: isScaled,
    reason: null,
    shape: isScaled ? weight.shape : plainShape(weight),
    before: storedAs(places[0].dtype, bytesOf(places)),
    after: storedAs(tensors[0]!.dtype, bytes),
  };
  const takesOne = isScaled && weight.scales === null;
  return { planned: takesOne ? { ...planned, scaleTakenAsOne: true } : planned, weight, target };
}

function bytesOf(places: readonly StoredTensor[]): number {
  return places.reduce((n, { start, end }) => n + end - start, 0);
}

let last: readonly StoredAs[] = [];

/**
 * How a tensor is stored. The last record is used again where it says the
 * same: tensors of one shape follow each other.
 */
function storedAs(dtype: Dtype, bytes: number): StoredAs {
  const found = last.find((stored) => stored.dtype === dtype && stored.bytes === bytes) ?? { dtype, bytes };
  if (!last.includes(found)) last = [found, ...last.slice(0, 7)];
  return found;
}

/** Elements that one strip may have: a few hundred megabytes with all that belongs to it. */
const LARGEST_STRIP = 2 ** 26;

function refuseLargeStrips(conversion: Conversion): void {
  const { name, shape } = conversion.from;
  const [strip] = stripsOf(conversion);
  if (strip === undefined || strip.rows * matrixOf(shape).cols <= LARGEST_STRIP) return;
  throw new BlockscaleError("shape", {
    where: tensorNamed(name),
    expected: `at most ${LARGEST_STRIP} elements in one row of blocks`,
    got: `${strip.rows} rows of ${matrixOf(shape).cols}`,
    fix: "Exclude the tensor, or choose a dialect with blocks of one row (mxfp8).",
  });
}

/**
 * Lays decisions out as files: each tensor goes into the file of the shard it came from.
 * @throws BlockscaleError `format`: two output tensors of one name
 */
export function layOut(checkpoint: Checkpoint, decisions: readonly Decision[]): Plan {
  const byShard: Decision[][] = checkpoint.shards.map(() => []);
  for (const decision of decisions) byShard[decision.planned.shard]!.push(decision);
  const shared = sharedPlaces(decisions);
  const owners = new Map<string, string>();
  const files = checkpoint.shards.map(({ name, header: { metadata } }, shard) => {
    const own = byShard[shard]!;
    const tensors = stepsOf(own, shared).flatMap((step) => step.tensors);
    refuseTwins(name, tensors, owners);
    const { bytes, header } = serializeHeader(`${name} (output)`, tensors, withoutLabels(metadata));
    const size = bytes.length + (header.tensors.at(-1)?.end ?? 0);
    return filePlan({ name, header: bytes, size }, own, shared);
  });
  return { files, tensors: decisions.map(({ planned }) => planned) };
}

/** Adds the steps. A function of its own: a getter keeps alive whatever is in reach of it. */
function filePlan(
  { name, header, size }: Omit<FilePlan, "steps">,
  decisions: readonly Decision[],
  shared: ReadonlyMap<string, Weight>,
): FilePlan {
  return {
    name,
    header,
    size,
    get steps() {
      return stepsOf(decisions, shared);
    },
  };
}

/** Weights that stay as they are may share a scale: by its name, the first of them, which it is written with. */
function sharedPlaces(decisions: readonly Decision[]): ReadonlyMap<string, Weight> {
  const first = new Map<string, Weight>();
  const shared = new Map<string, Weight>();
  for (const { weight, target } of decisions) {
    if (weight.kind !== "scaled" || target !== null) continue;
    for (const { name } of placesOfWeight(weight).slice(1)) {
      const owner = first.get(name);
      if (owner === undefined) first.set(name, weight);
      else shared.set(name, owner);
    }
  }
  return shared;
}

/** The steps of one file, in the order of its bytes. */
function stepsOf(decisions: readonly Decision[], shared: ReadonlyMap<string, Weight>): Step[] {
  const steps = decisions.flatMap(({ planned, weight, target }): Step[] => {
    if (planned.action === "drop") return [];
    if (target !== null && weight.kind !== "other") return conversionSteps(weight, target);
    const own = placesOfWeight(weight).filter(({ name }) => (shared.get(name) ?? weight) === weight);
    return own.map((from) => ({
      kind: "copy",
      tensors: [{ name: from.name, dtype: from.dtype, shape: from.shape }],
      from,
    }));
  });
  return arrangeGroups<Step & Group>(steps);
}

function conversionSteps(from: PlainWeight | ScaledWeight, target: Target): Step[] {
  const conversion: Conversion = { from, into: target.intoOf(from) };
  const tensors = target.tensorsOf(from);
  const [codes, scales] = tensors;
  const last: Step[] =
    tensors.length > 2
      ? [{ kind: "convert", tensors: tensors.slice(2), conversion, emit: "tensorScale" }]
      : [];
  // Codes of an odd number of bytes would leave the float32 scales behind them misaligned: such a weight is
  // converted twice, once for its scales and once for its codes, so that both can be placed freely.
  const isOdd = scales?.dtype === "F32" && byteLength(codes!.dtype, codes!.shape)! % 4 !== 0;
  return isOdd
    ? [
        { kind: "convert", tensors: [scales], conversion, emit: "scales" },
        { kind: "convert", tensors: [codes!], conversion, emit: "codes" },
        ...last,
      ]
    : [{ kind: "convert", tensors: tensors.slice(0, 2), conversion, emit: "both" }, ...last];
}

/** `__metadata__` without what describes the quantisation of the input. */
function withoutLabels<T extends ReadonlyMap<string, string> | null | undefined>(metadata: T): T {
  if (metadata == null || ![...metadata.keys()].some((key) => QUANTIZATION_METADATA.has(key)))
    return metadata;
  return new Map([...metadata].filter(([key]) => !QUANTIZATION_METADATA.has(key))) as unknown as T;
}

/**
 * Refuses a name that would appear in two output files, or twice in one.
 * @param owners files by the names of their tensors, of those looked at before
 */
function refuseTwins(file: string, tensors: readonly TensorSpec[], owners: Map<string, string>): void {
  for (const { name } of tensors) {
    const owner = owners.get(name);
    if (owner !== undefined) {
      throw new BlockscaleError("dialect", {
        where: `${file}: ${tensorNamed(name)}`,
        expected: "a name that is free for scales",
        got: `a tensor of that name in ${owner}`,
        fix: "Choose another dialect, or exclude the weight.",
      });
    }
    owners.set(name, file);
  }
}
