import { comfyui } from "./comfyui.ts";
import { compressedTensors } from "./compressed-tensors.ts";
import { deepseek } from "./deepseek.ts";
import { fbgemm } from "./fbgemm.ts";
import { gptOss } from "./gpt-oss.ts";
import type { Maker } from "./maker.ts";
import { mistral } from "./mistral.ts";
import { modelopt } from "./modelopt.ts";
import { quark } from "./quark.ts";
import { quanto, torchao } from "./tensor-classes.ts";

export type { Block, Maker } from "./maker.ts";

/**
 * Everybody whose quantised weights are read. Where names differ for one
 * weight, no order decides: that is refused.
 */
export const makers: readonly Maker[] = [
  deepseek,
  compressedTensors,
  modelopt,
  comfyui,
  mistral,
  fbgemm,
  torchao,
  quanto,
  gptOss,
  quark,
];
