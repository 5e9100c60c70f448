import type { OpenedCheckpoint } from "../checkpoint/plan/folder.ts";
import { resolve } from "../checkpoint/read/resolve.ts";
import { type PlainWeight, plainShape, type ScaledWeight } from "../checkpoint/read/weights.ts";
import { quotedTensor, shapeNamed } from "../safetensors/display.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { ModelConfig } from "./config.ts";
import type { WeightForm } from "./store.ts";
import { type ModelTensor, PREFIXES, tensorsOf } from "./tensors.ts";

export type Weight = PlainWeight | ScaledWeight;

/** A tensor that a model needs, and the weight of the checkpoint that holds it. */
export interface Located {
  readonly tensor: ModelTensor;
  readonly weight: Weight;
}

/**
 * Finds the tensors that a model needs.
 * @throws BlockscaleError `dialect`: one is missing, has another shape, or is in a format that is not read
 */
export function locate(config: ModelConfig, opened: OpenedCheckpoint): Located[] {
  const { weights, foreign } = resolve(opened.checkpoint);
  const byName = new Map(weights.map((weight) => [weight.name, weight]));
  const needed = tensorsOf(config);
  const prefix = prefixOf(needed[0]!, byName);
  const named = (name: string) => (name.startsWith("/") ? name.slice(1) : prefix + name);
  return needed.flatMap((tensor) => {
    const found = tensor.names.map((name) => byName.get(named(name))).find((weight) => weight !== undefined);
    if (found === undefined && tensor.isOptional) return [];
    const name = named(tensor.names[0]!);
    const module = name.replace(/weight$/, "");
    const foreignWeight = foreign.find(({ tensor }) => tensor.name.startsWith(module));
    if (found === undefined || found.kind === "other" || foreignWeight !== undefined)
      throw missing(name, foreignWeight?.tensor.name);
    checkShape(tensor, found);
    return [{ tensor, weight: found }];
  });
}

/** The prefix under which the first tensor of a model is found. */
function prefixOf({ names }: ModelTensor, byName: ReadonlyMap<string, unknown>): string {
  return PREFIXES.find((prefix) => byName.has(prefix + names[0]!)) ?? PREFIXES[0]!;
}

function missing(name: string, foreignName: string | undefined): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: quotedTensor(name),
    expected: "it in the checkpoint, in a format that is read here",
    got: foreignName === undefined ? "none" : `${quotedTensor(foreignName)}, of another quantisation`,
    fix:
      foreignName === undefined
        ? "Fetch the missing shard."
        : "Use a BF16, FP8, MXFP4 or NVFP4 copy of the model.",
  });
}

function checkShape({ shape, keptAs }: ModelTensor, weight: Weight): void {
  // Stacked experts are transposed where they are plain values, but not where they are codes.
  const expected = keptAs === "stack" ? [shape[0]!, shape[2]!, shape[1]!] : shape;
  const found = keptAs === "stack" ? plainShape(weight) : weight.shape;
  // 0 stands for any number of rows: that of token types.
  const fits =
    found.length === expected.length &&
    found.every((size, i) => size === expected[i] || (i === 0 && expected[0] === 0));
  if (fits) return;
  throw new BlockscaleError("dialect", {
    where: quotedTensor(weight.name),
    expected: `${shapeNamed(expected)}, as config.json says`,
    got: shapeNamed(found),
    fix: "config.json and the weights belong to different models: fetch both from one place.",
  });
}

/** Bytes of a weight's values or codes in the file. */
export function bytesOf(weight: Weight): number {
  const range = weight.kind === "plain" ? weight.values : weight.codes;
  return range.end - range.start;
}

/** Bytes that a tensor, or the rows of it that are kept, takes in memory, roughly. */
export function memoryOf({ tensor, weight }: Located, form: WeightForm): number {
  const elements = weight.shape.reduce((product, size) => product * size, 1);
  const { start, end } = tensor.rows({ member: 0, size: 1 });
  const isPart = tensor.keptAs === "matrix" && end - start < weight.shape[0]!;
  const count = isPart ? (elements / weight.shape[0]!) * (end - start) : elements;
  if (form === "int7" && tensor.isMultiplied) return (count * 36) / 32;
  if (tensor.keptAs === "vector") return 4 * count;
  if (weight.kind === "plain") return count * (weight.type === "f32" ? 4 : 2);
  if (tensor.keptAs !== "matrix" && !weight.transposed) return 4 * count;
  const { scales } = weight;
  const width = weight.scaleType === "ue8m0" ? 1 : 4;
  const grid = scales === null ? 1 : scales.shape.reduce((product, size) => product * size, 1);
  return count + (grid * width * count) / elements;
}
