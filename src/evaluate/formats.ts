import { compressedTensorsMixed } from "../checkpoint/dialects/compressed-tensors.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { FORMATS } from "../tensor/formats.ts";
import { type Scheme, schemes } from "../tensor/schemes.ts";

/** The names of formats that a weight may be stored in. */
export type WeightFormat = "nvfp4" | "mxfp4" | "mxfp4Ocp" | "fp8" | "mxfp8" | "mxfp8Ocp" | "e5m2" | "bf16";

/** The formats that one mixed checkpoint can hold. */
const { nvfp4, mxfp4, fp8, mxfp8 } = compressedTensorsMixed.formats!;

/**
 * The scheme of each format by its usual name. "bf16" stands for an unchanged weight, even a float32 one.
 */
export const weightFormats: Readonly<Record<WeightFormat, Scheme | null>> = {
  nvfp4: nvfp4!.scheme,
  mxfp4: mxfp4!.scheme,
  mxfp4Ocp: schemes.mxfp4Ocp,
  fp8: fp8!.scheme,
  mxfp8: mxfp8!.scheme,
  mxfp8Ocp: schemes.mxfp8Ocp,
  e5m2: { ...schemes.deepseekWeight, format: "e5m2" },
  bf16: null,
};

/** Whether a checkpoint can store a format. Those that no dialect stores are for comparison only. */
export function isStorable(format: WeightFormat): boolean {
  return format === "bf16" || Object.hasOwn(compressedTensorsMixed.formats!, format);
}

/** @throws BlockscaleError `option`: no such format */
export function weightFormatOf(name: string): WeightFormat {
  if (Object.hasOwn(weightFormats, name)) return name as WeightFormat;
  throw new BlockscaleError("option", {
    where: "--formats",
    expected: `some of ${Object.keys(weightFormats).join(", ")}`,
    got: JSON.stringify(name),
    fix: "Leave it out to get nvfp4,mxfp4,fp8,bf16.",
  });
}

/**
 * Bits of a matrix [rows, cols] in a format, a byte for each scale (as UE8M0 and E4M3 have it).
 * @returns `null` where the columns are no multiple of the block
 */
export function bitsOf(format: WeightFormat, [rows, cols]: readonly [number, number]): number | null {
  const scheme = weightFormats[format];
  if (scheme === null) return 16 * rows * cols;
  const [blockRows, blockCols] = scheme.block;
  if (blockRows === 1 && cols % blockCols !== 0) return null;
  const scales = Math.ceil(rows / blockRows) * Math.ceil(cols / blockCols);
  return (8 / FORMATS[scheme.format].codesPerByte) * rows * cols + 8 * scales;
}
