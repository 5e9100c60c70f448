// Checkpoints of the shapes of real models, with random weights: for benchmarks, and for trying what a model takes.
// node bench/checkpoints.mjs NAME FOLDER writes one; names are below.
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const qwen3 = (hidden, layers, heads, keyHeads, size, isTied) => ({
  config: {
    architectures: ["Qwen3ForCausalLM"],
    model_type: "qwen3",
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: keyHeads,
    head_dim: 128,
    intermediate_size: size,
    vocab_size: 151936,
    max_position_embeddings: 40960,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
    tie_word_embeddings: isTied,
    hidden_act: "silu",
    eos_token_id: 151645,
  },
  tensors: [
    ["model.embed_tokens.weight", [151936, hidden], isTied ? "fp8" : "bf16"],
    ...(isTied ? [] : [["lm_head.weight", [151936, hidden], "bf16"]]),
    ["model.norm.weight", [hidden], "norm"],
    ...Array.from({ length: layers }, (_, i) => {
      const at = `model.layers.${i}`;
      return [
        [`${at}.input_layernorm.weight`, [hidden], "norm"],
        [`${at}.post_attention_layernorm.weight`, [hidden], "norm"],
        [`${at}.self_attn.q_norm.weight`, [128], "norm"],
        [`${at}.self_attn.k_norm.weight`, [128], "norm"],
        [`${at}.self_attn.q_proj.weight`, [heads * 128, hidden], "fp8"],
        [`${at}.self_attn.k_proj.weight`, [keyHeads * 128, hidden], "fp8"],
        [`${at}.self_attn.v_proj.weight`, [keyHeads * 128, hidden], "fp8"],
        [`${at}.self_attn.o_proj.weight`, [hidden, heads * 128], "fp8"],
        [`${at}.mlp.gate_proj.weight`, [size, hidden], "fp8"],
        [`${at}.mlp.up_proj.weight`, [size, hidden], "fp8"],
        [`${at}.mlp.down_proj.weight`, [hidden, size], "fp8"],
      ];
    }).flat(),
  ],
});

/** Encoders of MiniLM's shapes. */
const miniLm = () => {
  const [hidden, layers, size] = [384, 6, 1536];
  const linear = (name, rows, cols) => [
    [`${name}.weight`, [rows, cols], "fp8"],
    [`${name}.bias`, [rows], "bias"],
  ];
  const norm = (name) => [
    [`${name}.weight`, [hidden], "norm"],
    [`${name}.bias`, [hidden], "bias"],
  ];
  return {
    config: {
      architectures: ["BertModel"],
      model_type: "bert",
      hidden_size: hidden,
      num_hidden_layers: layers,
      num_attention_heads: 12,
      intermediate_size: size,
      vocab_size: 30522,
      max_position_embeddings: 512,
      type_vocab_size: 2,
      layer_norm_eps: 1e-12,
      hidden_act: "gelu",
      pad_token_id: 0,
    },
    tensors: [
      ["embeddings.word_embeddings.weight", [30522, hidden], "fp8"],
      ["embeddings.position_embeddings.weight", [512, hidden], "fp8"],
      ["embeddings.token_type_embeddings.weight", [2, hidden], "bf16"],
      ...norm("embeddings.LayerNorm"),
      ...Array.from({ length: layers }, (_, i) => {
        const at = `encoder.layer.${i}`;
        return [
          ...["query", "key", "value"].flatMap((name) =>
            linear(`${at}.attention.self.${name}`, hidden, hidden),
          ),
          ...linear(`${at}.attention.output.dense`, hidden, hidden),
          ...norm(`${at}.attention.output.LayerNorm`),
          ...linear(`${at}.intermediate.dense`, size, hidden),
          ...linear(`${at}.output.dense`, hidden, size),
          ...norm(`${at}.output.LayerNorm`),
        ];
      }).flat(),
    ],
  };
};

/** One layer of DeepSeek-V3 and a small vocabulary: 256 experts, latent attention. */
const deepseekLayer = () => {
  const [hidden, size] = [7168, 2048];
  const at = "model.layers.0";
  const gated = (name, inner) => [
    [`${name}.gate_proj.weight`, [inner, hidden], "fp8"],
    [`${name}.up_proj.weight`, [inner, hidden], "fp8"],
    [`${name}.down_proj.weight`, [hidden, inner], "fp8"],
  ];
  return {
    config: {
      architectures: ["DeepseekV3ForCausalLM"],
      model_type: "deepseek_v3",
      hidden_size: hidden,
      num_hidden_layers: 1,
      num_attention_heads: 128,
      q_lora_rank: 1536,
      kv_lora_rank: 512,
      qk_nope_head_dim: 128,
      qk_rope_head_dim: 64,
      v_head_dim: 128,
      intermediate_size: 18432,
      moe_intermediate_size: size,
      n_routed_experts: 256,
      n_shared_experts: 1,
      num_experts_per_tok: 8,
      n_group: 8,
      topk_group: 4,
      norm_topk_prob: true,
      routed_scaling_factor: 2.5,
      first_k_dense_replace: 0,
      vocab_size: 1024,
      max_position_embeddings: 4096,
      rms_norm_eps: 1e-6,
      rope_theta: 10000,
      tie_word_embeddings: false,
      hidden_act: "silu",
    },
    tensors: [
      ["model.embed_tokens.weight", [1024, hidden], "bf16"],
      ["lm_head.weight", [1024, hidden], "bf16"],
      ["model.norm.weight", [hidden], "norm"],
      [`${at}.input_layernorm.weight`, [hidden], "norm"],
      [`${at}.post_attention_layernorm.weight`, [hidden], "norm"],
      [`${at}.self_attn.q_a_proj.weight`, [1536, hidden], "fp8"],
      [`${at}.self_attn.q_a_layernorm.weight`, [1536], "norm"],
      [`${at}.self_attn.q_b_proj.weight`, [128 * 192, 1536], "fp8"],
      [`${at}.self_attn.kv_a_proj_with_mqa.weight`, [576, hidden], "fp8"],
      [`${at}.self_attn.kv_a_layernorm.weight`, [512], "norm"],
      [`${at}.self_attn.kv_b_proj.weight`, [128 * 256, 512], "fp8"],
      [`${at}.self_attn.o_proj.weight`, [hidden, 128 * 128], "fp8"],
      [`${at}.mlp.gate.weight`, [256, hidden], "bf16"],
      [`${at}.mlp.gate.e_score_correction_bias`, [256], "bias"],
      ...gated(`${at}.mlp.shared_experts`, size),
      ...Array.from({ length: 256 }, (_, e) => gated(`${at}.mlp.experts.${e}`, size)).flat(),
    ],
  };
};

export const SHAPES = {
  "qwen3-0.6b": qwen3(1024, 28, 16, 8, 3072, true),
  "qwen3-8b-layer": qwen3(4096, 1, 32, 8, 12288, true),
  "deepseek-v3-layer": deepseekLayer(),
  minilm: miniLm(),
};

/** Bytes of one tensor, repeated over its length: random codes without NaN and with few subnormal ones, as in real weights. */
function pattern(kind, state) {
  const n = 1 << 20;
  const bytes = new Uint8Array(n);
  const words = new Uint16Array(bytes.buffer);
  const next = () => {
    state.seed = (Math.imul(state.seed, 1664525) + 1013904223) | 0;
    return state.seed >>> 8;
  };
  if (kind === "fp8") for (let i = 0; i < n; i++) bytes[i] = 0x48 + (next() % 44) + (next() & 1 ? 128 : 0);
  // Between 0.005 and 0.03.
  else if (kind === "bf16")
    for (let i = 0; i < n / 2; i++) words[i] = 0x3c00 + (next() % 200) + (next() & 1 ? 0x8000 : 0);
  return bytes;
}

const BYTES = { fp8: 1, bf16: 2, norm: 2, bias: 2, scale: 1 };
const DTYPES = { fp8: "F8_E4M3", bf16: "BF16", norm: "BF16", bias: "BF16", scale: "F8_E8M0" };

/** Writes config.json and model.safetensors. Codes are about 100 times their scale of 2^-12: values near 0.02. */
export function writeCheckpoint(name, folder) {
  const { config, tensors } = SHAPES[name];
  mkdirSync(folder, { recursive: true });
  const quantization = {
    quant_method: "fp8",
    weight_block_size: [128, 128],
    scale_fmt: "ue8m0",
    activation_scheme: "dynamic",
  };
  writeFileSync(
    join(folder, "config.json"),
    JSON.stringify({ ...config, quantization_config: quantization }, null, 2),
  );
  const all = tensors.flatMap(([tensor, shape, kind]) =>
    kind === "fp8"
      ? [
          [tensor, shape, kind],
          [`${tensor}_scale_inv`, shape.map((size) => Math.ceil(size / 128)), "scale"],
        ]
      : [[tensor, shape, kind]],
  );
  const header = {};
  let end = 0;
  for (const [tensor, shape, kind] of all) {
    const size = shape.reduce((a, b) => a * b, BYTES[kind]);
    header[tensor] = { dtype: DTYPES[kind], shape, data_offsets: [end, end + size] };
    end += size;
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, " ")]);
  const file = openSync(join(folder, "model.safetensors"), "w");
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  writeSync(file, length);
  writeSync(file, padded);
  const state = { seed: 1 };
  const patterns = { fp8: pattern("fp8", state), bf16: pattern("bf16", state) };
  for (const [, shape, kind] of all) {
    let left = shape.reduce((a, b) => a * b, BYTES[kind]);
    const bytes =
      patterns[kind] ?? (kind === "scale" ? new Uint8Array(1 << 16).fill(127 - 12) : constant(kind));
    while (left > 0) left -= writeSync(file, bytes, 0, Math.min(left, bytes.length));
  }
  closeSync(file);
  return folder;
}

/** 1 for norms, 0 for biases, in bfloat16. */
function constant(kind) {
  const bytes = new Uint8Array(1 << 16);
  if (kind === "norm") new Uint16Array(bytes.buffer).fill(0x3f80);
  return bytes;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [name, folder] = process.argv.slice(2);
  if (SHAPES[name] === undefined || folder === undefined) {
    console.error(`node bench/checkpoints.mjs ${Object.keys(SHAPES).join("|")} FOLDER`);
    process.exitCode = 2;
  } else {
    writeCheckpoint(name, folder);
  }
}
