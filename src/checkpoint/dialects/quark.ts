import { schemes } from "../../tensor/schemes.ts";
import type { Config } from "../read/checkpoint.ts";
import { compressedTensorsMxfp4 } from "./compressed-tensors.ts";
import type { Dialect, WeightStorage } from "./dialect.ts";

/** MXFP6 as Quark makes it: its `even_round` is the rule EVEN. Codes lie four to three bytes. */
const MXFP6: WeightStorage = {
  format: "mxfp6",
  scheme: { ...schemes.mxfp6, rounding: "even" },
  codes: { suffix: ".weight", dtype: "U8" },
  scales: { suffix: ".weight_scale", dtype: "U8" },
};

const MXFP4: WeightStorage = { ...MXFP6, format: "mxfp4", scheme: compressedTensorsMxfp4.storage.scheme };

/** What Quark says of a layer whose weights have a UE8M0 scale for 32 values. Activations are left alone. */
function layerConfig(dtype: "fp6_e2m3" | "fp4"): Config {
  return {
    weight: {
      dtype,
      is_dynamic: false,
      qscheme: "per_group",
      ch_axis: -1,
      group_size: 32,
      symmetric: null,
      round_method: "half_even",
      scale_type: "float",
      scale_format: "e8m0",
      scale_calculation_mode: "even",
      mx_element_dtype: null,
      observer_cls: "PerBlockMXObserver",
      is_scale_quant: false,
    },
    input_tensors: null,
    output_tensors: null,
    bias: null,
    target_device: null,
  };
}

const EXPERT = /\.experts\.\d+\./;

/**
 * A module in `exclude`. Loaders look for whole names, and for the experts of a layer as one module: all of
 * one kind are one pattern, which fits that module too.
 */
function keptName(module: string): string {
  if (!EXPERT.test(module)) return module;
  const [before, after] = module.split(EXPERT).map((part) => part.replaceAll(".", "\\."));
  return `re:${before}\\.experts(\\.\\d+\\.${after})?$`;
}

/** A module in `layer_quant_config`, where `*` stands for any text. */
function layerNames(module: string): string[] {
  if (!EXPERT.test(module)) return [module];
  const experts = `${module.split(EXPERT)[0]}.experts`;
  return [experts, module.replace(EXPERT, ".experts.*.")];
}

export const quarkMxfp6: Dialect = {
  name: "quark-mxfp6",
  about:
    "MXFP6 weights of AMD Quark and vLLM: E2M3 in 1x32 blocks, UE8M0 scales as bytes; overrides may choose MXFP4",
  storage: MXFP6,
  formats: { mxfp6: MXFP6, mxfp4: MXFP4 },
  warnings: [
    "Without the quantization_config of config.json nobody can tell the codes from E3M2. vLLM runs experts in MXFP6 only with activations in MXFP6, which these weights do not ask for: give experts mxfp4 by overrides, or keep them.",
  ],
  config: (kept, formats) => ({
    quant_method: "quark",
    quant_mode: "eager_mode",
    global_quant_config: layerConfig("fp6_e2m3"),
    layer_quant_config: Object.fromEntries(
      (formats.get("mxfp4") ?? []).flatMap(layerNames).map((name) => [name, layerConfig("fp4")]),
    ),
    layer_type_quant_config: {},
    kv_cache_quant_config: {},
    softmax_quant_spec: null,
    algo_config: null,
    exclude: [...new Set(kept.map(keptName))],
    export: {
      kv_cache_group: [],
      min_kv_scale: 0,
      pack_method: "reorder",
      weight_format: "real_quantized",
      weight_merge_groups: null,
    },
  }),
};
