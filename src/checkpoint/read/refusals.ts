import { shapeNamed, tensorNamed } from "../../safetensors/names.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { StoredTensor } from "./checkpoint.ts";
import { gridOf } from "./grids.ts";
import type { Block } from "./makers/index.ts";
import { isStrayName, SCALE_TYPES, scaleNames } from "./names.ts";

/**
 * Readers of each format know one of the names and ignore the others, or refuse the checkpoint: which scales
 * are meant cannot be told, and a guess could silently give a model of other values.
 */
export function refuseSecond(weight: string, found: readonly StoredTensor[]): void {
  if (found.length < 2) return;
  throw new BlockscaleError("dialect", {
    where: tensorNamed(weight),
    expected: "one tensor of scales",
    got: found.map(({ name }) => tensorNamed(name)).join(" and "),
    fix: "Remove what does not belong to the checkpoint: perhaps two formats were mixed in one folder.",
  });
}

/** The error for codes without scales. @param beside a tensor that may be the scale all the same */
export function withoutScales({ name, dtype }: StoredTensor, beside: string | undefined): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: tensorNamed(name),
    expected: `scales for its ${dtype} codes, named ${scaleNames(name).slice(0, 3).join(" or ")}`,
    got: beside === undefined ? "none" : `none, but ${tensorNamed(beside)}, which may be its scale`,
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
export function possibleScales(
  { name: weight, shape }: StoredTensor,
  holders: ReadonlyMap<string, readonly StoredTensor[]>,
  configured: readonly Block[],
): string | undefined {
  const module = holderOf(weight);
  const isCalledSo = ({ name }: StoredTensor) =>
    /scale/i.test(name.slice(holderOf(name).length)) && !isStrayName(name);
  const isShapedSo = (place: StoredTensor) =>
    place.name !== weight &&
    SCALE_TYPES[place.dtype] !== undefined &&
    !/bias$/.test(place.name) &&
    !isStrayName(place.name) &&
    gridOf(shape, place, configured) !== null;
  const beside = holders.get(module) ?? [];
  const above = module === "" ? [] : (holders.get(holderOf(module)) ?? []);
  return (beside.find(isCalledSo) ?? above.find(isCalledSo) ?? beside.find(isShapedSo))?.name;
}

/** Tensors by what they lie in. */
export function byHolder(places: Iterable<StoredTensor>): ReadonlyMap<string, readonly StoredTensor[]> {
  const found = new Map<string, StoredTensor[]>();
  for (const place of places) {
    const holder = holderOf(place.name);
    const beside = found.get(holder);
    if (beside === undefined) found.set(holder, [place]);
    else beside.push(place);
  }
  return found;
}

/** What a tensor or a module lies in, by its name. */
export function holderOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf(".")));
}

export function fitsNoBlock(
  { name, shape }: StoredTensor,
  scales: StoredTensor,
  [configured]: readonly Block[],
): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: tensorNamed(scales.name),
    expected: `one scale per block of ${tensorNamed(name)} ${shapeNamed(shape)}`,
    got: `${shapeNamed(scales.shape)}, which fits ${
      configured === undefined
        ? "no known block"
        : `neither the configured block [${configured.join(", ")}] nor any known one`
    }`,
    fix: "Set weight_block_size in the quantization_config of config.json to the block used.",
  });
}
