import { schemes } from "../../tensor/schemes.ts";
import type { Dialect } from "./dialect.ts";

export const mxfp8: Dialect = {
  name: "mxfp8",
  about: "MXFP8 as transformers reads it: 1x32 blocks, UE8M0 scales as bytes",
  storage: {
    scheme: schemes.mxfp8,
    codes: { suffix: ".weight", dtype: "F8_E4M3" },
    scales: { suffix: ".weight_scale_inv", dtype: "U8" },
  },
  warnings: [
    "vLLM looks for these scales under another name, for all models but a few such as MiniMax: for vLLM write modelopt or compressed-tensors.",
  ],
  config: (kept) => ({
    activation_scheme: "dynamic",
    fmt: "e4m3",
    quant_method: "mxfp8",
    scale_fmt: "ue8m0",
    weight_block_size: [1, 32],
    ignored_layers: kept,
  }),
};
