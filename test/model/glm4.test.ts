import { expect, test } from "vitest";
import { openModel } from "../../src/model/open.ts";
import { glm4Logits } from "../reference/glm4-moe.ts";
import { fileWith, valuesAs } from "../support/checkpoint-files.ts";
import { decibels } from "../support/models.ts";
import { randomNormal } from "../support/random.ts";

const SIZES = {
  hidden: 64,
  heads: 4,
  keyHeads: 2,
  headDim: 32,
  rotated: 16,
  theta: 1e6,
  epsilon: 1e-5,
  layers: 3,
  dense: 1,
  experts: 8,
  chosen: 2,
  groups: 2,
  chosenGroups: 1,
  factor: 2.5,
} as const;
const [VOCABULARY, INNER, EXPERT] = [96, 80, 40];

const CONFIG = {
  architectures: ["Glm4MoeForCausalLM"],
  hidden_size: SIZES.hidden,
  num_hidden_layers: SIZES.layers,
  num_attention_heads: SIZES.heads,
  num_key_value_heads: SIZES.keyHeads,
  head_dim: SIZES.headDim,
  intermediate_size: INNER,
  moe_intermediate_size: EXPERT,
  n_routed_experts: SIZES.experts,
  num_experts_per_tok: SIZES.chosen,
  n_shared_experts: 1,
  n_group: SIZES.groups,
  topk_group: SIZES.chosenGroups,
  norm_topk_prob: true,
  routed_scaling_factor: SIZES.factor,
  first_k_dense_replace: SIZES.dense,
  use_qk_norm: true,
  attention_bias: true,
  hidden_act: "silu",
  rms_norm_eps: SIZES.epsilon,
  vocab_size: VOCABULARY,
  max_position_embeddings: 512,
  tie_word_embeddings: false,
  eos_token_id: [90, 91],
};

/** Random weights by their names: matrices that keep the size of what they meet, norms around 1. */
function weightsOf(): Map<string, { shape: number[]; values: Float32Array }> {
  const { hidden, heads, keyHeads, headDim, experts } = SIZES;
  const found = new Map<string, { shape: number[]; values: Float32Array }>();
  const add = (name: string, shape: number[], make: (v: number) => number) => {
    const count = shape.reduce((a, b) => a * b, 1);
    found.set(name, { shape, values: randomNormal(found.size + 1, count).map(make) });
  };
  const linear = (name: string, n: number, k: number) =>
    add(`${name}.weight`, [n, k], (v) => (1.5 * v) / Math.sqrt(k));
  const norm = (name: string, n: number) => add(`${name}.weight`, [n], (v) => 1 + 0.2 * v);
  const gated = (name: string, size: number) => {
    linear(`${name}.gate_proj`, size, hidden);
    linear(`${name}.up_proj`, size, hidden);
    linear(`${name}.down_proj`, hidden, size);
  };
  add("model.embed_tokens.weight", [VOCABULARY, hidden], (v) => v);
  for (let i = 0; i < SIZES.layers; i++) {
    const at = `model.layers.${i}`;
    norm(`${at}.input_layernorm`, hidden);
    norm(`${at}.post_attention_layernorm`, hidden);
    for (const [which, count] of [
      ["q", heads],
      ["k", keyHeads],
      ["v", keyHeads],
    ] as const) {
      linear(`${at}.self_attn.${which}_proj`, count * headDim, hidden);
      add(`${at}.self_attn.${which}_proj.bias`, [count * headDim], (v) => 0.3 * v);
      if (which !== "v") norm(`${at}.self_attn.${which}_norm`, headDim);
    }
    linear(`${at}.self_attn.o_proj`, hidden, heads * headDim);
    if (i < SIZES.dense) {
      gated(`${at}.mlp`, INNER);
      continue;
    }
    linear(`${at}.mlp.gate`, experts, hidden);
    add(`${at}.mlp.gate.e_score_correction_bias`, [experts], (v) => 0.2 * v);
    gated(`${at}.mlp.shared_experts`, EXPERT);
    for (let e = 0; e < experts; e++) gated(`${at}.mlp.experts.${e}`, EXPERT);
  }
  norm("model.norm", hidden);
  linear("lm_head", VOCABULARY, hidden);
  return found;
}

test.each([1, 2])("GLM-4-MoE gives the logits of its definition: %i threads", async (threads) => {
  const weights = weightsOf();
  const tensors = [...weights].map(([name, { shape, values }]) => valuesAs(name, "F32", shape, values));
  const files = new Map([
    [
      "config.json",
      new Blob([JSON.stringify({ ...CONFIG, rope_theta: SIZES.theta, partial_rotary_factor: 0.5 })]),
    ],
    ["model.safetensors", fileWith(tensors)],
  ]);
  const ids = Array.from({ length: 21 }, (_, i) => (i * 37) % VOCABULARY);
  const expected = glm4Logits(weights, SIZES, ids).flat();
  const model = await openModel(files, { threads });
  const logits = await model.logits(ids);
  await model.close();
  expect(decibels(Float32Array.from(expected), logits)).toBeGreaterThan(100);
  // transformers 5 writes the factor among the parameters of rope.
  const parameters = { rope_type: "default", rope_theta: SIZES.theta, partial_rotary_factor: 0.5 };
  files.set("config.json", new Blob([JSON.stringify({ ...CONFIG, rope_parameters: parameters })]));
  const newer = await openModel(files, { threads });
  expect(decibels(Float32Array.from(expected), await newer.logits(ids))).toBeGreaterThan(100);
  await newer.close();
});
