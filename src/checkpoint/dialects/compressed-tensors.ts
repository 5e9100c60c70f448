import { schemes } from "../../tensor/schemes.ts";
import type { Config } from "../read/checkpoint.ts";
import type { Dialect, WeightStorage } from "./dialect.ts";

/** What compressed-tensors calls a format, and how it describes it. */
interface Description {
  readonly format: string;
  readonly weights: Config;
  /** `null` where they stay as they are. */
  readonly activations: Config | null;
}

function configOf(format: string, groups: readonly Config[], kept: readonly string[]): Config {
  return {
    quant_method: "compressed-tensors",
    format,
    quantization_status: "compressed",
    config_groups: Object.fromEntries(groups.map((group, i) => [`group_${i}`, group])),
    ignore: kept,
    kv_cache_scheme: null,
  };
}

/** @param targets names of modules, or of their class */
function groupOf({ format, weights, activations }: Description, targets: readonly string[]): Config {
  return { format, targets, weights, input_activations: activations, output_activations: null };
}

/** One group for all linear layers. */
function uniformConfig(description: Description, kept: readonly string[]): Config {
  return configOf(description.format, [groupOf(description, ["Linear"])], kept);
}

/**
 * Describes weights or activations in floating point.
 * @param size of the group or block that shares a scale
 * @param dynamic whether scales are computed while a model runs
 */
function floats(bits: 4 | 8, strategy: string, size: Config, dynamic: boolean): Config {
  return { num_bits: bits, type: "float", strategy, ...size, symmetric: true, dynamic };
}

/** Describes weights or activations in MXFP8 or MXFP4. */
function mxFloats(bits: 4 | 8, dynamic: boolean): Config {
  return { ...floats(bits, "group", { group_size: 32 }, dynamic), scale_dtype: "torch.uint8" };
}

const MXFP8: Description = {
  format: "mxfp8-quantized",
  weights: mxFloats(8, false),
  activations: mxFloats(8, true),
};

const MXFP4: Description = {
  format: "mxfp4-pack-quantized",
  weights: mxFloats(4, false),
  activations: null,
};

export const compressedTensors: Dialect = {
  name: "compressed-tensors",
  about: "MXFP8 of llm-compressor and vLLM: 1x32 blocks, UE8M0 scales as bytes",
  storage: {
    scheme: schemes.mxfp8CompressedTensors,
    codes: { suffix: ".weight", dtype: "F8_E4M3" },
    scales: { suffix: ".weight_scale", dtype: "U8" },
  },
  warnings: [
    "SGLang knows no MXFP8 of compressed-tensors (autumn 2026): for SGLang write mxfp8 or modelopt.",
  ],
  config: (kept) => uniformConfig(MXFP8, kept),
};

export const compressedTensorsMxfp4: Dialect = {
  name: "compressed-tensors-mxfp4",
  about: "MXFP4 weights of llm-compressor and vLLM: 1x32 blocks, UE8M0 scales as bytes",
  storage: {
    scheme: { ...schemes.mxfp4, rounding: "even" },
    codes: { suffix: ".weight_packed", dtype: "U8" },
    scales: { suffix: ".weight_scale", dtype: "U8" },
  },
  config: (kept) => uniformConfig(MXFP4, kept),
};

const NVFP4: Description = {
  format: "nvfp4-pack-quantized",
  weights: { ...floats(4, "tensor_group", { group_size: 16 }, false), scale_dtype: "torch.float8_e4m3fn" },
  activations: null,
};

export const compressedTensorsNvfp4: Dialect = {
  name: "compressed-tensors-nvfp4",
  about: "NVFP4 weights of llm-compressor and vLLM: 1x16 blocks, E4M3 scales divided by a float32",
  storage: {
    scheme: schemes.nvfp4,
    codes: { suffix: ".weight_packed", dtype: "U8" },
    scales: { suffix: ".weight_scale", dtype: "F8_E4M3" },
    tensorScale: { suffix: ".weight_global_scale", divides: true },
  },
  config: (kept) => uniformConfig(NVFP4, kept),
};

/** FP8_BLOCK of llm-compressor: what DeepSeek's weights are, in the words of compressed-tensors. */
const FP8: Description = {
  format: "float-quantized",
  weights: floats(8, "block", { block_structure: [128, 128] }, false),
  activations: floats(8, "group", { group_size: 128 }, true),
};

const DESCRIPTIONS: Readonly<Record<string, Description>> = {
  nvfp4: NVFP4,
  mxfp4: MXFP4,
  fp8: FP8,
  mxfp8: MXFP8,
};

const FP8_BLOCKS: WeightStorage = {
  format: "fp8",
  scheme: schemes.deepseekWeight,
  codes: { suffix: ".weight", dtype: "F8_E4M3" },
  scales: { suffix: ".weight_scale", dtype: "F32" },
};

/**
 * A module as a target. Loaders look up fused layers by the names of their parts, and experts by that of the
 * first: one pattern for all experts of a layer takes the place of their names, 256 for example.
 */
function targetOf(module: string): string {
  if (!/\.experts\.\d+\./.test(module)) return module;
  const escaped = module.replaceAll(".", "\\.");
  return `re:^${escaped.replace(/experts\\\.\d+/, "experts\\.\\d+")}$`;
}

export const compressedTensorsMixed: Dialect = {
  name: "compressed-tensors-mixed",
  about:
    "A format for each weight, chosen by overrides, for llm-compressor and vLLM: NVFP4, MXFP4, MXFP8, or FP8 in 128x128 blocks",
  storage: FP8_BLOCKS,
  formats: {
    nvfp4: { ...compressedTensorsNvfp4.storage, format: "nvfp4" },
    mxfp4: { ...compressedTensorsMxfp4.storage, format: "mxfp4" },
    fp8: FP8_BLOCKS,
    mxfp8: { ...compressedTensors.storage, format: "mxfp8" },
  },
  config: (kept, formats) =>
    configOf(
      "mixed-precision",
      [...formats].map(([format, modules]) =>
        groupOf(DESCRIPTIONS[format]!, [...new Set(modules.map(targetOf))]),
      ),
      kept,
    ),
};
