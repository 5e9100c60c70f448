import { byteLength, type Dtype } from "../../safetensors/dtype.ts";
import { serializeHeader, type TensorSpec } from "../../safetensors/header.ts";
import { tensorNamed } from "../../safetensors/names.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { Checkpoint, StoredTensor } from "../read/checkpoint.ts";
import { QUANTIZATION_METADATA } from "../read/quantization.ts";
import { matrixOf, placesOfWeight, plainShape, type Weight } from "../read/weights.ts";
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
  readonly steps: readonly Step[];
}

/** A planned conversion: every decision and every byte's place, before anything is read. A plain record. */
export interface Plan {
  readonly files: readonly FilePlan[];
  /** Tensors, in the order of the input's data. */
  readonly tensors: readonly PlannedTensor[];
}

/** Strips that a plan is cut into, counted up to a number: the work that can be shared out. */
export function countStrips(plan: Plan, most: number): number {
  let count = 0;
  for (const conversion of conversionsOf(plan)) {
    for (const _ of stripsOf(conversion)) if (++count >= most) return most;
  }
  return count;
}

/** One logical tensor with the steps that write it; none where it is dropped. */
export interface Decision {
  readonly planned: PlannedTensor;
  readonly steps: readonly Step[];
}

/** A tensor that keeps its bytes, with its scales if it has any. */
export function copied(weight: Weight, reason: string): Decision {
  const places = placesOfWeight(weight);
  const wasScaled = weight.kind === "scaled";
  const { name } = weight;
  const { dtype, shape, shard } = places[0]!;
  const stored = { dtype, bytes: places.reduce((n, { start, end }) => n + end - start, 0) };
  return {
    planned: { name, shard, action: "copy", wasScaled, reason, shape, before: stored, after: stored },
    steps: places.map((from) => ({
      kind: "copy",
      tensors: [{ name: from.name, dtype: from.dtype, shape: from.shape }],
      from,
    })),
  };
}

/** Why tensors are dropped that describe a quantisation which the output does not have. */
export const STRAY_REASON =
  "describes a quantisation that is gone: scale of activations or of the cache, or a marker";

/** Why a scaled weight keeps its bytes although it belongs to the dialect. */
export const ALREADY_REASON = "stored so already";

/** A tensor that the output has no use for. */
export function dropped({ name, shape, shard, dtype, start, end }: StoredTensor, reason: string): Decision {
  const before = { dtype, bytes: end - start };
  const after = { dtype: null, bytes: 0 };
  return {
    planned: { name, shard, action: "drop", wasScaled: false, reason, shape, before, after },
    steps: [],
  };
}

/**
 * A weight to be converted into the tensors given: values; or codes and scales, and the float32 of NVFP4.
 * @throws BlockscaleError `shape`: one row of blocks is too large for memory
 */
export function converted(conversion: Conversion, tensors: readonly TensorSpec[]): Decision {
  const { from, into } = conversion;
  refuseLargeStrips(conversion);
  const places = placesOfWeight(from);
  const bytes = tensors.reduce((n, { dtype, shape }) => n + byteLength(dtype, shape)!, 0);
  const both = tensors.length > 2 ? tensors.slice(0, 2) : tensors;
  const steps: Step[] = [{ kind: "convert", tensors: both, conversion, emit: "both" }];
  if (tensors.length > 2)
    steps.push({ kind: "convert", tensors: tensors.slice(2), conversion, emit: "tensorScale" });
  return {
    planned: {
      name: from.name,
      shard: places[0]!.shard,
      action: into.kind === "plain" ? "dequantize" : from.kind === "plain" ? "quantize" : "requantize",
      wasScaled: from.kind === "scaled",
      ...(from.kind === "scaled" && from.scales === null ? { scaleTakenAsOne: true } : {}),
      reason: null,
      shape: from.kind === "plain" ? plainShape(from) : from.shape,
      before: storedAs(
        places[0]!.dtype,
        places.reduce((n, { start, end }) => n + end - start, 0),
      ),
      after: storedAs(tensors[0]!.dtype, bytes),
    },
    steps,
  };
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
  const byShard: Step[][] = checkpoint.shards.map(() => []);
  // Weights that stay as they are may share a scale.
  const seen = new Set<string>();
  const isFirst = (step: Step) =>
    step.kind !== "copy" || (!seen.has(step.from.name) && seen.add(step.from.name));
  for (const { planned, steps } of decisions)
    byShard[planned.shard]!.push(...steps.filter(isFirst).flatMap(splitOdd));
  const steps = checkpoint.shards.map(({ name }, shard) => ({
    name,
    steps: arrangeGroups<Step & Group>(byShard[shard]!),
  }));
  refuseTwins(steps);
  const files = steps.map(({ name, steps }, shard): FilePlan => {
    const tensors = steps.flatMap((step) => step.tensors);
    const metadata = withoutLabels(checkpoint.shards[shard]!.header.metadata);
    const { bytes, header } = serializeHeader(`${name} (output)`, tensors, metadata);
    return { name, header: bytes, size: bytes.length + (header.tensors.at(-1)?.end ?? 0), steps };
  });
  return { files, tensors: decisions.map(({ planned }) => planned) };
}

/** `__metadata__` without what describes the quantisation of the input. */
function withoutLabels<T extends ReadonlyMap<string, string> | null | undefined>(metadata: T): T {
  if (metadata == null || ![...metadata.keys()].some((key) => QUANTIZATION_METADATA.has(key)))
    return metadata;
  return new Map([...metadata].filter(([key]) => !QUANTIZATION_METADATA.has(key))) as unknown as T;
}

/** Refuses a name that would appear in two output files, or twice in one. */
function refuseTwins(files: readonly Pick<FilePlan, "name" | "steps">[]): void {
  const owners = new Map<string, string>();
  for (const { name: file, steps } of files) {
    for (const { name } of steps.flatMap((step) => step.tensors)) {
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
}

/**
 * Codes of an odd number of bytes would leave the float32 scales behind them misaligned: such a weight is
 * converted twice, once for its scales and once for its codes, so that both can be placed freely.
 */
function splitOdd(step: Step): Step[] {
  if (step.kind !== "convert" || step.tensors.length < 2) return [step];
  const [codes, scales] = step.tensors as [TensorSpec, TensorSpec];
  if (scales.dtype !== "F32" || byteLength(codes.dtype, codes.shape)! % 4 === 0) return [step];
  return [
    { ...step, tensors: [scales], emit: "scales" },
    { ...step, tensors: [codes], emit: "codes" },
  ];
}
