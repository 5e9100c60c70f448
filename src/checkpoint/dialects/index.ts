import type { Dtype } from "../../safetensors/dtype.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { type Scheme, schemes } from "../../tensor/schemes.ts";
import type { Config } from "../read/checkpoint.ts";

/** Names of the dialects that can be written. */
export type DialectName =
  | "deepseek-v3"
  | "deepseek-v3.1"
  | "deepseek-v4"
  | "mxfp8"
  | "compressed-tensors"
  | "modelopt";

/** A text file of the output. */
export interface Document {
  readonly name: string;
  readonly text: string;
}

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
  /** The quantization_config that tells readers of it. @param kept modules that stay in high precision */
  config(kept: readonly string[]): Config;
  /** Further files that readers of this dialect want. */
  documents?(kept: readonly string[]): Document[];
}

/** What DeepSeek and Qwen write for square blocks. */
function squareConfig(kept: readonly string[], more: Config = {}): Config {
  return {
    activation_scheme: "dynamic",
    fmt: "e4m3",
    quant_method: "fp8",
    weight_block_size: [128, 128],
    ...more,
    modules_to_not_convert: kept,
  };
}

/** Weights or activations of MXFP8 in the words of compressed-tensors. */
function mxfp8Arguments(dynamic: boolean): Config {
  return {
    num_bits: 8,
    type: "float",
    strategy: "group",
    group_size: 32,
    symmetric: true,
    dynamic,
    scale_dtype: "torch.uint8",
  };
}

/** MXFP8 in the words of ModelOpt: in hf_quant_config.json for its own tools, in config.json for the others. */
function modeloptQuantization(kept: readonly string[]): Config {
  return { quant_algo: "MXFP8", kv_cache_quant_algo: null, group_size: 32, exclude_modules: kept };
}

/** Readers look for this name; the version is ours to leave out. */
const MODELOPT_PRODUCER: Config = { name: "modelopt" };

/** Every dialect that can be written, by name. */
export const dialects: Readonly<Record<DialectName, Dialect>> = {
  "deepseek-v3": {
    name: "deepseek-v3",
    about: "DeepSeek-V3, R1: 128x128 blocks, float32 scales",
    scheme: schemes.deepseekV3Weight,
    scaleSuffix: ".weight_scale_inv",
    scaleDtype: "F32",
    config: (kept) => squareConfig(kept),
  },
  "deepseek-v3.1": {
    name: "deepseek-v3.1",
    about: "DeepSeek-V3.1, V3.2: 128x128 blocks, power-of-two scales kept as float32",
    scheme: schemes.deepseekWeight,
    scaleSuffix: ".weight_scale_inv",
    scaleDtype: "F32",
    config: (kept) => squareConfig(kept, { scale_fmt: "ue8m0" }),
  },
  "deepseek-v4": {
    name: "deepseek-v4",
    about: "DeepSeek-V4: 128x128 blocks, UE8M0 scales in tensors named .scale",
    scheme: schemes.deepseekWeight,
    scaleSuffix: ".scale",
    scaleDtype: "F8_E8M0",
    config: (kept) => squareConfig(kept, { scale_fmt: "ue8m0" }),
  },
  mxfp8: {
    name: "mxfp8",
    about: "MXFP8 as transformers reads it: 1x32 blocks, UE8M0 scales as bytes",
    scheme: schemes.mxfp8,
    scaleSuffix: ".weight_scale_inv",
    scaleDtype: "U8",
    config: (kept) => ({
      activation_scheme: "dynamic",
      fmt: "e4m3",
      quant_method: "mxfp8",
      scale_fmt: "ue8m0",
      weight_block_size: [1, 32],
      ignored_layers: kept,
    }),
  },
  "compressed-tensors": {
    name: "compressed-tensors",
    about: "MXFP8 of llm-compressor and vLLM: 1x32 blocks, UE8M0 scales as bytes",
    scheme: schemes.mxfp8CompressedTensors,
    scaleSuffix: ".weight_scale",
    scaleDtype: "U8",
    config: (kept) => ({
      quant_method: "compressed-tensors",
      format: "mxfp8-quantized",
      quantization_status: "compressed",
      config_groups: {
        group_0: {
          format: "mxfp8-quantized",
          targets: ["Linear"],
          weights: mxfp8Arguments(false),
          input_activations: mxfp8Arguments(true),
          output_activations: null,
        },
      },
      ignore: kept,
      kv_cache_scheme: null,
    }),
  },
  modelopt: {
    name: "modelopt",
    about: "MXFP8 of NVIDIA ModelOpt: 1x32 blocks, UE8M0 scales as bytes",
    scheme: schemes.mxfp8,
    scaleSuffix: ".weight_scale",
    scaleDtype: "U8",
    config: (kept) => ({
      quant_method: "modelopt",
      ...modeloptQuantization(kept),
      ignore: kept,
      producer: MODELOPT_PRODUCER,
    }),
    documents: (kept) => [
      {
        name: "hf_quant_config.json",
        text: `${JSON.stringify({ producer: MODELOPT_PRODUCER, quantization: modeloptQuantization(kept) }, null, 2)}\n`,
      },
    ],
  },
};

/**
 * The dialect of a name.
 * @throws BlockscaleError `option`: no such dialect
 */
export function dialectOf(name: string): Dialect {
  if (!Object.hasOwn(dialects, name)) {
    throw new BlockscaleError("option", {
      where: "to",
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
