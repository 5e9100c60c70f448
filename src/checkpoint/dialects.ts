import { BlockscaleError } from "../errors.ts";
import type { Dtype } from "../safetensors/dtype.ts";
import { type Scheme, schemes } from "../scheme.ts";

/** Names of the dialects that can be written. */
export type DialectName =
  | "deepseek-v3"
  | "deepseek-v3.1"
  | "deepseek-v4"
  | "mxfp8"
  | "compressed-tensors"
  | "modelopt";

/** How a family of checkpoints stores block-scaled weights. */
export interface Dialect {
  readonly name: DialectName;
  /** One line for people. */
  readonly about: string;
  /** How weights are quantised. */
  readonly scheme: Scheme;
  /** What replaces the `.weight` at the end of a weight's name in the name of its scales. */
  readonly scaleSuffix: string;
  readonly scaleDtype: Dtype;
}

/** Every dialect that can be written, by name. */
export const dialects: Readonly<Record<DialectName, Dialect>> = {
  "deepseek-v3": {
    name: "deepseek-v3",
    about: "DeepSeek-V3, R1: 128x128 blocks, float32 scales",
    scheme: schemes.deepseekV3Weight,
    scaleSuffix: ".weight_scale_inv",
    scaleDtype: "F32",
  },
  "deepseek-v3.1": {
    name: "deepseek-v3.1",
    about: "DeepSeek-V3.1, V3.2: 128x128 blocks, power-of-two scales kept as float32",
    scheme: schemes.deepseekWeight,
    scaleSuffix: ".weight_scale_inv",
    scaleDtype: "F32",
  },
  "deepseek-v4": {
    name: "deepseek-v4",
    about: "DeepSeek-V4: 128x128 blocks, UE8M0 scales in tensors named .scale",
    scheme: schemes.deepseekWeight,
    scaleSuffix: ".scale",
    scaleDtype: "F8_E8M0",
  },
  mxfp8: {
    name: "mxfp8",
    about: "MXFP8 as transformers reads it: 1x32 blocks, UE8M0 scales as bytes",
    scheme: schemes.mxfp8,
    scaleSuffix: ".weight_scale_inv",
    scaleDtype: "U8",
  },
  "compressed-tensors": {
    name: "compressed-tensors",
    about: "MXFP8 of llm-compressor and vLLM: 1x32 blocks, UE8M0 scales as bytes",
    scheme: schemes.mxfp8CompressedTensors,
    scaleSuffix: ".weight_scale",
    scaleDtype: "U8",
  },
  modelopt: {
    name: "modelopt",
    about: "MXFP8 of NVIDIA ModelOpt: 1x32 blocks, UE8M0 scales as bytes",
    scheme: schemes.mxfp8,
    scaleSuffix: ".weight_scale",
    scaleDtype: "U8",
  },
};

/**
 * The dialect of a name.
 * @throws BlockscaleError `option`: no such dialect
 */
export function dialectOf(name: string): Dialect {
  if (!Object.hasOwn(dialects, name)) {
    throw new BlockscaleError("option", {
      where: "dialect",
      expected: Object.keys(dialects).join(", "),
      got: JSON.stringify(name),
      fix: "Choose one of these names.",
    });
  }
  return dialects[name as DialectName];
}

/** Name of the scales of a weight: `X.weight` gives `X` and the suffix, `X` the suffix without its `.weight`. */
export function scaleName(dialect: Dialect, weight: string): string {
  return weight.endsWith(".weight")
    ? weight.slice(0, -".weight".length) + dialect.scaleSuffix
    : weight + dialect.scaleSuffix.replace(/^\.weight/, "");
}
