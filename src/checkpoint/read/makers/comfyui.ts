import type { Maker } from "./maker.ts";

/** ComfyUI: `scaled_fp8` files, and its later `comfy_quant` layers. */
export const comfyui: Maker = {
  name: "ComfyUI",
  scales: (weight, module) => [`${weight}_scale`, `${module}.scale_weight`],
  quantizationExtras: /(^|[._])(scale_input|comfy_quant)$|^scaled_fp8$/,
};
