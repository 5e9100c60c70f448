import { expect, test } from "vitest";
import { modelConfigOf } from "../../src/model/config.ts";
import { openModel } from "../../src/model/open.ts";
import { gemma3Logits } from "../reference/gemma3.ts";
import { fileWith, valuesAs } from "../support/checkpoint-files.ts";
import { decibels } from "../support/models.ts";
import { randomNormal } from "../support/random.ts";

const SIZES = {
  hidden: 72,
  heads: 4,
  keyHeads: 2,
  headDim: 32,
  layers: 4,
  pattern: 3,
  window: 6,
  theta: 1e6,
  factor: 8,
  localTheta: 1e4,
  epsilon: 1e-6,
  queryScalar: 24,
  embeddingScale: Math.sqrt(72),
} as const;
const [VOCABULARY, INNER] = [96, 80];

const CONFIG = {
  architectures: ["Gemma3ForCausalLM"],
  hidden_size: SIZES.hidden,
  num_hidden_layers: SIZES.layers,
  num_attention_heads: SIZES.heads,
  num_key_value_heads: SIZES.keyHeads,
  head_dim: SIZES.headDim,
  intermediate_size: INNER,
  hidden_activation: "gelu_pytorch_tanh",
  query_pre_attn_scalar: SIZES.queryScalar,
  sliding_window: SIZES.window,
  rms_norm_eps: SIZES.epsilon,
  vocab_size: VOCABULARY,
  max_position_embeddings: 512,
  eos_token_id: [90, 91],
};
/** As files of transformers 4 say it. */
const OLD = {
  rope_theta: SIZES.theta,
  rope_scaling: { rope_type: "linear", factor: SIZES.factor },
  rope_local_base_freq: SIZES.localTheta,
  sliding_window_pattern: SIZES.pattern,
};
/** As transformers 5 does. */
const NEW = {
  rope_parameters: {
    full_attention: { rope_type: "linear", factor: SIZES.factor, rope_theta: SIZES.theta },
    sliding_attention: { rope_type: "default", rope_theta: SIZES.localTheta },
  },
  layer_types: Array.from({ length: SIZES.layers }, (_, i) =>
    (i + 1) % SIZES.pattern === 0 ? "full_attention" : "sliding_attention",
  ),
};

/** Random weights by their names: matrices that keep the size of what they meet, norms around 0. */
function weightsOf(): Map<string, { shape: number[]; values: Float32Array }> {
  const { hidden, heads, keyHeads, headDim } = SIZES;
  const found = new Map<string, { shape: number[]; values: Float32Array }>();
  const add = (name: string, shape: number[], make: (v: number) => number) => {
    const count = shape.reduce((a, b) => a * b, 1);
    found.set(`${name}.weight`, { shape, values: randomNormal(found.size + 1, count).map(make) });
  };
  const linear = (name: string, n: number, k: number) => add(name, [n, k], (v) => (1.5 * v) / Math.sqrt(k));
  const norm = (name: string, n: number) => add(name, [n], (v) => 0.2 * v);
  add("model.embed_tokens", [VOCABULARY, hidden], (v) => v / 8);
  for (let i = 0; i < SIZES.layers; i++) {
    const at = `model.layers.${i}`;
    for (const name of [
      "input_layernorm",
      "post_attention_layernorm",
      "pre_feedforward_layernorm",
      "post_feedforward_layernorm",
    ])
      norm(`${at}.${name}`, hidden);
    linear(`${at}.self_attn.q_proj`, heads * headDim, hidden);
    linear(`${at}.self_attn.k_proj`, keyHeads * headDim, hidden);
    linear(`${at}.self_attn.v_proj`, keyHeads * headDim, hidden);
    linear(`${at}.self_attn.o_proj`, hidden, heads * headDim);
    norm(`${at}.self_attn.q_norm`, headDim);
    norm(`${at}.self_attn.k_norm`, headDim);
    linear(`${at}.mlp.gate_proj`, INNER, hidden);
    linear(`${at}.mlp.up_proj`, INNER, hidden);
    linear(`${at}.mlp.down_proj`, hidden, INNER);
  }
  norm("model.norm", hidden);
  return found;
}

const weights = weightsOf();
const ids = Array.from({ length: 21 }, (_, i) => (i * 37) % VOCABULARY);

/** The files of a model; `prefix` stands in front of the names of tensors. */
function filesOf(config: object, prefix = "") {
  const tensors = [...weights].map(([name, { shape, values }]) =>
    valuesAs(`${prefix}${name}`, "F32", shape, values),
  );
  return new Map([
    ["config.json", new Blob([JSON.stringify(config)])],
    ["model.safetensors", fileWith(tensors)],
  ]);
}

async function logitsOf(files: ReadonlyMap<string, Blob>, threads = 1): Promise<Float32Array> {
  const model = await openModel(files, { threads });
  try {
    return await model.logits(ids);
  } finally {
    await model.close();
  }
}

const expected = Float32Array.from(gemma3Logits(weights, SIZES, ids).flat());

test.each([
  ["of transformers 4, 1 thread", OLD, 1],
  ["of transformers 4, 2 threads", OLD, 2],
  ["of transformers 5", NEW, 1],
] as const)("Gemma 3 gives the logits of its definition: files %s", async (_, rope, threads) => {
  const logits = await logitsOf(filesOf({ ...CONFIG, ...rope }), threads);
  expect(decibels(expected, logits)).toBeGreaterThan(100);
});

test("the text part of a model with vision is the same", async () => {
  const config = {
    architectures: ["Gemma3ForConditionalGeneration"],
    text_config: { ...CONFIG, ...OLD, eos_token_id: undefined },
    eos_token_id: 91,
    vision_config: {},
  };
  expect(decibels(expected, await logitsOf(filesOf(config, "language_model.")))).toBeGreaterThan(100);
  expect(modelConfigOf(config).endTokens).toEqual([91]);
});

test("token by token it gives what it gives at once", async () => {
  const model = await openModel(filesOf({ ...CONFIG, ...OLD }));
  const logits = await model.logits(ids);
  const best = (row: number) => {
    const values = logits.subarray(row * VOCABULARY, (row + 1) * VOCABULARY);
    return values.indexOf(Math.max(...values));
  };
  for (const length of [5, 12, 21]) {
    for await (const { id } of model.generate(ids.slice(0, length), { temperature: 0, maxTokens: 1 }))
      expect(id).toBe(best(length - 1));
  }
  await model.close();
});

test("the scale of embeddings is rounded as bfloat16 models do", () => {
  const scaleOf = (config: object) => {
    const found = modelConfigOf({ ...CONFIG, ...OLD, ...config });
    return found.kind === "decoder" ? found.embeddingScale : 0;
  };
  expect(scaleOf({ hidden_size: 3072 })).toBe(Math.fround(Math.sqrt(3072)));
  expect(scaleOf({ hidden_size: 3072, torch_dtype: "bfloat16" })).toBe(55.5);
  expect(scaleOf({ hidden_size: 3072, dtype: "bfloat16" })).toBe(55.5);
});

test.each([
  ["final_logit_softcapping", 30],
  ["attn_logit_softcapping", 50],
  ["use_bidirectional_attention", true],
])("refuses what it does not do: %s", (key, value) => {
  expect(() => modelConfigOf({ ...CONFIG, ...OLD, [key]: value })).toThrow(new RegExp(`config.json: ${key}`));
});
