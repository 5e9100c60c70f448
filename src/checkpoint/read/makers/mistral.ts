import type { Maker } from "./maker.ts";

/** Mistral's own files (`consolidated.safetensors`). */
export const mistral: Maker = {
  name: "Mistral",
  scales: (_, module) => [`${module}.qscale_weight`],
  quantizationExtras: /(^|[._])qscale_act$/,
};
