import { type Scheme, schemes } from "../../tensor/schemes.ts";
import type { Config } from "../read/checkpoint.ts";
import type { Dialect } from "./dialect.ts";

/** Readers look for this name; the version is ours to leave out. */
const PRODUCER: Config = { name: "modelopt" };

/**
 * The description of a quantisation: in hf_quant_config.json for
 * ModelOpt's own tools, in config.json for others.
 */
function quantization(algorithm: string, { block }: Scheme, kept: readonly string[]): Config {
  return { quant_algo: algorithm, kv_cache_quant_algo: null, group_size: block[1], exclude_modules: kept };
}

/** The labels that both dialects of ModelOpt write. @param algorithm ModelOpt's name of the scheme */
function labels(algorithm: string, scheme: Scheme): Pick<Dialect, "config" | "documents" | "warnings"> {
  return {
    warnings: [
      "transformers loads ModelOpt's folders without an error, and wrong: this is for vLLM, SGLang and TensorRT-LLM.",
    ],
    config: (kept) => ({
      quant_method: "modelopt",
      ...quantization(algorithm, scheme, kept),
      ignore: kept,
      producer: PRODUCER,
    }),
    documents: (kept) => [
      {
        name: "hf_quant_config.json",
        text: `${JSON.stringify({ producer: PRODUCER, quantization: quantization(algorithm, scheme, kept) }, null, 2)}\n`,
      },
    ],
  };
}

export const modelopt: Dialect = {
  name: "modelopt",
  about: "MXFP8 of NVIDIA ModelOpt: 1x32 blocks, UE8M0 scales as bytes",
  storage: {
    scheme: schemes.mxfp8,
    codes: { suffix: ".weight", dtype: "F8_E4M3" },
    scales: { suffix: ".weight_scale", dtype: "U8" },
  },
  ...labels("MXFP8", schemes.mxfp8),
};

/** NVFP4 for weights alone. For activations too, it would need scales that were measured on texts. */
export const modeloptNvfp4: Dialect = {
  name: "modelopt-nvfp4",
  about: "NVFP4 weights of NVIDIA ModelOpt: 1x16 blocks, E4M3 scales times a float32",
  storage: {
    scheme: schemes.nvfp4,
    codes: { suffix: ".weight", dtype: "U8" },
    scales: { suffix: ".weight_scale", dtype: "F8_E4M3" },
    tensorScale: { suffix: ".weight_scale_2", divides: false },
  },
  ...labels("W4A16_NVFP4", schemes.nvfp4),
};
