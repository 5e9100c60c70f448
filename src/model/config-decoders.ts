import type { DecoderConfig, HeadAttention, LatentAttention, Layer } from "./config.ts";
import { deepseekExperts, expertsOf, qwen3Experts } from "./config-experts.ts";
import { activationOf, endTokensOf, layerCount, positive, refuseUnless } from "./config-fields.ts";
import { type Json, optionalNumber, optionalSize } from "./json.ts";
import { ropeOf, yarnMscale } from "./rope.ts";

/** What a model of the family has that Llama has not, or has otherwise. */
interface DecoderTraits {
  readonly hasNorms?: boolean;
  readonly hasSinks?: boolean;
  readonly window?: (layer: number) => number;
  readonly mlp?: (layer: number) => Layer["mlp"];
  readonly attention?: LatentAttention;
  readonly ropeDim?: number;
  readonly isInterleaved?: boolean;
  readonly attentionScale?: number;
  readonly gateUpLimit?: number;
  readonly rope?: Json;
  readonly localRope?: Json;
  readonly embeddingScale?: number;
  readonly normOffset?: 1;
  readonly hasPostNorms?: boolean;
}

/**
 * Most dimensions that turn with the position, far above any model: tables of angles are made
 * before shapes are compared with the tensors.
 */
const MOST_ROTATED = 65_536;

/** The family of Llama: RMS norms before attention and MLP, rotary positions, gated feed-forward. */
export function decoder(
  where: string,
  config: Json,
  architecture: string,
  traits: DecoderTraits,
): DecoderConfig {
  const hidden = positive(where, config, "hidden_size");
  const headDim =
    optionalSize(where, config, "head_dim") ?? hidden / positive(where, config, "num_attention_heads");
  const context = positive(where, config, "max_position_embeddings");
  const size = optionalSize(where, config, "intermediate_size") ?? 0;
  const attention = traits.attention ?? headAttention(where, config, headDim, traits);
  const rotary = traits.rope ?? ropeParameters(config);
  const rotatedShare = optionalNumber(where, { ...rotary, ...config }, "partial_rotary_factor") ?? 1;
  const rotated = traits.ropeDim ?? headDim * rotatedShare;
  refuseUnless(where, "head_dim", rotated <= MOST_ROTATED, `at most ${MOST_ROTATED}`, String(rotated));
  const count = layerCount(where, config);
  const epsilon = optionalNumber(where, config, "rms_norm_eps") ?? 1e-6;
  refuseUnless(where, "rms_norm_eps", epsilon >= 0, "0 or more", String(epsilon));
  const rope = (parameters: Json) =>
    ropeOf(where, parameters, rotated, context, traits.isInterleaved ?? false);
  return {
    kind: "decoder",
    architecture,
    hidden,
    vocabulary: positive(where, config, "vocab_size"),
    context,
    epsilon,
    isTied: config.tie_word_embeddings === true,
    layers: Array.from({ length: count }, (_, i) => ({
      attention,
      mlp: traits.mlp?.(i) ?? { kind: "dense", size },
      window: traits.window?.(i) ?? 0,
    })),
    rope: rope(rotary),
    localRope: traits.localRope === undefined ? null : rope(traits.localRope),
    embeddingScale: traits.embeddingScale ?? 1,
    normOffset: traits.normOffset ?? 0,
    hasPostNorms: traits.hasPostNorms ?? false,
    attentionScale: traits.attentionScale ?? headDim ** -0.5,
    activation: activationOf(where, config),
    gateUpLimit: traits.gateUpLimit ?? null,
    endTokens: endTokensOf(config),
  };
}

function headAttention(where: string, config: Json, headDim: number, traits: DecoderTraits): HeadAttention {
  const heads = positive(where, config, "num_attention_heads");
  const keyHeads = optionalSize(where, config, "num_key_value_heads") ?? heads;
  refuseUnless(where, "head_dim", headDim % 8 === 0 && headDim > 0, "a multiple of 8", String(headDim));
  refuseUnless(
    where,
    "num_key_value_heads",
    keyHeads > 0 && heads % keyHeads === 0,
    `a divisor of num_attention_heads, ${heads}`,
    String(keyHeads),
  );
  const { hasNorms = false, hasSinks = false } = traits;
  return { kind: "heads", heads, keyHeads, headDim, hasNorms, hasSinks };
}

/** `rope_parameters`, or what older files have instead. */
export function ropeParameters(config: Json): Json {
  const { rope_parameters: parameters, rope_scaling: scaling, rope_theta: theta } = config;
  return { rope_theta: theta ?? 10000, ...((scaling ?? {}) as Json), ...((parameters ?? {}) as Json) };
}

function qwenWindow(where: string, config: Json): (layer: number) => number {
  if (config.use_sliding_window !== true) return () => 0;
  const window = optionalSize(where, config, "sliding_window") ?? 0;
  const from = optionalSize(where, config, "max_window_layers") ?? 0;
  const types = config.layer_types;
  return (layer) =>
    (Array.isArray(types) ? types[layer] === "sliding_attention" : layer >= from) ? window : 0;
}

export function mistral(where: string, config: Json, name: string): DecoderConfig {
  return decoder(where, config, name, { window: () => optionalSize(where, config, "sliding_window") ?? 0 });
}

export function qwen2(where: string, config: Json, name: string): DecoderConfig {
  return decoder(where, config, name, { window: qwenWindow(where, config) });
}

export function qwen3(where: string, config: Json, name: string): DecoderConfig {
  return decoder(where, config, name, { hasNorms: true, window: qwenWindow(where, config) });
}

export function qwen3Moe(where: string, config: Json, name: string): DecoderConfig {
  const mlp = qwen3Experts(where, config);
  return decoder(where, config, name, { hasNorms: true, window: qwenWindow(where, config), mlp });
}

/** GLM-4.5 and later: grouped queries, half of each head with positions, and the experts of DeepSeek-V3. */
export function glm4(where: string, config: Json, name: string): DecoderConfig {
  const hasNorms = config.use_qk_norm === true;
  return decoder(where, config, name, { hasNorms, mlp: deepseekExperts(where, config) });
}

/** DeepSeek-V3 and Kimi-K2. */
export function deepseek(where: string, config: Json, name: string): DecoderConfig {
  const unrotatedDim = positive(where, config, "qk_nope_head_dim");
  const ropeDim = positive(where, config, "qk_rope_head_dim");
  const attention: LatentAttention = {
    kind: "latent",
    heads: positive(where, config, "num_attention_heads"),
    queryRank: optionalSize(where, config, "q_lora_rank") || null,
    rank: positive(where, config, "kv_lora_rank"),
    unrotatedDim,
    ropeDim,
    valueDim: positive(where, config, "v_head_dim"),
  };
  for (const key of ["qk_nope_head_dim", "qk_rope_head_dim", "kv_lora_rank", "v_head_dim"]) {
    const value = positive(where, config, key);
    refuseUnless(where, key, value % 4 === 0, "a multiple of 4", String(value));
  }
  const parameters = ropeParameters(config);
  const all = optionalNumber(where, parameters, "mscale_all_dim") ?? 0;
  const scale = optionalNumber(where, parameters, "factor") ?? 1;
  const mscale = all ? yarnMscale(scale, all) : 1;
  return decoder(where, config, name, {
    attention,
    ropeDim,
    isInterleaved: config.rope_interleave !== false,
    attentionScale: (unrotatedDim + ropeDim) ** -0.5 * mscale * mscale,
    mlp: deepseekExperts(where, config),
  });
}

export function gptOss(where: string, config: Json, name: string): DecoderConfig {
  const types = config.layer_types;
  const window = optionalSize(where, config, "sliding_window") ?? 0;
  const experts = expertsOf(where, config, "num_local_experts", {
    size: positive(where, config, "intermediate_size"),
    routing: "softmaxOfChosen",
    isNormalized: false,
    names: { router: "router", correction: null, shared: null, layout: "stacked" },
  });
  return decoder(where, config, name, {
    hasSinks: true,
    window: (layer) =>
      (Array.isArray(types) ? types[layer] === "sliding_attention" : layer % 2 === 0) ? window : 0,
    mlp: () => experts,
    gateUpLimit: optionalNumber(where, config, "swiglu_limit") ?? 7,
  });
}
