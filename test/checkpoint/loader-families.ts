/** What a module is: `router` and `head` are linear layers for transformers, and never quantised by vLLM. */
type Kind = "linear" | "experts" | "router" | "head" | "other";

export interface Module {
  readonly name: string;
  readonly kind: Kind;
  /** In the checkpoint, with the shape of each. */
  readonly tensors: readonly (readonly [name: string, shape: readonly number[]])[];
}

/** Sizes at which nothing is square, and blocks of 128 come out even. */
export const HIDDEN = 256;
export const SIZE = 128;
export const VOCABULARY = 384;
const EXPERTS = 2;

const module = (kind: Kind, name: string, shape: readonly number[]): Module => ({
  name,
  kind,
  tensors: [[`${name}.weight`, shape]],
});
const linear = (name: string, rows: number, cols: number) => module("linear", name, [rows, cols]);
const router = (name: string, count = EXPERTS) => module("router", name, [count, HIDDEN]);
const norm = (name: string) => module("other", name, [HIDDEN]);

const attention = (at: string, parts = ["q", "k", "v", "o"]) =>
  parts.map((part) => linear(`${at}.${part}_proj`, HIDDEN, HIDDEN));
const gated = (at: string, size = SIZE * 2) => [
  linear(`${at}.gate_proj`, size, HIDDEN),
  linear(`${at}.up_proj`, size, HIDDEN),
  linear(`${at}.down_proj`, HIDDEN, size),
];

/** Experts with tensors of their own, which loaders put in one module. */
function each(
  at: string,
  parts: readonly [string, string, string] = ["gate_proj", "up_proj", "down_proj"],
): Module {
  const tensors = Array.from({ length: EXPERTS }, (_, e) =>
    parts.map((part, i) => [`${at}.${e}.${part}.weight`, i < 2 ? [SIZE, HIDDEN] : [HIDDEN, SIZE]] as const),
  );
  return { name: at, kind: "experts", tensors: tensors.flat() };
}

/** Experts in one tensor. */
function stacked(at: string, isTransposed = false): Module {
  const shapeOf = (rows: number, cols: number) =>
    isTransposed ? [EXPERTS, cols, rows] : [EXPERTS, rows, cols];
  return {
    name: at,
    kind: "experts",
    tensors: [
      [`${at}.gate_up_proj`, shapeOf(2 * SIZE, HIDDEN)],
      [`${at}.down_proj`, shapeOf(HIDDEN, SIZE)],
    ],
  };
}

const ends = (base: string, head: string | null = "lm_head"): Module[] => [
  module("other", `${base}embed_tokens`, [VOCABULARY, HIDDEN]),
  norm(`${base}norm`),
  // A head that is tied to the embedding has no tensor.
  head === null ? { name: "lm_head", kind: "head", tensors: [] } : module("head", head, [VOCABULARY, HIDDEN]),
];

const L = "model.layers.0";
const latent = [
  linear(`${L}.self_attn.q_a_proj`, 128, HIDDEN),
  norm(`${L}.self_attn.q_a_layernorm`),
  linear(`${L}.self_attn.q_b_proj`, HIDDEN, 128),
  linear(`${L}.self_attn.kv_a_proj_with_mqa`, 192, HIDDEN),
  linear(`${L}.self_attn.kv_b_proj`, HIDDEN, 128),
  linear(`${L}.self_attn.o_proj`, HIDDEN, HIDDEN),
];
const vision = (at: string) => [
  linear(`${at}.blocks.0.attn.qkv`, 3 * HIDDEN, HIDDEN),
  linear(`${at}.blocks.0.mlp.linear_fc1`, 512, HIDDEN),
  linear(`${at}.merger.linear_fc1`, 512, HIDDEN),
];

/** The modules of a small model of each family, and its `model_type`. */
export const families: Record<string, { readonly type: string; readonly modules: readonly Module[] }> = {
  Llama: {
    type: "llama",
    modules: [...ends("model."), ...attention(`${L}.self_attn`), ...gated(`${L}.mlp`)],
  },
  Qwen3: {
    type: "qwen3",
    modules: [
      ...ends("model.", null),
      ...attention(`${L}.self_attn`),
      norm(`${L}.self_attn.q_norm`),
      ...gated(`${L}.mlp`),
    ],
  },
  "Qwen3-MoE": {
    type: "qwen3_moe",
    modules: [
      ...ends("model."),
      ...attention(`${L}.self_attn`),
      router(`${L}.mlp.gate`),
      each(`${L}.mlp.experts`),
    ],
  },
  "Qwen3-VL-MoE": {
    type: "qwen3_vl_moe",
    modules: [
      ...ends("model.language_model."),
      ...vision("model.visual"),
      ...attention("model.language_model.layers.0.self_attn"),
      router("model.language_model.layers.0.mlp.gate"),
      stacked("model.language_model.layers.0.mlp.experts", true),
    ],
  },
  "Qwen3.5-MoE": {
    type: "qwen3_5_moe",
    modules: [
      ...ends("model.language_model."),
      ...vision("model.visual"),
      linear("model.language_model.layers.0.linear_attn.in_proj_qkv", 512, HIDDEN),
      linear("model.language_model.layers.0.linear_attn.in_proj_z", HIDDEN, HIDDEN),
      linear("model.language_model.layers.0.linear_attn.in_proj_a", 16, HIDDEN),
      linear("model.language_model.layers.0.linear_attn.in_proj_b", 16, HIDDEN),
      linear("model.language_model.layers.0.linear_attn.out_proj", HIDDEN, HIDDEN),
      ...attention("model.language_model.layers.1.self_attn"),
      router("model.language_model.layers.0.mlp.gate"),
      stacked("model.language_model.layers.0.mlp.experts"),
      ...gated("model.language_model.layers.0.mlp.shared_expert"),
      router("model.language_model.layers.0.mlp.shared_expert_gate", 1),
    ],
  },
  "Llama-4": {
    type: "llama4",
    modules: [
      ...ends("language_model.model.", "language_model.lm_head"),
      linear("multi_modal_projector.linear_1", HIDDEN, 512),
      linear("vision_model.model.layers.0.self_attn.q_proj", HIDDEN, HIDDEN),
      ...attention("language_model.model.layers.0.self_attn"),
      router("language_model.model.layers.0.feed_forward.router"),
      stacked("language_model.model.layers.0.feed_forward.experts", true),
      ...gated("language_model.model.layers.0.feed_forward.shared_expert"),
    ],
  },
  "DeepSeek-V3": {
    type: "deepseek_v3",
    modules: [
      ...ends("model."),
      ...latent,
      router(`${L}.mlp.gate`),
      each(`${L}.mlp.experts`),
      ...gated(`${L}.mlp.shared_experts`),
      linear("model.layers.1.eh_proj", HIDDEN, 2 * HIDDEN),
    ],
  },
  "gpt-oss": {
    type: "gpt_oss",
    modules: [
      ...ends("model."),
      ...attention(`${L}.self_attn`),
      router(`${L}.mlp.router`),
      stacked(`${L}.mlp.experts`, true),
    ],
  },
  Mixtral: {
    type: "mixtral",
    modules: [
      ...ends("model."),
      ...attention(`${L}.self_attn`),
      router(`${L}.block_sparse_moe.gate`),
      each(`${L}.block_sparse_moe.experts`, ["w1", "w3", "w2"]),
    ],
  },
  "GLM-4-MoE": {
    type: "glm4_moe",
    modules: [
      ...ends("model."),
      ...attention(`${L}.self_attn`),
      router(`${L}.mlp.gate`),
      each(`${L}.mlp.experts`),
      ...gated(`${L}.mlp.shared_experts`),
      ...gated("model.layers.1.mlp"),
    ],
  },
  "Gemma-3": {
    type: "gemma3",
    modules: [
      ...ends("language_model.model.", null),
      linear("vision_tower.vision_model.encoder.layers.0.self_attn.q_proj", HIDDEN, HIDDEN),
      ...attention("language_model.model.layers.0.self_attn"),
      ...gated("language_model.model.layers.0.mlp"),
    ],
  },
  "Phi-4": {
    type: "phi3",
    modules: [
      ...ends("model."),
      linear(`${L}.self_attn.qkv_proj`, 512, HIDDEN),
      linear(`${L}.self_attn.o_proj`, HIDDEN, HIDDEN),
      linear(`${L}.mlp.gate_up_proj`, 512, HIDDEN),
      linear(`${L}.mlp.down_proj`, HIDDEN, HIDDEN),
    ],
  },
};
