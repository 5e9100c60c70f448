import type { StoredTensor } from "../checkpoint.ts";
import { sameShape } from "../grids.ts";
import { mxfp4Weight, type ScaledWeight } from "../weights.ts";
import type { Maker } from "./maker.ts";

/**
 * Blocks of 32 in a dimension of their own, 16 bytes each; the values lie along the other side of the matrix.
 */
function packed(codes: StoredTensor, byName: ReadonlyMap<string, StoredTensor>): ScaledWeight | null {
  const { name, dtype, shape } = codes;
  if (dtype !== "U8" || !name.endsWith("_blocks") || shape.length < 3 || shape.at(-1) !== 16) return null;
  const weight = name.slice(0, -"_blocks".length);
  const scales = byName.get(`${weight}_scales`);
  const grid = shape.slice(0, -1);
  if (scales?.dtype !== "U8" || !sameShape(scales.shape, grid)) return null;
  const values = [...grid.slice(0, -1), grid.at(-1)! * 32];
  return { ...mxfp4Weight(weight, values, codes, scales), transposed: true };
}

export const gptOss: Maker = { name: "gpt-oss", packed };
