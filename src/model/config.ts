import { isRecord, kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { decoder, deepseek, glm4, gptOss, mistral, qwen2, qwen3, qwen3Moe } from "./config-decoders.ts";
import { encoder } from "./config-encoders.ts";
import { gemma3 } from "./config-gemma.ts";
import type { Json } from "./json.ts";
import type { ActivationName, RoutingName } from "./kernels.ts";
import type { Rope } from "./rope.ts";

/** Multi-head or grouped-query attention: each group of query heads shares one key-value head. */
export interface HeadAttention {
  readonly kind: "heads";
  /** Query heads, and key-value heads. */
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
  /** Rank of the latent queries; `null` where queries are made in one step. */
  readonly queryRank: number | null;
  /** Rank of the latent keys and values. */
  readonly rank: number;
  /** Sizes of a head: the parts of its query without and with positions, and its value. */
  /** Values of a head without positions: `qk_nope_head_dim`. */
  readonly unrotatedDim: number;
  readonly ropeDim: number;
  readonly valueDim: number;
}

/** A feed-forward network with a gate: down(activation(gate(x)) * up(x)). */
export interface DenseMlp {
  readonly kind: "dense";
  readonly size: number;
}

/** A mixture of experts: many feed-forward networks, of which each token takes a few. */
export interface ExpertsMlp {
  readonly kind: "experts";
  /** Rows of the matrices gate and up of one expert. */
  readonly size: number;
  /** How many experts there are, and how many of them each token takes. */
  readonly count: number;
  readonly chosen: number;
  /** How experts are chosen and weighted: see RoutingCall in calls.ts. */
  readonly routing: RoutingName;
  readonly isNormalized: boolean;
  readonly factor: number;
  readonly groups: number;
  readonly chosenGroups: number;
  /** Rows of the shared expert that every token takes; 0 for none. */
  readonly sharedSize: number;
  /** Names of the tensors below that of the MLP. */
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
  readonly mlp: DenseMlp | ExpertsMlp;
  /** Tokens of the sliding window of attention; 0 for all tokens. */
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
  /** RoPE of layers with a window, where their base differs (Gemma 3). */
  readonly localRope: Rope | null;
  /** What rows of the embedding table are multiplied by. */
  readonly embeddingScale: number;
  /** What is added to the weights of norms: 1 in Gemma, whose files store weight - 1. */
  readonly normOffset: 0 | 1;
  /** Whether the results of attention and MLP are normalised too, before they are added. */
  readonly hasPostNorms: boolean;
  /** What scores are multiplied by. */
  readonly attentionScale: number;
  readonly activation: ActivationName;
  /** Limit of the clamped SwiGLU, whose rows of gate and up alternate; `null` for the usual SwiGLU. */
  readonly gateUpLimit: number | null;
  /** Tokens that end an answer. */
  readonly endTokens: readonly number[];
}

/** A model that gives a vector for each token of a text; each token sees all others. */
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
  readonly endTokens: readonly number[];
}

export type ModelConfig = DecoderConfig | EncoderConfig;

type Reader = (where: string, config: Json, architecture: string) => ModelConfig;

/** The known architectures: each is a function that makes a record of config.json. */
const ARCHITECTURES: { readonly [name: string]: Reader } = {
  LlamaForCausalLM: (where, config, name) => decoder(where, config, name, {}),
  MistralForCausalLM: mistral,
  Qwen2ForCausalLM: qwen2,
  Qwen3ForCausalLM: qwen3,
  Qwen3MoeForCausalLM: qwen3Moe,
  Glm4MoeForCausalLM: glm4,
  DeepseekV3ForCausalLM: deepseek,
  KimiK2ForCausalLM: deepseek,
  GptOssForCausalLM: gptOss,
  Gemma3ForCausalLM: gemma3,
  Gemma3ForConditionalGeneration: gemma3,
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
  if (!isRecord(config)) {
    throw new BlockscaleError("dialect", {
      where,
      expected: "the config.json of the model among its files",
      got: config === null ? "none" : kindOf(config),
      fix: "Give the folder that holds it; fetch it from where the weights came from if it is missing.",
    });
  }
  const { architectures: named } = config as Json;
  const given = Array.isArray(named) ? String(named[0]) : "";
  const name = Object.hasOwn(ALIASES, given) ? ALIASES[given]! : given;
  if (Object.hasOwn(ARCHITECTURES, name)) return ARCHITECTURES[name]!(where, config as Json, name);
  throw new BlockscaleError("dialect", {
    where: `${where}: architectures`,
    expected: `one of ${architectures.join(", ")}`,
    got: given === "" ? "none" : given,
    fix: "Run this model with another program, or ask for the architecture.",
  });
}
