// The same shapes with random weights as a GGUF file of Q8_0, for llama.cpp: node bench/gguf.mjs NAME FILE.
import { closeSync, openSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { SHAPES } from "./checkpoints.mjs";

const [UINT32, FLOAT32, STRING, ARRAY, INT32] = [4, 6, 8, 9, 5];
const [F32, Q8_0] = [0, 8];
const [NORMAL, USER_DEFINED] = [1, 4];
const ALIGNMENT = 32;

const u32 = (n) => Buffer.from(Uint32Array.of(n).buffer);
const u64 = (n) => Buffer.from(BigUint64Array.of(BigInt(n)).buffer);
const text = (string) => {
  const bytes = Buffer.from(string);
  return Buffer.concat([u64(bytes.length), bytes]);
};
const pair = (key, type, value) => Buffer.concat([text(key), u32(type), value]);
const list = (key, type, values) =>
  pair(key, ARRAY, Buffer.concat([u32(type), u64(values.length), ...values]));

/** Names of llama.cpp. */
function nameOf(tensor) {
  const layer = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(tensor);
  if (layer === null)
    return {
      "model.embed_tokens.weight": "token_embd.weight",
      "model.norm.weight": "output_norm.weight",
      "lm_head.weight": "output.weight",
    }[tensor];
  const parts = {
    input_layernorm: "attn_norm",
    post_attention_layernorm: "ffn_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
  };
  return `blk.${layer[1]}.${parts[layer[2]]}.weight`;
}

export function writeGguf(name, path) {
  const { config, tensors } = SHAPES[name];
  const at = "qwen3";
  const number = (key, value) => pair(`${at}.${key}`, UINT32, u32(value));
  const float = (key, value) => pair(`${at}.${key}`, FLOAT32, Buffer.from(Float32Array.of(value).buffer));
  const n = config.vocab_size;
  const pairs = [
    pair("general.architecture", STRING, text(at)),
    pair("general.file_type", UINT32, u32(7)),
    number("block_count", config.num_hidden_layers),
    number("context_length", config.max_position_embeddings),
    number("embedding_length", config.hidden_size),
    number("feed_forward_length", config.intermediate_size),
    number("attention.head_count", config.num_attention_heads),
    number("attention.head_count_kv", config.num_key_value_heads),
    number("attention.key_length", config.head_dim),
    number("attention.value_length", config.head_dim),
    float("attention.layer_norm_rms_epsilon", config.rms_norm_eps),
    float("rope.freq_base", config.rope_theta),
    pair("tokenizer.ggml.model", STRING, text("gpt2")),
    pair("tokenizer.ggml.pre", STRING, text("qwen2")),
    list(
      "tokenizer.ggml.tokens",
      STRING,
      Array.from({ length: n }, (_, i) => text(`t${i}`)),
    ),
    list(
      "tokenizer.ggml.token_type",
      INT32,
      // Tokens of three digits are looked for in a text as they are, so that prompts can be written.
      Array.from({ length: n }, (_, i) => u32(i >= 100 && i < 1000 ? USER_DEFINED : NORMAL)),
    ),
    list("tokenizer.ggml.merges", STRING, [text("t 1")]),
    pair("tokenizer.ggml.eos_token_id", UINT32, u32(n - 1)),
  ];
  let offset = 0;
  const infos = tensors.map(([tensor, shape, kind]) => {
    const count = shape.reduce((a, b) => a * b, 1);
    const type = kind === "norm" ? F32 : Q8_0;
    const bytes = type === F32 ? 4 * count : (count / 32) * 34;
    const dims = [...shape].reverse();
    const info = Buffer.concat([
      text(nameOf(tensor)),
      u32(dims.length),
      ...dims.map(u64),
      u32(type),
      u64(offset),
    ]);
    offset += Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    return { info, type, bytes };
  });
  const head = Buffer.concat([
    Buffer.from("GGUF"),
    u32(3),
    u64(tensors.length),
    u64(pairs.length),
    ...pairs,
    ...infos.map(({ info }) => info),
  ]);
  const file = openSync(path, "w");
  writeSync(file, head);
  writeSync(file, Buffer.alloc((ALIGNMENT - (head.length % ALIGNMENT)) % ALIGNMENT));
  // Blocks of a scale of about 2^-12 in float16 and 32 random bytes.
  const block = Buffer.alloc(34 * 32768);
  let seed = 1;
  for (let i = 0; i < block.length; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
    block[i] = i % 34 === 0 ? 0x00 : i % 34 === 1 ? 0x0c : seed >>> 16;
  }
  for (const { type, bytes } of infos) {
    const from = type === F32 ? Buffer.from(new Float32Array(bytes / 4).fill(1).buffer) : block;
    for (let left = bytes; left > 0; ) left -= writeSync(file, from, 0, Math.min(left, from.length));
    writeSync(file, Buffer.alloc((ALIGNMENT - (bytes % ALIGNMENT)) % ALIGNMENT));
  }
  closeSync(file);
  return path;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href)
  writeGguf(process.argv[2], process.argv[3]);
