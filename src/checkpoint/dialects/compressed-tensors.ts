import { schemes } from "../../tensor/schemes.ts";
import type { Config } from "../read/checkpoint.ts";
import type { Dialect } from "./dialect.ts";

/** One group for all linear layers, in the words of compressed-tensors. @param activations `null` where they stay as they are */
function configOf(
  format: string,
  weights: Config,
  activations: Config | null,
  kept: readonly string[],
): Config {
  return {
    quant_method: "compressed-tensors",
    format,
    quantization_status: "compressed",
    config_groups: {
      group_0: {
        format,
        targets: ["Linear"],
        weights,
        input_activations: activations,
        output_activations: null,
      },
    },
    ignore: kept,
    kv_cache_scheme: null,
  };
}

/** Weights or activations in MXFP8 or MXFP4. */
function mxArguments(bits: 4 | 8, dynamic: boolean): Config {
  return {
    num_bits: bits,
    type: "float",
    strategy: "group",
    group_size: 32,
    symmetric: true,
    dynamic,
    scale_dtype: "torch.uint8",
  };
}

export const compressedTensors: Dialect = {
  name: "compressed-tensors",
  about: "MXFP8 of llm-compressor and vLLM: 1x32 blocks, UE8M0 scales as bytes",
  storage: {
    scheme: schemes.mxfp8CompressedTensors,
    codes: { suffix: ".weight", dtype: "F8_E4M3" },
    scales: { suffix: ".weight_scale", dtype: "U8" },
  },
  config: (kept) => configOf("mxfp8-quantized", mxArguments(8, false), mxArguments(8, true), kept),
};

export const compressedTensorsMxfp4: Dialect = {
  name: "compressed-tensors-mxfp4",
  about: "MXFP4 weights of llm-compressor and vLLM: 1x32 blocks, UE8M0 scales as bytes",
  storage: {
    scheme: { ...schemes.mxfp4, rounding: "even" },
    codes: { suffix: ".weight_packed", dtype: "U8" },
    scales: { suffix: ".weight_scale", dtype: "U8" },
  },
  config: (kept) => configOf("mxfp4-pack-quantized", mxArguments(4, false), null, kept),
};

const NVFP4_WEIGHTS: Config = {
  num_bits: 4,
  type: "float",
  strategy: "tensor_group",
  group_size: 16,
  symmetric: true,
  dynamic: false,
  scale_dtype: "torch.float8_e4m3fn",
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
  config: (kept) => configOf("nvfp4-pack-quantized", NVFP4_WEIGHTS, null, kept),
};
