import { quotedTensor } from "../../safetensors/display.ts";
import { byteLength } from "../../safetensors/dtype.ts";
import { serializeHeader, type TensorSpec } from "../../safetensors/header.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { Checkpoint } from "../read/checkpoint.ts";
import { metadataLabels } from "../read/quantization.ts";
import { type PlainWeight, type ScaledWeight, storedTensorsOf, type Weight } from "../read/weights.ts";
import { sortByAlignment, type TensorGroup } from "./alignment.ts";
import type { WeightConversion } from "./conversion.ts";
import type { ConversionRule, Decision } from "./decisions.ts";
import type { FilePlan, Plan, Step } from "./plan.ts";

/**
 * Lays decisions out as files: each tensor goes into the file of the shard it came from.
 * @throws BlockscaleError `dialect`: two output tensors of one name; `format`: a header that is too long
 */
export function layOut(checkpoint: Checkpoint, decisions: readonly Decision[]): Plan {
  const byShard: Decision[][] = checkpoint.shards.map(() => []);
  for (const decision of decisions) byShard[decision.planned.shard]!.push(decision);
  const shared = sharedPlaces(decisions);
  const owners = new Map<string, string>();
  const files = checkpoint.shards.map(({ name, header: { metadata } }, shard) => {
    const own = byShard[shard]!;
    const tensors = stepsOf(own, shared).flatMap((step) => step.tensors);
    refuseDuplicates(name, tensors, owners);
    const { bytes, header } = serializeHeader(`${name} (output)`, tensors, withoutLabels(metadata));
    const size = bytes.length + (header.tensors.at(-1)?.end ?? 0);
    return filePlan({ name, header: bytes, size }, own, shared);
  });
  return { files, tensors: decisions.map(({ planned }) => planned) };
}

/** Adds the steps. A function of its own, since a getter keeps in memory all variables around it. */
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

/**
 * Scales that several weights share which stay as they are. For the name of each: the first of these weights,
 * with which the scale is written.
 */
function sharedPlaces(decisions: readonly Decision[]): ReadonlyMap<string, Weight> {
  const first = new Map<string, Weight>();
  const shared = new Map<string, Weight>();
  for (const { weight, rule } of decisions) {
    if (weight.kind !== "scaled" || rule !== null) continue;
    for (const { name } of storedTensorsOf(weight).slice(1)) {
      const owner = first.get(name);
      if (owner === undefined) first.set(name, weight);
      else shared.set(name, owner);
    }
  }
  return shared;
}

/** The steps of one file, in the order of its bytes. */
function stepsOf(decisions: readonly Decision[], shared: ReadonlyMap<string, Weight>): Step[] {
  const steps = decisions.flatMap(({ planned, weight, rule }): Step[] => {
    if (planned.action === "drop") return [];
    if (rule !== null && weight.kind !== "other") return conversionSteps(weight, rule);
    const own = storedTensorsOf(weight).filter(({ name }) => (shared.get(name) ?? weight) === weight);
    return own.map((from) => ({
      kind: "copy",
      tensors: [{ name: from.name, dtype: from.dtype, shape: from.shape }],
      from,
    }));
  });
  return sortByAlignment<Step & TensorGroup>(steps);
}

function conversionSteps(from: PlainWeight | ScaledWeight, rule: ConversionRule): Step[] {
  const conversion: WeightConversion = { from, into: rule.into(from) };
  const tensors = rule.tensorsOf(from);
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
function withoutLabels(metadata: ReadonlyMap<string, string> | null): ReadonlyMap<string, string> | null {
  const labels = metadataLabels(metadata);
  if (metadata === null || labels.size === 0) return metadata;
  return new Map([...metadata].filter(([key]) => !labels.has(key)));
}

/**
 * Refuses a name that would appear in two output files, or twice in one.
 * @param owners files by the names of their tensors, of those looked at before
 */
function refuseDuplicates(file: string, tensors: readonly TensorSpec[], owners: Map<string, string>): void {
  for (const { name } of tensors) {
    const owner = owners.get(name);
    if (owner !== undefined) {
      throw new BlockscaleError("dialect", {
        where: `${file}: ${quotedTensor(name)}`,
        expected: "a name that is free for scales",
        got: `a tensor of that name in ${owner}`,
        fix: "Choose another dialect, or exclude the weight.",
      });
    }
    owners.set(name, file);
  }
}
