import { compressedTensorsMixed } from "../checkpoint/dialects/compressed-tensors.ts";
import type { Dialect, Storage } from "../checkpoint/dialects/dialect.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { FORMATS } from "../tensor/formats.ts";
import { schemes } from "../tensor/schemes.ts";

/** The names of formats that a weight may be stored in. "bf16" is an unchanged weight, even a float32 one. */
export type WeightFormat = "nvfp4" | "mxfp4" | "mxfp4Ocp" | "fp8" | "mxfp8" | "mxfp8Ocp" | "e5m2" | "bf16";

const { nvfp4, mxfp4, fp8, mxfp8 } = compressedTensorsMixed.formats!;

/** How each format is stored. One that no dialect stores is laid out like the most similar one. */
const storages: Readonly<Record<Exclude<WeightFormat, "bf16">, Storage>> = {
  nvfp4: nvfp4!,
  mxfp4: mxfp4!,
  mxfp4Ocp: { ...mxfp4!, scheme: schemes.mxfp4Ocp },
  fp8: fp8!,
  mxfp8: mxfp8!,
  mxfp8Ocp: { ...mxfp8!, scheme: schemes.mxfp8Ocp },
  e5m2: { ...fp8!, scheme: { ...fp8!.scheme, format: "e5m2" }, codes: { ...fp8!.codes, dtype: "F8_E5M2" } },
};

/** `compressed-tensors-mixed` with all formats: mixes are measured as they would be written. */
export const measuredDialect: Dialect = { ...compressedTensorsMixed, formats: storages };

/** Whether a checkpoint can store a format. Those that no dialect stores are for comparison only. */
export function isStorable(format: WeightFormat): boolean {
  return format === "bf16" || Object.hasOwn(compressedTensorsMixed.formats!, format);
}

/** @throws BlockscaleError `option`: no such format */
export function weightFormatOf(name: string): WeightFormat {
  if (name === "bf16" || Object.hasOwn(storages, name)) return name as WeightFormat;
  throw new BlockscaleError("option", {
    where: "--formats",
    expected: `some of ${[...Object.keys(storages), "bf16"].join(", ")}`,
    got: JSON.stringify(name),
    fix: "Leave it out to get nvfp4,mxfp4,fp8,bf16.",
  });
}

/**
 * Whether loaders round activations to FP8 before they multiply them with weights of this format. They do not
 * for weights of four bits, nor for plain ones.
 */
export function meetsFp8(format: WeightFormat): boolean {
  return format !== "bf16" && FORMATS[storages[format].scheme.format].codeBits === 8;
}

/**
 * Bits of a matrix [rows, cols] in a format, a byte for each scale (as UE8M0 and E4M3 have it).
 * @returns `null` where the columns are no multiple of the block
 */
export function bitsOf(format: WeightFormat, [rows, cols]: readonly [number, number]): number | null {
  if (format === "bf16") return 16 * rows * cols;
  const { scheme } = storages[format];
  const [blockRows, blockCols] = scheme.block;
  if (blockRows === 1 && cols % blockCols !== 0) return null;
  const scales = Math.ceil(rows / blockRows) * Math.ceil(cols / blockCols);
  return FORMATS[scheme.format].codeBits * rows * cols + 8 * scales;
}
