import type { Config } from "../checkpoint.ts";
import { int4Weight } from "../int4.ts";
import type { Maker } from "./maker.ts";

/** llm-compressor; its config has a group of settings for each kind of layer. */
export const compressedTensors: Maker = {
  name: "compressed-tensors",
  scales: (weight) => [`${weight}_scale`],
  tensorScale: { suffix: "_global_scale", divides: true },
  packed: int4Weight,
  blocks: ({ config_groups: groups }) =>
    Object.values((groups ?? {}) as object).map((group: Config | null) => {
      const { block_structure: structure, group_size: size } = (group?.weights ?? {}) as Config;
      return structure ?? [1, size];
    }),
  quantizationExtras:
    /(^|[._])([qkv]_scale|kv_scale|prob_scale|output_scale|input_scale|input_global_scale)$/,
};
