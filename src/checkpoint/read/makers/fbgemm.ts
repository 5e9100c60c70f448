import type { Maker } from "./maker.ts";

/** FBGEMM, as Llama-3.1 and Llama-4 are released: stacks have a scale for each column of each expert. */
export const fbgemm: Maker = {
  name: "FBGEMM (Llama)",
  scales: (weight) => [`${weight}_scale`],
  quantizationExtras: /(^|[._])(input_scale_ub|activation_scale)$/,
};
