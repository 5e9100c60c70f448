import type { Maker } from "./maker.ts";

/**
 * DeepSeek, Qwen, Kimi-K2, GLM, MiniMax, and transformers' own FP8: multipliers, whatever
 * the "inv" says. DeepSeek-V4 says `X.scale`.
 */
export const deepseek: Maker = {
  name: "DeepSeek, Qwen and others in transformers",
  scales: (weight, module) => [`${weight}_scale_inv`, `${module}.scale`],
  blocks: ({ weight_block_size: size }) => [size],
};
