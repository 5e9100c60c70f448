import type { Dtype } from "../../safetensors/dtype.ts";
import { shapeNamed, tensorNamed } from "../../safetensors/names.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { NESTED } from "../plan/config.ts";
import { type Checkpoint, type Config, type Place, placesOf } from "./checkpoint.ts";
import {
  type Element,
  matrixOf,
  type ScaledWeight,
  type ScaleType,
  scaleShape,
  valueTypeOf,
  type Weight,
} from "./weights.ts";

/** How to read a checkpoint. */
export interface ResolveOptions {
  /** What to do with FP8 codes that have no scale: refuse them (the default), or take 1 as their scale. */
  readonly missingScale?: "error" | "one";
}

const CODE_ELEMENTS: { readonly [dtype in Dtype]?: Element } = {
  F8_E4M3: "e4m3",
  F8_E5M2: "e5m2",
  F8_E4M3FNUZ: "e4m3fnuz",
  F8_E5M2FNUZ: "e5m2fnuz",
};

const SCALE_TYPES: { readonly [dtype in Dtype]?: ScaleType } = {
  F32: "f32",
  BF16: "bf16",
  F16: "f16",
  F8_E8M0: "ue8m0",
  U8: "ue8m0",
};

/** Blocks tried in this order after the configured one. Where several fit a shape, they mean the same. */
const KNOWN_BLOCKS: readonly (readonly [number, number])[] = [
  [128, 128],
  [1, 32],
  [1, 128],
  [1, 16],
];

/**
 * Takes codes and scales together: the logical weights of a checkpoint, in the order of their data. A weight and its
 * scales may be in different shards.
 * @throws BlockscaleError `dialect`: codes without a scale, or scales that fit no block; names the tensor
 */
export function resolveWeights(checkpoint: Checkpoint, options: ResolveOptions = {}): Weight[] {
  const places = placesOf(checkpoint);
  const byName = new Map(places.map((place) => [place.name, place]));
  const block = configuredBlock(checkpoint.config);
  const scaled = new Map<string, ScaledWeight>();
  const taken = new Set<string>();
  for (const place of places) {
    const weight = scaledWeight(place, byName, block, options);
    if (weight === null) continue;
    scaled.set(place.name, weight);
    if (weight.scales !== null) taken.add(weight.scales.name);
  }
  return places.flatMap((place): Weight[] => {
    const { name, shape } = place;
    const weight = scaled.get(name);
    if (weight !== undefined) return [weight];
    if (taken.has(name)) return [];
    const type = valueTypeOf(place.dtype);
    return type === null
      ? [{ kind: "other", name, tensor: place }]
      : [{ kind: "plain", name, shape, type, values: place }];
  });
}

/** Names of the static scales of activations that belong to scaled weights: of no use once those are converted. */
export function inputScales(weights: readonly Weight[]): Set<string> {
  const names = new Set<string>();
  for (const { kind, name } of weights) {
    if (kind === "scaled")
      for (const end of ["input_scale", "activation_scale"]) names.add(name.replace(/weight$/, end));
  }
  return names;
}

/** The largest side of a block that kernels can count with. */
const LARGEST_SIDE = 2 ** 31 - 1;

/**
 * `weight_block_size` of the quantization_config, wherever it is nested; `null` where there is none.
 * @throws BlockscaleError `dialect`: larger than any tensor
 */
export function configuredBlock(config: Config | null): readonly [number, number] | null {
  const size = quantizationConfig(config)?.weight_block_size;
  const fits =
    Array.isArray(size) && size.length === 2 && size.every((n) => Number.isSafeInteger(n) && n > 0);
  if (!fits) return null;
  if (size.every((n) => n <= LARGEST_SIDE)) return [size[0], size[1]];
  throw new BlockscaleError("dialect", {
    where: "config.json: weight_block_size",
    expected: "[rows, cols] of a block, each at most 2^31 - 1",
    got: shapeNamed(size),
    fix: "Correct config.json: set the block used, such as [128, 128].",
  });
}

/** The quantization_config of a model, at the top or in a nested text_config; `null` where there is none. */
export function quantizationConfig(config: Config | null): Config | null {
  for (const place of [config, ...NESTED.map((key) => config?.[key])]) {
    const found = (place as Config | null | undefined)?.quantization_config;
    if (typeof found === "object" && found !== null) return found as Config;
  }
  return null;
}

function scaledWeight(
  place: Place,
  byName: ReadonlyMap<string, Place>,
  configured: readonly [number, number] | null,
  options: ResolveOptions,
): ScaledWeight | null {
  const packed = packedWeight(place, byName);
  if (packed !== null) return packed;
  const element = CODE_ELEMENTS[place.dtype];
  if (element === undefined) return null;
  const { name, shape } = place;
  const base = { kind: "scaled", name, shape, element, codes: place, transposed: false } as const;
  const candidates = scalesOf(name, byName);
  const fitting = candidates.flatMap((scales) => {
    const block = blockOf(shape, scales, configured);
    return block === null ? [] : [{ scales, scaleType: SCALE_TYPES[scales.dtype]!, block }];
  });
  refuseSecond(name, fitting);
  if (fitting[0] !== undefined) return { ...base, ...fitting[0] };
  if (candidates[0] !== undefined) throw fitsNoBlock(place, candidates[0], configured);
  if (options.missingScale === "one") {
    const { rows, cols } = matrixOf(place.shape);
    return { ...base, scales: null, scaleType: "ue8m0", block: [Math.max(1, rows), Math.max(1, cols)] };
  }
  throw new BlockscaleError("dialect", {
    where: tensorNamed(place.name),
    expected: `scales for its ${place.dtype} codes, named ${scaleNames(place.name).join(" or ")}`,
    got: "none",
    fix: "Add the shard with the scales, or choose to take missing scales as 1 (--missing-scale one).",
  });
}

function scaleNames(weight: string): string[] {
  return [`${weight}_scale_inv`, `${weight.replace(/\.weight$/, "")}.scale`, `${weight}_scale`];
}

/** What may be the scales of a weight, as far as names and types tell. */
function scalesOf(weight: string, byName: ReadonlyMap<string, Place>): Place[] {
  return scaleNames(weight).flatMap((name) => {
    const place = byName.get(name);
    return place !== undefined && SCALE_TYPES[place.dtype] !== undefined ? [place] : [];
  });
}

/**
 * Readers of each format know one of the names and ignore the others, or refuse the checkpoint: which scales are meant
 * cannot be told, and a guess could silently give a model of other values.
 */
function refuseSecond(weight: string, found: readonly { readonly scales: Place }[]): void {
  if (found.length < 2) return;
  throw new BlockscaleError("dialect", {
    where: tensorNamed(weight),
    expected: "one tensor of scales",
    got: found.map(({ scales }) => tensorNamed(scales.name)).join(" and "),
    fix: "Remove what does not belong to the checkpoint: perhaps two formats were mixed in one folder.",
  });
}

/** FP4 codes, two to a byte: gpt-oss `_blocks` and `_scales`, DeepSeek-V4 experts (I8), compressed-tensors `_packed`. */
function packedWeight(place: Place, byName: ReadonlyMap<string, Place>): ScaledWeight | null {
  const { name, dtype, shape } = place;
  const e2m1 = (weight: string, values: number[], scales: Place, transposed = false): ScaledWeight => ({
    kind: "scaled",
    name: weight,
    shape: values,
    element: "e2m1",
    codes: place,
    scales,
    scaleType: "ue8m0",
    block: [1, 32],
    transposed,
  });
  if (dtype === "U8" && name.endsWith("_blocks") && shape.length >= 3 && shape.at(-1) === 16) {
    const weight = name.slice(0, -"_blocks".length);
    const scales = byName.get(`${weight}_scales`);
    const grid = shape.slice(0, -1);
    if (scales?.dtype === "U8" && sameShape(scales.shape, grid)) {
      return e2m1(weight, [...grid.slice(0, -1), grid.at(-1)! * 32], scales, true);
    }
  }
  const isPacked = dtype === "U8" && name.endsWith("_packed");
  if ((dtype === "I8" || isPacked) && shape.length >= 2) {
    const weight = isPacked ? name.slice(0, -"_packed".length) : name;
    const values = [...shape.slice(0, -1), shape.at(-1)! * 2];
    const fitting = scalesOf(weight, byName)
      .filter(({ dtype, shape }) => {
        return SCALE_TYPES[dtype] === "ue8m0" && sameShape(shape, scaleShape(values, [1, 32]));
      })
      .map((scales) => ({ scales }));
    refuseSecond(weight, fitting);
    if (fitting[0] !== undefined) return e2m1(weight, values, fitting[0].scales);
  }
  return null;
}

/** The block that one scale serves, by the shape of the scales; `null` where they fit none. */
function blockOf(
  shape: readonly number[],
  scales: Place,
  configured: readonly [number, number] | null,
): readonly [number, number] | null {
  const { rows, cols } = matrixOf(shape);
  for (const block of configured === null ? KNOWN_BLOCKS : [configured, ...KNOWN_BLOCKS]) {
    if (sameShape(scales.shape, scaleShape(shape, block))) return block;
  }
  const perRow = [[...shape.slice(0, -1), 1], shape.slice(0, -1)];
  if (perRow.some((expected) => sameShape(scales.shape, expected))) return [1, Math.max(1, cols)];
  // One scale for everything is one per slice only where there is one slice.
  if (shape.length <= 2 && scales.shape.every((size) => size === 1))
    return [Math.max(1, rows), Math.max(1, cols)];
  return null;
}

function fitsNoBlock(
  { name, shape }: Place,
  scales: Place,
  configured: readonly [number, number] | null,
): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: tensorNamed(scales.name),
    expected: `one scale per block of ${tensorNamed(name)} ${shapeNamed(shape)}`,
    got: `${shapeNamed(scales.shape)}, which fits neither ${
      configured === null ? "" : `the configured block [${configured.join(", ")}] nor `
    }any known one`,
    fix: "Set weight_block_size in the quantization_config of config.json to the block used.",
  });
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}
