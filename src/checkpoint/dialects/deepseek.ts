import { type Scheme, schemes } from "../../tensor/schemes.ts";
import type { Config } from "../read/checkpoint.ts";
import { configsOf } from "../read/quantization.ts";
import type { Dialect, NamedShape, StoredPart, WeightStorage } from "./dialect.ts";

/** The quantization_config that DeepSeek and Qwen write for square blocks. */
function squareConfig(kept: readonly string[], more: Config = {}): Config {
  return {
    activation_scheme: "dynamic",
    fmt: "e4m3",
    quant_method: "fp8",
    weight_block_size: [128, 128],
    ...more,
    modules_to_not_convert: kept,
  };
}

const CODES: StoredPart = { suffix: ".weight", dtype: "F8_E4M3" };
const MULTIPLIERS: StoredPart = { suffix: ".weight_scale_inv", dtype: "F32" };
const BYTES: StoredPart = { suffix: ".scale", dtype: "F8_E8M0" };

function squares(scheme: Scheme, scales: StoredPart): WeightStorage {
  return { scheme, codes: CODES, scales };
}

/**
 * Models whose checkpoints hold stacks as [experts, in, out], which loaders transpose only in high precision.
 */
const TRANSPOSED_STACKS: ReadonlySet<unknown> = new Set([
  "gpt_oss",
  "llama4",
  "llama4_text",
  "qwen3_vl_moe",
  "qwen3_vl_moe_text",
]);

/**
 * transformers keeps the experts of a layer as `gate_up_proj` [experts, 2 * size, hidden] and `down_proj`
 * [experts, hidden, size], and their scales beside them, one grid for each expert. vLLM cuts
 * `gate_up_proj` and its scales in two halves.
 */
function readsStack({ name, shape }: NamedShape, config: Config | null): true | string {
  const part = /\.experts\.(gate_up_proj|up_proj|down_proj)(\.weight)?$/.exec(name)?.[1];
  if (part === undefined) return "not 2-D";
  const isTransposed = configsOf(config).some(({ model_type: type }) => TRANSPOSED_STACKS.has(type));
  if (isTransposed) return "stack of experts [experts, in, out]: loaders read FP8 as [experts, out, in]";
  const [, rows, cols] = shape;
  const fits = configsOf(config).some(({ hidden_size: hidden, moe_intermediate_size, intermediate_size }) => {
    const size = Number(moe_intermediate_size ?? intermediate_size);
    const [wantedRows, wantedCols] =
      part === "down_proj" ? [hidden, size] : [part === "gate_up_proj" ? 2 * size : size, hidden];
    return rows === wantedRows && cols === wantedCols;
  });
  if (!fits) return "stack of experts whose sides are not those that config.json tells";
  const isCut = part === "gate_up_proj" && (rows! / 2) % 128 !== 0;
  return isCut ? "stack of experts in which gate and up would share a block of scales" : true;
}

export const deepseekV3: Dialect = {
  name: "deepseek-v3",
  about: "DeepSeek-V3, R1: 128x128 blocks, float32 scales",
  storage: squares(schemes.deepseekV3Weight, MULTIPLIERS),
  readsStack,
  config: (kept) => squareConfig(kept),
};

export const deepseekV31: Dialect = {
  name: "deepseek-v3.1",
  about: "DeepSeek-V3.1, V3.2: 128x128 blocks, power-of-two scales kept as float32",
  storage: squares(schemes.deepseekWeight, MULTIPLIERS),
  readsStack,
  config: (kept) => squareConfig(kept, { scale_fmt: "ue8m0" }),
};

const V4_SQUARES = squares(schemes.deepseekWeight, BYTES);

export const deepseekV4: Dialect = {
  name: "deepseek-v4",
  about: "DeepSeek-V4: 128x128 blocks, UE8M0 scales in tensors named .scale",
  storage: V4_SQUARES,
  config: (kept) => squareConfig(kept, { scale_fmt: "ue8m0" }),
};

/**
 * The smallest block that DeepSeek-V4 makes has 6 * 2^-126 as its largest
 * magnitude: a block of zeros has the scale 2^-126.
 */
const V4_EXPERTS: WeightStorage = {
  scheme: { ...schemes.mxfp4, amaxFloor: 6 * 2 ** -126, zeroScale: 1 },
  codes: { suffix: ".weight", dtype: "I8" },
  scales: BYTES,
};

/** The routed experts; those that all tokens share are stored like attention. */
function isRoutedExpert({ name }: NamedShape): boolean {
  return /\.experts\.\d+\./.test(name);
}

export const deepseekV4Fp4: Dialect = {
  name: "deepseek-v4-fp4",
  about: "DeepSeek-V4 as released: routed experts in FP4 (1x32), other linear layers in FP8 (128x128)",
  storage: V4_EXPERTS,
  storageOf: (weight) => (isRoutedExpert(weight) ? V4_EXPERTS : V4_SQUARES),
  config: (kept) => squareConfig(kept, { scale_fmt: "ue8m0" }),
  members: { expert_dtype: "fp4" },
};
