// DeepSeek-V3.1 without its weights: names, dtypes and shapes of all tensors by the published config.json, as files whose headers are real and whose
// data are zeros that lie nowhere. The planner takes them for the checkpoint itself.

const CONFIG = {
  architectures: ["DeepseekV3ForCausalLM"],
  model_type: "deepseek_v3",
  hidden_size: 7168,
  intermediate_size: 18432,
  moe_intermediate_size: 2048,
  num_hidden_layers: 61,
  num_nextn_predict_layers: 1,
  first_k_dense_replace: 3,
  n_routed_experts: 256,
  n_shared_experts: 1,
  num_attention_heads: 128,
  q_lora_rank: 1536,
  kv_lora_rank: 512,
  qk_nope_head_dim: 128,
  qk_rope_head_dim: 64,
  v_head_dim: 128,
  vocab_size: 129280,
  torch_dtype: "bfloat16",
  quantization_config: {
    quant_method: "fp8",
    fmt: "e4m3",
    weight_block_size: [128, 128],
    scale_fmt: "ue8m0",
    activation_scheme: "dynamic",
  },
};

/** Files that the published checkpoint has. Where it cuts is not known here: these are cut evenly, in the order of the layers. */
const SHARDS = 163;

const plain = (name, ...shape) => [{ name, dtype: "BF16", shape }];

const fp8 = (name, rows, cols) => [
  { name: `${name}.weight`, dtype: "F8_E4M3", shape: [rows, cols] },
  { name: `${name}.weight_scale_inv`, dtype: "F32", shape: [Math.ceil(rows / 128), Math.ceil(cols / 128)] },
];

function attention(at) {
  const { hidden_size, num_attention_heads: heads, q_lora_rank, kv_lora_rank, v_head_dim } = CONFIG;
  const { qk_nope_head_dim: nope, qk_rope_head_dim: rope } = CONFIG;
  return [
    ...fp8(`${at}.q_a_proj`, q_lora_rank, hidden_size),
    ...plain(`${at}.q_a_layernorm.weight`, q_lora_rank),
    ...fp8(`${at}.q_b_proj`, heads * (nope + rope), q_lora_rank),
    ...fp8(`${at}.kv_a_proj_with_mqa`, kv_lora_rank + rope, hidden_size),
    ...plain(`${at}.kv_a_layernorm.weight`, kv_lora_rank),
    ...fp8(`${at}.kv_b_proj`, heads * (nope + v_head_dim), kv_lora_rank),
    ...fp8(`${at}.o_proj`, hidden_size, heads * v_head_dim),
  ];
}

const gated = (at, size) => [
  ...fp8(`${at}.gate_proj`, size, CONFIG.hidden_size),
  ...fp8(`${at}.up_proj`, size, CONFIG.hidden_size),
  ...fp8(`${at}.down_proj`, CONFIG.hidden_size, size),
];

function mixture(at) {
  const { hidden_size, moe_intermediate_size: size, n_routed_experts, n_shared_experts } = CONFIG;
  return [
    ...plain(`${at}.gate.weight`, n_routed_experts, hidden_size),
    { name: `${at}.gate.e_score_correction_bias`, dtype: "F32", shape: [n_routed_experts] },
    ...Array.from({ length: n_routed_experts }, (_, e) => gated(`${at}.experts.${e}`, size)).flat(),
    ...gated(`${at}.shared_experts`, size * n_shared_experts),
  ];
}

function layer(i) {
  const at = `model.layers.${i}`;
  const { hidden_size, intermediate_size, first_k_dense_replace } = CONFIG;
  return [
    ...plain(`${at}.input_layernorm.weight`, hidden_size),
    ...attention(`${at}.self_attn`),
    ...plain(`${at}.post_attention_layernorm.weight`, hidden_size),
    ...(i < first_k_dense_replace ? gated(`${at}.mlp`, intermediate_size) : mixture(`${at}.mlp`)),
  ];
}

/** The layer that predicts one token further: it has embeddings and a head of its own in the file. */
function nextToken(i) {
  const at = `model.layers.${i}`;
  const { hidden_size, vocab_size } = CONFIG;
  return [
    ...plain(`${at}.embed_tokens.weight`, vocab_size, hidden_size),
    ...plain(`${at}.enorm.weight`, hidden_size),
    ...plain(`${at}.hnorm.weight`, hidden_size),
    ...plain(`${at}.eh_proj.weight`, hidden_size, 2 * hidden_size),
    ...layer(i),
    ...plain(`${at}.shared_head.norm.weight`, hidden_size),
    ...plain(`${at}.shared_head.head.weight`, vocab_size, hidden_size),
  ];
}

/** @returns {{ name: string, dtype: string, shape: number[] }[]} all 91,991 of them */
export function deepseekTensors() {
  const { hidden_size, vocab_size, num_hidden_layers, num_nextn_predict_layers } = CONFIG;
  return [
    ...plain("model.embed_tokens.weight", vocab_size, hidden_size),
    ...Array.from({ length: num_hidden_layers }, (_, i) => layer(i)).flat(),
    ...plain("model.norm.weight", hidden_size),
    ...plain("lm_head.weight", vocab_size, hidden_size),
    ...Array.from({ length: num_nextn_predict_layers }, (_, i) => nextToken(num_hidden_layers + i)).flat(),
  ];
}

const BYTES = { BF16: 2, F8_E4M3: 1, F32: 4 };

/** @returns {number} bytes of a tensor */
export const bytesOf = ({ dtype, shape }) => shape.reduce((a, b) => a * b, BYTES[dtype]);

/** A file that begins as it should and is zeros from there on. */
function fileOf(tensors) {
  let end = 0;
  const header = {};
  for (const { name, dtype, shape } of tensors) {
    const begin = end;
    end += bytesOf({ dtype, shape });
    header[name] = { dtype, shape, data_offsets: [begin, end] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const start = Buffer.concat([Buffer.alloc(8), text, Buffer.alloc((8 - (text.length % 8)) % 8, " ")]);
  start.writeBigUInt64LE(BigInt(start.length - 8));
  const slice = (from, to) => {
    const bytes = new Uint8Array(to - from);
    bytes.set(start.subarray(from, to));
    return new Blob([bytes]);
  };
  return { size: start.length + end, slice };
}

/** @returns {Map<string, { size: number, slice(from: number, to: number): Blob }>} what `openCheckpoint` takes */
export function deepseekFiles() {
  const tensors = deepseekTensors();
  const total = tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  const shards = Array.from({ length: SHARDS }, () => []);
  let at = 0;
  for (const tensor of tensors) {
    shards[Math.floor((at / total) * SHARDS)].push(tensor);
    at += bytesOf(tensor);
  }
  const nameOf = (i) =>
    `model-${String(i + 1).padStart(5, "0")}-of-${String(SHARDS).padStart(6, "0")}.safetensors`;
  const weightMap = shards.flatMap((shard, i) => shard.map(({ name }) => [name, nameOf(i)]));
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(weightMap) };
  return new Map([
    ["config.json", new Blob([JSON.stringify(CONFIG)])],
    ["model.safetensors.index.json", new Blob([JSON.stringify(index)])],
    ...shards.map((shard, i) => [nameOf(i), fileOf(shard)]),
  ]);
}
