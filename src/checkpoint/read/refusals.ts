import { quotedTensor, shapeNamed } from "../../safetensors/display.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { StoredTensor } from "./checkpoint.ts";
import { scaleGridOf } from "./grids.ts";
import type { Block } from "./makers/index.ts";
import { isStrayName, SCALE_TYPES, scaleNames } from "./names.ts";

/**
 * Readers of each format know one of the names and ignore the others, or refuse the checkpoint: which scales
 * are meant cannot be told, and a guess could silently give a model of other values.
 */
export function refuseSeveralScales(weight: string, found: readonly StoredTensor[]): void {
  if (found.length < 2) return;
  throw new BlockscaleError("dialect", {
    where: quotedTensor(weight),
    expected: "one tensor of scales",
    got: found.map(({ name }) => quotedTensor(name)).join(" and "),
    fix: "Remove what does not belong to the checkpoint: perhaps two formats were mixed in one folder.",
  });
}

/** The error for codes without scales. @param beside a tensor that may be the scale all the same */
export function withoutScales({ name, dtype }: StoredTensor, beside: string | undefined): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: quotedTensor(name),
    expected: `scales for its ${dtype} codes, named ${scaleNames(name).slice(0, 3).join(" or ")}`,
    got: beside === undefined ? "none" : `none, but ${quotedTensor(beside)}, which may be its scale`,
    fix:
      beside === undefined
        ? "Add the shard with the scales, or choose to take missing scales as 1 (--missing-scale one)."
        : "Convert the checkpoint with the tool that made it: what that scale means is not known here.",
  });
}

/**
 * A tensor that may be the scale of a weight, though it has none of the known names: it lies beside the
 * weight or beside its module and has "scale" in its name, or it lies beside the weight and has the shape
 * of scales. Scales of activations and biases are none.
 */
export function possibleScaleName(
  { name: weight, shape }: StoredTensor,
  byParent: ReadonlyMap<string, readonly StoredTensor[]>,
  configured: readonly Block[],
): string | undefined {
  const module = parentOf(weight);
  const isCalledSo = ({ name }: StoredTensor) =>
    /scale/i.test(name.slice(parentOf(name).length)) && !isStrayName(name);
  const isShapedSo = (tensor: StoredTensor) =>
    tensor.name !== weight &&
    SCALE_TYPES[tensor.dtype] !== undefined &&
    !/bias$/.test(tensor.name) &&
    !isStrayName(tensor.name) &&
    scaleGridOf(shape, tensor, configured) !== null;
  const beside = byParent.get(module) ?? [];
  const above = module === "" ? [] : (byParent.get(parentOf(module)) ?? []);
  return (beside.find(isCalledSo) ?? above.find(isCalledSo) ?? beside.find(isShapedSo))?.name;
}

/** Tensors by the name of their parent module. */
export function groupByParent(stored: Iterable<StoredTensor>): ReadonlyMap<string, readonly StoredTensor[]> {
  const found = new Map<string, StoredTensor[]>();
  for (const tensor of stored) {
    const parent = parentOf(tensor.name);
    const beside = found.get(parent);
    if (beside === undefined) found.set(parent, [tensor]);
    else beside.push(tensor);
  }
  return found;
}

/** The name of the parent module of a tensor or a module. */
export function parentOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf(".")));
}

export function fitsNoBlock(
  { name, shape }: StoredTensor,
  scales: StoredTensor,
  [configured]: readonly Block[],
): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: quotedTensor(scales.name),
    expected: `one scale per block of ${quotedTensor(name)} ${shapeNamed(shape)}`,
    got: `${shapeNamed(scales.shape)}, which fits ${
      configured === undefined
        ? "no known block"
        : `neither the configured block [${configured.join(", ")}] nor any known one`
    }`,
    fix: "Set weight_block_size in the quantization_config of config.json to the block used.",
  });
}
