import type { Maker } from "./maker.ts";

/** NVIDIA ModelOpt, MIXED_PRECISION too: what a layer is, its tensors tell. */
export const modelopt: Maker = {
  name: "ModelOpt",
  // Stacks of experts have no `.weight` in their name, but in those of their scales.
  scales: (weight, module) => [`${weight}_scale`, ...(weight === module ? [`${weight}_weight_scale`] : [])],
  tensorScale: { suffix: "_scale_2", divides: false },
  quantizationExtras: /(^|[._])([kv]_scale|kv_scale|output_scale|input_scale)$/,
};
