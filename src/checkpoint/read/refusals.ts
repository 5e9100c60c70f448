import { shapeNamed, tensorNamed } from "../../safetensors/names.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { Place } from "./checkpoint.ts";
import type { Block } from "./makers/index.ts";
import { isStrayName, scaleNames } from "./names.ts";

/**
 * Readers of each format know one of the names and ignore the others, or refuse the checkpoint: which scales
 * are meant cannot be told, and a guess could silently give a model of other values.
 */
export function refuseSecond(weight: string, found: readonly Place[]): void {
  if (found.length < 2) return;
  throw new BlockscaleError("dialect", {
    where: tensorNamed(weight),
    expected: "one tensor of scales",
    got: found.map(({ name }) => tensorNamed(name)).join(" and "),
    fix: "Remove what does not belong to the checkpoint: perhaps two formats were mixed in one folder.",
  });
}

/** The error for codes without scales. @param beside a tensor that may be the scale all the same */
export function withoutScales({ name, dtype }: Place, beside: string | undefined): BlockscaleError {
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
 * A tensor beside a weight, or beside its module, whose name has
 * "scale" in it and that is not of activations.
 */
export function possibleScales(weight: string, byName: ReadonlyMap<string, Place>): string | undefined {
  const module = holderOf(weight);
  const parent = holderOf(module);
  return [...byName.keys()].find((name) => {
    const holder = holderOf(name);
    const last = name.slice(holder.length);
    return (holder === module || holder === parent) && /scale/i.test(last) && !isStrayName(name);
  });
}

/** What a tensor or a module lies in, by its name. */
export function holderOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf(".")));
}

export function fitsNoBlock(
  { name, shape }: Place,
  scales: Place,
  [configured]: readonly Block[],
): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: tensorNamed(scales.name),
    expected: `one scale per block of ${tensorNamed(name)} ${shapeNamed(shape)}`,
    got: `${shapeNamed(scales.shape)}, which fits neither ${
      configured === undefined ? "" : `the configured block [${configured.join(", ")}] nor `
    }any known one`,
    fix: "Set weight_block_size in the quantization_config of config.json to the block used.",
  });
}
