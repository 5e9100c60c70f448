import type { StoredTensor } from "./checkpoint.ts";
import { sameShape } from "./grids.ts";
import { makers } from "./makers/index.ts";
import { SCALE_TYPES, scaleNames, scalesOf } from "./names.ts";
import { refuseSeveralScales } from "./refusals.ts";
import { mxfp4Weight, type ScaledWeight, scaleShape } from "./weights.ts";

/**
 * FP4 codes, two to a byte, under the name of the weight or with `_packed` behind it; or safetensors' own F4.
 */
export function packedFp4(
  codes: StoredTensor,
  byName: ReadonlyMap<string, StoredTensor>,
): ScaledWeight | null {
  const { name, dtype, shape } = codes;
  if ((dtype !== "U8" && dtype !== "I8" && dtype !== "F4") || shape.length < 2) return null;
  const weight = name.endsWith("_packed") ? name.slice(0, -"_packed".length) : name;
  const values = dtype === "F4" ? [...shape] : [...shape.slice(0, -1), shape.at(-1)! * 2];
  const nvfp4 = nvfp4Scales(weight, values, byName);
  if (nvfp4 !== null) return { ...mxfp4Weight(weight, values, codes, nvfp4.scales), ...nvfp4 };
  const fitting = scalesOf(scaleNames(weight), byName).filter(
    ({ dtype, shape }) => SCALE_TYPES[dtype] === "ue8m0" && sameShape(shape, scaleShape(values, [1, 32])),
  );
  refuseSeveralScales(weight, fitting);
  return fitting[0] === undefined ? null : mxfp4Weight(weight, values, codes, fitting[0]);
}

type Nvfp4 = Required<Pick<ScaledWeight, "scaleType" | "block" | "tensorScale">> & {
  readonly scales: StoredTensor;
};

/** Scales of NVFP4: E4M3 for blocks of 16, times one float32 or divided by it. */
function nvfp4Scales(
  weight: string,
  values: readonly number[],
  byName: ReadonlyMap<string, StoredTensor>,
): Nvfp4 | null {
  const scales = byName.get(`${weight}_scale`);
  if (scales?.dtype !== "F8_E4M3" || !sameShape(scales.shape, scaleShape(values, [1, 16]))) return null;
  for (const { tensorScale } of makers) {
    const place = tensorScale === undefined ? undefined : byName.get(weight + tensorScale.suffix);
    if (tensorScale === undefined || place?.dtype !== "F32" || place.shape.some((size) => size !== 1))
      continue;
    const { divides } = tensorScale;
    return { scales, scaleType: "e4m3", block: [1, 16], tensorScale: { place, divides } };
  }
  return null;
}
