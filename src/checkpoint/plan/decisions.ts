import { quotedTensor } from "../../safetensors/display.ts";
import { byteLength, type Dtype } from "../../safetensors/dtype.ts";
import type { TensorSpec } from "../../safetensors/header.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { StoredTensor } from "../read/checkpoint.ts";
import {
  matrixOf,
  type PlainWeight,
  plainShape,
  type ScaledWeight,
  storedTensorsOf,
  type Weight,
} from "../read/weights.ts";
import type { WeightConversion } from "./conversion.ts";
import type { PlannedTensor, StoredAs } from "./plan.ts";
import { stripsOf } from "./strip.ts";

/**
 * How weights are converted: one record for all that are stored alike, since a plan may have a hundred
 * thousand.
 */
export interface ConversionRule {
  into(weight: PlainWeight | ScaledWeight): WeightConversion["into"];
  /** The tensors that a weight becomes: values; or codes and scales, and the float32 of NVFP4. */
  tensorsOf(weight: PlainWeight | ScaledWeight): readonly TensorSpec[];
}

/** What becomes of one logical tensor, and all that is needed to write it. */
export interface Decision {
  readonly planned: PlannedTensor;
  readonly weight: Weight;
  /** `null` where the bytes stay as they are, or go. */
  readonly rule: ConversionRule | null;
}

/** A tensor that keeps its bytes, with its scales if it has any. */
export function copied(weight: Weight, reason: string): Decision {
  const places = storedTensorsOf(weight);
  const wasScaled = weight.kind === "scaled";
  const { name } = weight;
  const { dtype, shape, shard } = places[0];
  const stored = storedAs(dtype, bytesOf(places));
  return {
    planned: { name, shard, action: "copy", wasScaled, reason, shape, before: stored, after: stored },
    weight,
    rule: null,
  };
}

/** Why tensors are dropped that describe a quantisation which the output does not have. */
export const EXTRA_REASON =
  "describes a quantisation that is gone: scale of activations or of the cache, or a marker";

/** A tensor that the output has no use for. */
export function dropped(weight: Weight, reason: string): Decision {
  const [{ name, shape, shard, dtype, start, end }] = storedTensorsOf(weight);
  const before = { dtype, bytes: end - start };
  const after = { dtype: null, bytes: 0 };
  return {
    planned: { name, shard, action: "drop", wasScaled: false, reason, shape, before, after },
    weight,
    rule: null,
  };
}

/**
 * A weight to be converted.
 * @throws BlockscaleError `shape`: one row of blocks is too large for memory
 */
export function converted(weight: PlainWeight | ScaledWeight, rule: ConversionRule): Decision {
  const into = rule.into(weight);
  refuseLargeStrips({ from: weight, into });
  const places = storedTensorsOf(weight);
  const tensors = rule.tensorsOf(weight);
  const bytes = tensors.reduce((n, { dtype, shape }) => n + byteLength(dtype, shape)!, 0);
  const isScaled = weight.kind === "scaled";
  // One object literal: V8 stores objects made by spreading less compactly, and a plan may have 100,000.
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
  return { planned: takesOne ? { ...planned, scaleTakenAsOne: true } : planned, weight, rule };
}

function bytesOf(places: readonly StoredTensor[]): number {
  return places.reduce((n, { start, end }) => n + end - start, 0);
}

let recent: readonly StoredAs[] = [];

/**
 * How a tensor is stored. One of the last records is used again where it says the same: tensors of one shape
 * follow each other.
 */
function storedAs(dtype: Dtype, bytes: number): StoredAs {
  const found = recent.find((stored) => stored.dtype === dtype && stored.bytes === bytes) ?? { dtype, bytes };
  if (!recent.includes(found)) recent = [found, ...recent.slice(0, 7)];
  return found;
}

/** Elements that one strip may have: a few hundred megabytes with all that belongs to it. */
const LARGEST_STRIP = 2 ** 26;

function refuseLargeStrips(conversion: WeightConversion): void {
  const { name, shape } = conversion.from;
  const [strip] = stripsOf(conversion);
  if (strip === undefined || strip.rows * matrixOf(shape).cols <= LARGEST_STRIP) return;
  throw new BlockscaleError("shape", {
    where: quotedTensor(name),
    expected: `at most ${LARGEST_STRIP} elements in one row of blocks`,
    got: `${strip.rows} rows of ${matrixOf(shape).cols}`,
    fix: "Exclude the tensor, or choose a dialect with blocks of one row (mxfp8).",
  });
}
