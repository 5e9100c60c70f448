import { BlockscaleError } from "../tensor/errors.ts";
import { type Json, optionalNumber, optionalSize, sizeOf, wrong } from "./json.ts";
import type { ActivationName, RoutingName } from "./kernels.ts";
import { type Rope, ropeOf, yarnMscale } from "./rope.ts";

/** Attention with keys and values for each head, or for each group of heads. */
export interface HeadAttention {
  readonly kind: "heads";
  readonly heads: number;
  readonly keyHeads: number;
  readonly headDim: number;
  /** Whether queries and keys are normalised, each head by itself (Qwen3). */
  readonly hasNorms: boolean;
  /** Whether a score without a value takes part in each head's softmax (gpt-oss). */
  readonly hasSinks: boolean;
}

/** Attention over one latent vector a token (DeepSeek-V3's MLA). */
export interface LatentAttention {
  readonly kind: "latent";
  readonly heads: number;
  /** Of the latent queries; `null` where queries are made in one step. */
  readonly queryRank: number | null;
  /** Of the latent keys and values. */
  readonly rank: number;
  /** Of a head's query, the parts without positions and with them; and of its value. */
  readonly plainDim: number;
  readonly ropeDim: number;
  readonly valueDim: number;
}

/** A feed-forward block: down(activation(gate(x)) * up(x)). */
export interface Dense {
  readonly kind: "dense";
  readonly size: number;
}

/** Many of them, of which each token takes a few. */
export interface Experts {
  readonly kind: "experts";
  readonly size: number;
  readonly count: number;
  readonly chosen: number;
  readonly routing: RoutingName;
  readonly isNormalized: boolean;
  readonly factor: number;
  readonly groups: number;
  readonly chosenGroups: number;
  /** Of the shared expert that every token takes; 0 for none. */
  readonly sharedSize: number;
  /** Names of the tensors below the block's. */
  readonly names: ExpertNames;
}

export interface ExpertNames {
  readonly router: string;
  readonly correction: string | null;
  readonly shared: string | null;
  /** How experts lie: each with its own tensors, or all in one, gate and up in turn (gpt-oss). */
  readonly layout: "each" | "stacked";
}

export interface Layer {
  readonly attention: HeadAttention | LatentAttention;
  readonly block: Dense | Experts;
  /** How many tokens back attention reaches; 0 for all. */
  readonly window: number;
}

/** A model that predicts the next token. A plain record, which can be cloned to a worker. */
export interface DecoderConfig {
  readonly kind: "decoder";
  readonly architecture: string;
  readonly hidden: number;
  readonly vocabulary: number;
  readonly context: number;
  readonly epsilon: number;
  readonly isTied: boolean;
  readonly layers: readonly Layer[];
  readonly rope: Rope;
  /** What scores are multiplied by. */
  readonly attentionScale: number;
  readonly activation: ActivationName;
  /** Of the clamped SwiGLU with gate and up in turn; `null` for the usual one. */
  readonly pairLimit: number | null;
  /** Tokens that end an answer. */
  readonly ends: readonly number[];
}

/** A model that turns a text into a vector for each token, all of which see one another. */
export interface EncoderConfig {
  readonly kind: "encoder";
  readonly architecture: string;
  readonly hidden: number;
  readonly vocabulary: number;
  /** Tokens of a text, at most. */
  readonly context: number;
  /** The position of the first token. */
  readonly firstPosition: number;
  readonly positions: number;
  readonly epsilon: number;
  readonly layers: readonly { readonly heads: number; readonly headDim: number; readonly size: number }[];
  readonly activation: ActivationName;
  readonly ends: readonly number[];
}

export type ModelConfig = DecoderConfig | EncoderConfig;

type Reader = (where: string, config: Json, architecture: string) => ModelConfig;

/** What is known: an architecture is how its config.json becomes a record. */
const ARCHITECTURES: { readonly [name: string]: Reader } = {
  LlamaForCausalLM: (where, config, name) => decoder(where, config, name, {}),
  MistralForCausalLM: (where, config, name) =>
    decoder(where, config, name, { window: () => optionalSize(where, config, "sliding_window") ?? 0 }),
  Qwen2ForCausalLM: (where, config, name) =>
    decoder(where, config, name, { window: qwenWindow(where, config) }),
  Qwen3ForCausalLM: (where, config, name) =>
    decoder(where, config, name, { hasNorms: true, window: qwenWindow(where, config) }),
  Qwen3MoeForCausalLM: (where, config, name) =>
    decoder(where, config, name, {
      hasNorms: true,
      window: qwenWindow(where, config),
      block: qwen3Experts(where, config),
    }),
  DeepseekV3ForCausalLM: deepseek,
  KimiK2ForCausalLM: deepseek,
  GptOssForCausalLM: gptOss,
  BertModel: encoder,
  BertForMaskedLM: encoder,
  XLMRobertaModel: encoder,
  XLMRobertaForMaskedLM: encoder,
  RobertaModel: encoder,
};

/** Names that mean the same to this package. */
const ALIASES: { readonly [name: string]: string } = {
  Qwen2Model: "Qwen2ForCausalLM",
  Qwen3Model: "Qwen3ForCausalLM",
  LlamaModel: "LlamaForCausalLM",
  MistralModel: "MistralForCausalLM",
};

/** The architectures that can be run, by the names of config.json. */
export const architectures: readonly string[] = Object.keys(ARCHITECTURES);

/**
 * What a forward pass has to know of config.json.
 * @throws BlockscaleError `dialect`: an unknown architecture, or sizes that make no sense
 */
export function modelConfigOf(config: Json | null, where = "config.json"): ModelConfig {
  if (config === null) {
    throw new BlockscaleError("dialect", {
      where,
      expected: "the config.json of the model among its files",
      got: "none",
      fix: "Fetch it from where the weights came from.",
    });
  }
  const { architectures: named } = config;
  const given = Array.isArray(named) ? String(named[0]) : "";
  const name = Object.hasOwn(ALIASES, given) ? ALIASES[given]! : given;
  if (Object.hasOwn(ARCHITECTURES, name)) return ARCHITECTURES[name]!(where, config, name);
  throw new BlockscaleError("dialect", {
    where: `${where}: architectures`,
    expected: `one of ${architectures.join(", ")}`,
    got: given === "" ? "none" : given,
    fix: "Run this model with another engine, or ask for the architecture.",
  });
}

interface DecoderParts {
  readonly hasNorms?: boolean;
  readonly hasSinks?: boolean;
  readonly window?: (layer: number) => number;
  readonly block?: (layer: number) => Layer["block"];
  readonly attention?: LatentAttention;
  readonly ropeDim?: number;
  readonly isInterleaved?: boolean;
  readonly attentionScale?: number;
  readonly pairLimit?: number;
}

/**
 * Far above any model, and few enough that a record of a hostile config.json takes neither memory nor time:
 * records are made before the tensors' shapes are compared with them.
 */
const MOST_LAYERS = 10_000;
const MOST_ROTATED = 65_536;

/** The family of Llama: RMS norms before attention and block, rotary positions, gated feed-forward. */
function decoder(where: string, config: Json, architecture: string, parts: DecoderParts): DecoderConfig {
  const hidden = positive(where, config, "hidden_size");
  const heads = positive(where, config, "num_attention_heads");
  const keyHeads = optionalSize(where, config, "num_key_value_heads") ?? heads;
  const headDim = optionalSize(where, config, "head_dim") ?? hidden / heads;
  const context = positive(where, config, "max_position_embeddings");
  const size = optionalSize(where, config, "intermediate_size") ?? 0;
  const attention = parts.attention ?? {
    kind: "heads",
    heads,
    keyHeads,
    headDim,
    hasNorms: parts.hasNorms ?? false,
    hasSinks: parts.hasSinks ?? false,
  };
  if (attention.kind === "heads") {
    refuseUnless(where, "head_dim", headDim % 8 === 0 && headDim > 0, "a multiple of 8", String(headDim));
    refuseUnless(
      where,
      "num_key_value_heads",
      keyHeads > 0 && heads % keyHeads === 0,
      `a divisor of num_attention_heads, ${heads}`,
      String(keyHeads),
    );
  }
  const rotated = (parts.ropeDim ?? headDim) * (optionalNumber(where, config, "partial_rotary_factor") ?? 1);
  refuseUnless(where, "head_dim", rotated <= MOST_ROTATED, `at most ${MOST_ROTATED}`, String(rotated));
  const count = layerCount(where, config);
  return {
    kind: "decoder",
    architecture,
    hidden,
    vocabulary: positive(where, config, "vocab_size"),
    context,
    epsilon: optionalNumber(where, config, "rms_norm_eps") ?? 1e-6,
    isTied: config.tie_word_embeddings === true,
    layers: Array.from({ length: count }, (_, i) => ({
      attention,
      block: parts.block?.(i) ?? { kind: "dense", size },
      window: parts.window?.(i) ?? 0,
    })),
    rope: ropeOf(where, ropeParameters(config), rotated, context, parts.isInterleaved ?? false),
    attentionScale: parts.attentionScale ?? headDim ** -0.5,
    activation: activationOf(where, config),
    pairLimit: parts.pairLimit ?? null,
    ends: endsOf(config),
  };
}

/** `rope_parameters`, or what older files have instead. */
function ropeParameters(config: Json): Json {
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

function qwen3Experts(where: string, config: Json): (layer: number) => Layer["block"] {
  const step = optionalSize(where, config, "decoder_sparse_step") ?? 1;
  const plain = (config.mlp_only_layers ?? []) as unknown[];
  const key = config.num_experts === undefined ? "num_local_experts" : "num_experts";
  const experts = expertsOf(where, config, key, {
    size: positive(where, config, "moe_intermediate_size"),
    routing: "softmax",
    isNormalized: config.norm_topk_prob === true,
    names: { router: "gate", correction: null, shared: null, layout: "each" },
  });
  const dense: Dense = { kind: "dense", size: positive(where, config, "intermediate_size") };
  return (layer) => (!plain.includes(layer) && step > 0 && (layer + 1) % step === 0 ? experts : dense);
}

/** Fields of {@link Experts} that are not given are those of a plain softmax router. */
function expertsOf(
  where: string,
  config: Json,
  key: string,
  fields: Pick<Experts, "size" | "routing" | "isNormalized" | "names"> & Partial<Experts>,
): Experts {
  const count = positive(where, config, key);
  const chosen = positive(where, config, "num_experts_per_tok");
  refuseUnless(where, "num_experts_per_tok", chosen <= count, `at most ${key}, ${count}`, String(chosen));
  return { kind: "experts", count, chosen, factor: 1, groups: 1, chosenGroups: 1, sharedSize: 0, ...fields };
}

function deepseek(where: string, config: Json, name: string): DecoderConfig {
  const plainDim = positive(where, config, "qk_nope_head_dim");
  const ropeDim = positive(where, config, "qk_rope_head_dim");
  const attention: LatentAttention = {
    kind: "latent",
    heads: positive(where, config, "num_attention_heads"),
    queryRank: optionalSize(where, config, "q_lora_rank") || null,
    rank: positive(where, config, "kv_lora_rank"),
    plainDim,
    ropeDim,
    valueDim: positive(where, config, "v_head_dim"),
  };
  for (const key of ["qk_nope_head_dim", "qk_rope_head_dim", "kv_lora_rank", "v_head_dim"]) {
    const value = positive(where, config, key);
    refuseUnless(where, key, value % 4 === 0, "a multiple of 4", String(value));
  }
  const size = positive(where, config, "moe_intermediate_size");
  const shared = optionalSize(where, config, "n_shared_experts") ?? 0;
  const groups = optionalSize(where, config, "n_group") || 1;
  const experts = expertsOf(where, config, "n_routed_experts", {
    size,
    routing: "sigmoid",
    isNormalized: config.norm_topk_prob !== false,
    factor: optionalNumber(where, config, "routed_scaling_factor") ?? 1,
    groups,
    chosenGroups: optionalSize(where, config, "topk_group") || 1,
    sharedSize: shared * size,
    names: {
      router: "gate",
      correction: "gate.e_score_correction_bias",
      shared: shared > 0 ? "shared_experts" : null,
      layout: "each",
    },
  });
  refuseUnless(
    where,
    "n_group",
    experts.count % groups === 0,
    "a divisor of n_routed_experts",
    String(groups),
  );
  refuseUnless(
    where,
    "topk_group",
    experts.chosenGroups <= groups && experts.chosenGroups * (experts.count / groups) >= experts.chosen,
    "groups with enough experts for num_experts_per_tok",
    String(experts.chosenGroups),
  );
  const dense: Dense = { kind: "dense", size: positive(where, config, "intermediate_size") };
  const first = optionalSize(where, config, "first_k_dense_replace") ?? 0;
  const parameters = ropeParameters(config);
  const all = optionalNumber(where, parameters, "mscale_all_dim") ?? 0;
  const scale = optionalNumber(where, parameters, "factor") ?? 1;
  const mscale = all ? yarnMscale(scale, all) : 1;
  return decoder(where, config, name, {
    attention,
    ropeDim,
    isInterleaved: config.rope_interleave !== false,
    attentionScale: (plainDim + ropeDim) ** -0.5 * mscale * mscale,
    block: (layer) => (layer < first ? dense : experts),
  });
}

function gptOss(where: string, config: Json, name: string): DecoderConfig {
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
    block: () => experts,
    pairLimit: optionalNumber(where, config, "swiglu_limit") ?? 7,
  });
}

function encoder(where: string, config: Json, architecture: string): EncoderConfig {
  const hidden = positive(where, config, "hidden_size");
  const heads = positive(where, config, "num_attention_heads");
  refuseUnless(
    where,
    "num_attention_heads",
    hidden % heads === 0 && (hidden / heads) % 4 === 0,
    `heads of a multiple of 4 values of hidden_size, ${hidden}`,
    String(heads),
  );
  const positions = positive(where, config, "max_position_embeddings");
  // RoBERTa counts its positions from behind that of the padding token.
  const firstPosition = architecture.startsWith("Bert")
    ? 0
    : (optionalSize(where, config, "pad_token_id") ?? 1) + 1;
  refuseUnless(
    where,
    "max_position_embeddings",
    positions > firstPosition,
    `more than ${firstPosition}`,
    String(positions),
  );
  const layer = { heads, headDim: hidden / heads, size: positive(where, config, "intermediate_size") };
  return {
    kind: "encoder",
    architecture,
    hidden,
    vocabulary: positive(where, config, "vocab_size"),
    context: positions - firstPosition,
    firstPosition,
    positions,
    epsilon: optionalNumber(where, config, "layer_norm_eps") ?? 1e-12,
    layers: Array.from({ length: layerCount(where, config) }, () => layer),
    activation: activationOf(where, config),
    ends: endsOf(config),
  };
}

const ACTIVATIONS: { readonly [name: string]: ActivationName } = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
};

function activationOf(where: string, config: Json): ActivationName {
  const name = String(config.hidden_act ?? config.hidden_activation ?? "silu");
  if (Object.hasOwn(ACTIVATIONS, name)) return ACTIVATIONS[name]!;
  throw wrong(where, "hidden_act", `one of ${Object.keys(ACTIVATIONS).join(", ")}`, name);
}

function endsOf({ eos_token_id: ids }: Json): number[] {
  return (Array.isArray(ids) ? ids : [ids]).filter((id): id is number => Number.isSafeInteger(id));
}

function positive(where: string, config: Json, key: string): number {
  const value = sizeOf(where, config, key);
  refuseUnless(where, key, value > 0, "more than 0", "0");
  return value;
}

function layerCount(where: string, config: Json): number {
  const count = positive(where, config, "num_hidden_layers");
  refuseUnless(where, "num_hidden_layers", count <= MOST_LAYERS, `at most ${MOST_LAYERS}`, String(count));
  return count;
}

function refuseUnless(where: string, key: string, holds: boolean, expected: string, got: string): void {
  if (!holds) throw wrong(where, key, expected, got);
}
