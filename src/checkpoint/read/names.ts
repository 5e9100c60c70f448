import type { StoredTensor } from "./checkpoint.ts";
import { makers } from "./makers/index.ts";
import { type ScaleType, valueTypeOf } from "./weights.ts";

/** How scales may be stored, by dtype. Flat bytes are UE8M0. */
export const SCALE_TYPES: Readonly<Partial<Record<StoredTensor["dtype"], ScaleType>>> = {
  F32: "f32",
  BF16: "bf16",
  F16: "f16",
  F8_E8M0: "ue8m0",
  U8: "ue8m0",
};

/** What the scales of a weight may be called. */
export function scaleNames(weight: string): string[] {
  const module = weight.replace(/\.weight$/, "");
  return [...new Set(makers.flatMap(({ scales }) => scales?.(weight, module) ?? []))];
}

/** What may be the scales of a weight, as far as names and types tell. */
export function candidateScales(
  names: readonly string[],
  byName: ReadonlyMap<string, StoredTensor>,
): StoredTensor[] {
  return names.flatMap((name) => {
    const tensor = byName.get(name);
    return tensor !== undefined && SCALE_TYPES[tensor.dtype] !== undefined ? [tensor] : [];
  });
}

/**
 * The weight that codes of a tensor class belong to, and the name of its
 * scales; `null` for names of another kind.
 */
export function wrappedWeight(codes: string): { readonly weight: string; readonly scales: string } | null {
  for (const { codes: pattern, scales, weight } of makers.flatMap(({ wrapped }) => wrapped ?? [])) {
    if (pattern.test(codes))
      return { weight: codes.replace(pattern, weight), scales: codes.replace(pattern, scales) };
  }
  return null;
}

const EXTRAS = makers.flatMap(({ quantizationExtras }) => quantizationExtras ?? []);

/** Whether a tensor is a scale of activations or of the cache, or a marker of layers, by its name. */
export function isStrayName(name: string): boolean {
  return EXTRAS.some((pattern) => pattern.test(name));
}

/** What may follow the name of a weight, or of its module, in the name of a scale. */
const SCALE_SUFFIXES = [
  ...scaleNames(".weight").map((name) => name.replace(/^\.weight/, "")),
  ...makers.flatMap(({ tensorScale }) => tensorScale?.suffix ?? []),
];

/** Whether a tensor describes a quantisation: by its name, or as a scale that lies beside a plain weight. */
export function isStray({ name, dtype }: StoredTensor, byName: ReadonlyMap<string, StoredTensor>): boolean {
  if (isStrayName(name)) return true;
  if (SCALE_TYPES[dtype] === undefined) return false;
  return SCALE_SUFFIXES.some((end) => {
    // `.scale` alone may be anything that a model multiplies with.
    if (end === ".scale" || !name.endsWith(end)) return false;
    const stem = name.slice(0, -end.length);
    const weight = byName.get(end.startsWith("_") ? stem : `${stem}.weight`);
    const isOf = end.startsWith("_") ? stem.endsWith("weight") : true;
    return isOf && weight !== undefined && valueTypeOf(weight.dtype) !== null && weight.shape.length >= 2;
  });
}
