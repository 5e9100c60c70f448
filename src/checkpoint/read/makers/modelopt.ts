import type { Maker } from "./maker.ts";

/** NVIDIA ModelOpt, MIXED_PRECISION too: what a layer is, its tensors tell. */
export const modelopt: Maker = {
  name: "ModelOpt",
  scales: (weight) => [`${weight}_scale`],
  tensorScale: { suffix: "_scale_2", divides: false },
  strays: /(^|[._])([kv]_scale|kv_scale|output_scale|input_scale)$/,
};
