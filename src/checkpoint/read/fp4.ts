import type { StoredTensor } from "./checkpoint.ts";
import { isScalar, sameShape } from "./grids.ts";
import { makers } from "./makers/index.ts";
import { candidateScales, SCALE_TYPES, scaleNames } from "./names.ts";
import { refuseSeveralScales } from "./refusals.ts";
import { countOf, mxfp4Weight, type ScaledWeight, scaleShape } from "./weights.ts";

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
  const values = dtype === "F4" ? [...shape] : unpackedShape(shape);
  const nvfp4 =
    nvfp4Weight(weight, values, [1, 16], codes, byName) ?? packedAlongColumns(weight, codes, byName);
  if (nvfp4 !== null) return nvfp4;
  const fitting = candidateScales(scaleNames(weight), byName).filter(
    ({ dtype, shape }) => SCALE_TYPES[dtype] === "ue8m0" && sameShape(shape, scaleShape(values, [1, 32])),
  );
  refuseSeveralScales(weight, fitting);
  return fitting[0] === undefined ? null : mxfp4Weight(weight, values, codes, fitting[0]);
}

/** Shape of the values of bytes that hold two each. */
function unpackedShape(bytes: readonly number[]): number[] {
  return [...bytes.slice(0, -1), bytes.at(-1)! * 2];
}

/** NVFP4: E4M3 scales for blocks of 16, times a float32 or divided by it. */
function nvfp4Weight(
  weight: string,
  shape: readonly number[],
  block: readonly [number, number],
  codes: StoredTensor,
  byName: ReadonlyMap<string, StoredTensor>,
): ScaledWeight | null {
  // Stacks of experts have no `.weight` in their name, but may have it in those of their scales.
  for (const stem of weight.endsWith(".weight") ? [weight] : [weight, `${weight}_weight`]) {
    const scales = byName.get(`${stem}_scale`);
    if (scales?.dtype !== "F8_E4M3" || !sameShape(scales.shape, scaleShape(shape, block))) continue;
    for (const { tensorScale } of makers) {
      const tensor = tensorScale === undefined ? undefined : byName.get(stem + tensorScale.suffix);
      if (tensorScale === undefined || tensor?.dtype !== "F32" || !servesSlices(tensor, shape)) continue;
      const { divides } = tensorScale;
      const mxfp4 = mxfp4Weight(weight, shape, codes, scales);
      return { ...mxfp4, scaleType: "e4m3", block, tensorScale: { place: tensor, divides } };
    }
  }
  return null;
}

/** Whether there is one number for all of a weight, or one for each slice of a stack. */
function servesSlices(tensor: StoredTensor, shape: readonly number[]): boolean {
  const [slices, ...ones] = tensor.shape;
  return isScalar(tensor) || (shape.length === 3 && slices === shape[0] && countOf(ones) === 1);
}

/**
 * NVFP4 of ModelOpt's stacks [experts, in, out] of Llama-4 and gpt-oss: bytes [experts, in / 2, out] with two
 * codes of a column each, and scales [experts, in / 16, out].
 */
function packedAlongColumns(
  weight: string,
  codes: StoredTensor,
  byName: ReadonlyMap<string, StoredTensor>,
): ScaledWeight | null {
  const [experts, half, outs] = codes.shape as [number, number, number];
  if (codes.dtype === "F4" || codes.shape.length !== 3) return null;
  const found = nvfp4Weight(weight, [experts, 2 * half, outs], [16, 1], codes, byName);
  return found === null ? null : { ...found, packedAlong: "cols" };
}
