import type { Dtype } from "../../safetensors/dtype.ts";
import { shapeNamed, tensorNamed } from "../../safetensors/names.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { type Checkpoint, type Config, type Place, placesOf } from "./checkpoint.ts";
import { type ForeignTensor, foreignTensors } from "./foreign.ts";
import { int4Weight } from "./int4.ts";
import { partsOf } from "./parts.ts";
import {
  type Element,
  matrixOf,
  placesOfWeight,
  type ScaledWeight,
  type ScaleType,
  scaleShape,
  valueTypeOf,
  type Weight,
} from "./weights.ts";
import { wrappedWeight } from "./wrapped.ts";

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

/** The logical tensors of a checkpoint, and what else is in it. */
export interface Resolved {
  /** In the order of their data. */
  readonly weights: readonly Weight[];
  /** Quantised data that nothing here reads. */
  readonly foreign: readonly ForeignTensor[];
  /** Tensors that describe a quantisation and are no part of a weight: of no use once it is gone. */
  readonly strays: ReadonlySet<string>;
}

/**
 * Takes codes and scales together: the logical weights of a checkpoint. A weight and its scales may be in different shards.
 * @param onProblem told of a weight whose scales are missing or make no sense, which then counts as another tensor;
 * left out, the first such weight is an error
 * @throws BlockscaleError `dialect`: codes without a scale, or scales that fit no block; names the tensor
 */
export function resolve(
  checkpoint: Checkpoint,
  options: ResolveOptions = {},
  onProblem?: (problem: BlockscaleError) => void,
): Resolved {
  const places = placesOf(checkpoint);
  const byName = new Map(places.map((place) => [place.name, place]));
  const blocks = configuredBlocks(checkpoint.config);
  const scaled = new Map<string, ScaledWeight>();
  const taken = new Set<string>();
  const take = (place: Place, weight: ScaledWeight | null): void => {
    if (weight === null) return;
    scaled.set(place.name, weight);
    for (const { name } of placesOfWeight(weight).slice(1)) taken.add(name);
  };
  // FP4 first: its scales may be E4M3, and would be taken for codes.
  const quantization = quantizationConfig(checkpoint.config);
  for (const place of places) {
    take(place, packedWeight(place, byName) ?? int4Weight(place, byName, quantization));
  }
  for (const place of places) {
    if (scaled.has(place.name) || taken.has(place.name)) continue;
    try {
      take(place, scaledWeight(place, byName, blocks, checkpoint.config, options));
    } catch (error) {
      if (onProblem === undefined || !(error instanceof BlockscaleError)) throw error;
      onProblem(error);
    }
  }
  const isQuantised = scaled.size > 0 || quantization !== null || isLabelled(checkpoint);
  const strays = new Set(
    isQuantised ? places.filter((place) => isStray(place, byName)).map(({ name }) => name) : [],
  );
  const weights = places.flatMap((place): Weight[] => {
    const { name, shape } = place;
    const weight = scaled.get(name);
    if (weight !== undefined) return [weight];
    if (taken.has(name)) return [];
    const type = valueTypeOf(place.dtype);
    return type === null
      ? [{ kind: "other", name, tensor: place }]
      : [{ kind: "plain", name, shape, type, values: place }];
  });
  const unread = weights.flatMap((weight) =>
    weight.kind === "scaled" || strays.has(weight.name) ? [] : placesOfWeight(weight),
  );
  return { weights, strays, foreign: foreignTensors(unread, quantization) };
}

/** The logical weights alone: see {@link resolve}. */
export function resolveWeights(checkpoint: Checkpoint, options: ResolveOptions = {}): readonly Weight[] {
  return resolve(checkpoint, options).weights;
}

/** What the members of a header's `__metadata__` are called that describe a quantisation. */
export const QUANTIZATION_METADATA: ReadonlySet<string> = new Set(["_quantization_metadata"]);

function isLabelled({ shards }: Checkpoint): boolean {
  return shards.some(({ header }) =>
    [...(header.metadata?.keys() ?? [])].some((key) => QUANTIZATION_METADATA.has(key)),
  );
}

/** Scales of activations and of the cache, markers of layers: small tensors by these names. */
const STRAY =
  /(^|[._])([qkv]_scale|kv_scale|output_scale|input_scale|input_scale_ub|scale_input|qscale_act|activation_scale|comfy_quant)$|^scaled_fp8$/;

/** Whether a tensor describes a quantisation: by its name, or as a scale that lies beside a plain weight. */
function isStray({ name, dtype }: Place, byName: ReadonlyMap<string, Place>): boolean {
  if (STRAY.test(name)) return true;
  if (SCALE_TYPES[dtype] === undefined) return false;
  return weightNames(name).some((weight) => {
    const place = byName.get(weight);
    return place !== undefined && valueTypeOf(place.dtype) !== null && place.shape.length >= 2;
  });
}

/** Weights whose scales a tensor could be, by its name. */
function weightNames(scales: string): string[] {
  const found = /^(.*)(_scale_inv|_scale|_scale_2|_global_scale)$/.exec(scales);
  const base = /^(.*)\.(scale_weight|qscale_weight)$/.exec(scales);
  return [...(found?.[1]?.endsWith("weight") ? [found[1]] : []), ...(base ? [`${base[1]}.weight`] : [])];
}

/** The largest side of a block that kernels can count with. */
const LARGEST_SIDE = 2 ** 31 - 1;

/** The blocks that config.json names: `weight_block_size`, and those of the groups of compressed-tensors. */
function configuredBlocks(config: Config | null): (readonly [number, number])[] {
  const size = configuredBlock(config);
  const groups = Object.values((quantizationConfig(config)?.config_groups ?? {}) as object);
  return [...(size === null ? [] : [size]), ...groups.flatMap(blockOfGroup)];
}

/** `block_structure` or `group_size` of a group of compressed-tensors. */
function blockOfGroup(group: unknown): (readonly [number, number])[] {
  const weights = ((group as Config | null)?.weights ?? {}) as Config;
  const { block_structure: structure, group_size: size } = weights;
  const isSide = (n: unknown): n is number =>
    Number.isSafeInteger(n) && (n as number) > 0 && (n as number) <= LARGEST_SIDE;
  if (Array.isArray(structure) && structure.length === 2 && structure.every(isSide)) {
    return [[structure[0], structure[1]]];
  }
  return isSide(size) ? [[1, size]] : [];
}

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

/** Members of config.json under which multimodal models keep the config of their language model. */
export const NESTED = ["text_config", "llm_config", "language_config"] as const;

/** What the description of a quantisation is called; the second is the older name of compressed-tensors. */
export const QUANTIZATION_KEYS = ["quantization_config", "compression_config"] as const;

/** The quantization_config of a model, at the top or in a nested text_config; `null` where there is none. */
export function quantizationConfig(config: Config | null): Config | null {
  for (const place of [config, ...NESTED.map((key) => config?.[key])]) {
    for (const key of QUANTIZATION_KEYS) {
      const found = (place as Config | null | undefined)?.[key];
      if (typeof found === "object" && found !== null) return found as Config;
    }
  }
  return null;
}

function scaledWeight(
  place: Place,
  byName: ReadonlyMap<string, Place>,
  configured: readonly (readonly [number, number])[],
  config: Config | null,
  options: ResolveOptions,
): ScaledWeight | null {
  const element = CODE_ELEMENTS[place.dtype];
  if (element === undefined || STRAY.test(place.name)) return null;
  const { shape } = place;
  const wrapped = wrappedWeight(place.name);
  const name = wrapped?.weight ?? place.name;
  const base = { kind: "scaled", name, shape, element, codes: place, transposed: false } as const;
  const candidates = scalesOf(name, byName, wrapped?.scales);
  const fitting = candidates.flatMap((scales) => {
    const grid = gridOf(shape, scales, configured) ?? fusedGrid(name, shape, scales, config);
    return grid === null ? [] : [{ scales, scaleType: SCALE_TYPES[scales.dtype]!, ...grid }];
  });
  refuseSecond(name, fitting);
  if (fitting[0] !== undefined) return { ...base, ...fitting[0] };
  if (candidates[0] !== undefined) throw fitsNoBlock(place, candidates[0], configured);
  const beside = possibleScales(name, byName);
  if (options.missingScale === "one" && beside === undefined) {
    const { rows, cols } = matrixOf(place.shape);
    return { ...base, scales: null, scaleType: "ue8m0", block: [Math.max(1, rows), Math.max(1, cols)] };
  }
  throw new BlockscaleError("dialect", {
    where: tensorNamed(place.name),
    expected: `scales for its ${place.dtype} codes, named ${scaleNames(place.name).slice(0, 3).join(" or ")}`,
    got: beside === undefined ? "none" : `none, but ${tensorNamed(beside)}, which may be its scale`,
    fix:
      beside === undefined
        ? "Add the shard with the scales, or choose to take missing scales as 1 (--missing-scale one)."
        : "Convert the checkpoint with the tool that made it: what that scale means is not known here.",
  });
}

function scaleNames(weight: string): string[] {
  const base = weight.replace(/\.weight$/, "");
  return [
    `${weight}_scale_inv`,
    `${base}.scale`,
    `${weight}_scale`,
    `${base}.scale_weight`,
    `${base}.qscale_weight`,
  ];
}

/** A tensor beside a weight, or beside its module, whose name has "scale" in it and that is not of activations. */
function possibleScales(weight: string, byName: ReadonlyMap<string, Place>): string | undefined {
  const module = weight.slice(0, Math.max(0, weight.lastIndexOf(".")));
  const parent = module.slice(0, Math.max(0, module.lastIndexOf(".")));
  return [...byName.keys()].find((name) => {
    const holder = name.slice(0, Math.max(0, name.lastIndexOf(".")));
    const last = name.slice(holder.length);
    return (holder === module || holder === parent) && /scale/i.test(last) && !STRAY.test(name);
  });
}

/** What may be the scales of a weight, as far as names and types tell. */
function scalesOf(weight: string, byName: ReadonlyMap<string, Place>, own?: string): Place[] {
  return (own === undefined ? scaleNames(weight) : [own]).flatMap((name) => {
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
  if (dtype !== "U8" && dtype !== "I8" && dtype !== "F4") return null;
  if (shape.length < 2) return null;
  const weight = name.endsWith("_packed") ? name.slice(0, -"_packed".length) : name;
  const values = dtype === "F4" ? [...shape] : [...shape.slice(0, -1), shape.at(-1)! * 2];
  const nvfp4 = nvfp4Scales(weight, values, byName);
  if (nvfp4 !== null) return { ...e2m1(weight, values, nvfp4.scales), ...nvfp4 };
  const fitting = scalesOf(weight, byName)
    .filter(({ dtype, shape }) => {
      return SCALE_TYPES[dtype] === "ue8m0" && sameShape(shape, scaleShape(values, [1, 32]));
    })
    .map((scales) => ({ scales }));
  refuseSecond(weight, fitting);
  return fitting[0] === undefined ? null : e2m1(weight, values, fitting[0].scales);
}

/**
 * Scales of NVFP4: E4M3 for blocks of 16, times one float32 (ModelOpt: `weight_scale_2`), or divided by it
 * (compressed-tensors: `weight_global_scale`).
 */
function nvfp4Scales(
  weight: string,
  values: readonly number[],
  byName: ReadonlyMap<string, Place>,
): (Required<Pick<ScaledWeight, "scaleType" | "block" | "tensorScale">> & { readonly scales: Place }) | null {
  const scales = byName.get(`${weight}_scale`);
  if (scales?.dtype !== "F8_E4M3" || !sameShape(scales.shape, scaleShape(values, [1, 16]))) return null;
  for (const [end, divides] of [
    ["_scale_2", false],
    ["_global_scale", true],
  ] as const) {
    const place = byName.get(weight + end);
    if (place?.dtype !== "F32" || place.shape.some((size) => size !== 1)) continue;
    return { scales, scaleType: "e4m3", block: [1, 16], tensorScale: { place, divides } };
  }
  return null;
}

/** How the scales of a weight lie: the block that one of them serves, and what one row of a padded grid holds. */
type ScaleGrid = Pick<ScaledWeight, "block" | "storedCols">;

/** The grid of scales, by their shape; `null` where they fit none. */
function gridOf(
  shape: readonly number[],
  scales: Place,
  configured: readonly (readonly [number, number])[],
): ScaleGrid | null {
  const { rows, cols } = matrixOf(shape);
  const all: readonly [number, number] = [Math.max(1, rows), Math.max(1, cols)];
  const stored = withoutOnes(scales.shape, shape.length);
  for (const block of [...configured, ...KNOWN_BLOCKS]) {
    if (sameShape(stored, scaleShape(shape, block))) return { block };
  }
  const perRow = [[...shape.slice(0, -1), 1], shape.slice(0, -1)];
  if (perRow.some((expected) => sameShape(stored, expected))) return { block: [1, all[1]] };
  // One scale for everything is one per slice only where there is one slice.
  if (shape.length <= 2 && scales.shape.every((size) => size === 1)) return { block: all };
  if (shape.length === 3) {
    // Stacked experts: a scale for each, or for each column of each.
    if (sameShape(stored, [shape[0]!, 1, 1]) || sameShape(stored, [shape[0]!])) return { block: all };
    if (sameShape(stored, [shape[0]!, 1, cols])) return { block: [all[0], 1] };
    return null;
  }
  if (
    shape.length === 2 &&
    stored.length === 2 &&
    stored[0] === rows &&
    cols % stored[1]! === 0 &&
    scales.shape.length === 3
  ) {
    return { block: [1, cols / stored[1]!] };
  }
  return paddedGrid(shape, stored, configured);
}

/** One scale for each part of a fused matrix. */
function fusedGrid(
  name: string,
  shape: readonly number[],
  scales: Place,
  config: Config | null,
): Pick<ScaledWeight, "block" | "parts"> | null {
  const [rows, cols] = shape as [number, number];
  const count = scales.shape[0] ?? 0;
  if (shape.length !== 2 || scales.shape.slice(1).some((size) => size !== 1)) return null;
  const parts = partsOf(name, rows, count, configsOf(config));
  return parts === null ? null : { block: [1, Math.max(1, cols)], parts };
}

/** Configs of language models, wherever they are: at the top, or nested in those of multimodal models. */
export function configsOf(config: Config | null): Config[] {
  const nested = NESTED.map((key) => config?.[key]);
  return [config, ...nested].filter((found): found is Config => typeof found === "object" && found !== null);
}

/** A grid of more rows and columns than the weight needs, where config.json names the block. */
function paddedGrid(
  shape: readonly number[],
  stored: readonly number[],
  [block]: readonly (readonly [number, number])[],
): ScaleGrid | null {
  if (block === undefined || shape.length !== 2 || stored.length !== 2) return null;
  const [rows, cols] = scaleShape(shape, block) as [number, number];
  const [storedRows, storedCols] = stored as [number, number];
  // Kernels pad to a few blocks; a grid of twice the size is something else.
  const fits = (needed: number, found: number) => found >= needed && found <= 2 * needed + 8;
  if (!fits(rows, storedRows) || !fits(cols, storedCols)) return null;
  return storedCols === cols ? { block } : { block, storedCols };
}

/** [N / 128, 1, K / 128, 1] as [N / 128, K / 128], and [N, blocks, 1] as [N, blocks]: how some tools keep axes for broadcasting. */
function withoutOnes(stored: readonly number[], rank: number): readonly number[] {
  if (rank !== 2) return stored;
  if (stored.length === 4 && stored[1] === 1 && stored[3] === 1) return [stored[0]!, stored[2]!];
  return stored.length === 3 && stored[2] === 1 ? [stored[0]!, stored[1]!] : stored;
}

function fitsNoBlock(
  { name, shape }: Place,
  scales: Place,
  configured: readonly (readonly [number, number])[],
): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: tensorNamed(scales.name),
    expected: `one scale per block of ${tensorNamed(name)} ${shapeNamed(shape)}`,
    got: `${shapeNamed(scales.shape)}, which fits neither ${
      configured[0] === undefined ? "" : `the configured block [${configured[0].join(", ")}] nor `
    }any known one`,
    fix: "Set weight_block_size in the quantization_config of config.json to the block used.",
  });
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}
