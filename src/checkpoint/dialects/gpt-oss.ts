import { schemes } from "../../tensor/schemes.ts";
import type { Dialect, WeightStorage } from "./dialect.ts";

const STORAGE: WeightStorage = {
  scheme: schemes.mxfp4,
  codes: { suffix: "_blocks", dtype: "U8" },
  scales: { suffix: "_scales", dtype: "U8" },
  transposesStacks: true,
};

/** Loaders build the stacked experts of gpt-oss in MXFP4, and nothing else. */
export const gptOss: Dialect = {
  name: "gpt-oss",
  about: "gpt-oss: its stacked experts in MXFP4 (1x32), everything else as it is",
  storage: STORAGE,
  storageOf({ name, shape }, config) {
    // Stacks of other models lie the other way round.
    if (config !== null && config.model_type !== "gpt_oss")
      return "no model of gpt-oss, which this dialect is for";
    return shape.length === 3 && /\.experts\.(gate_up_proj|down_proj)$/.test(name)
      ? STORAGE
      : "no stack of experts: loaders of gpt-oss take it in high precision";
  },
  config: (kept) => ({ quant_method: "mxfp4", modules_to_not_convert: kept }),
};
