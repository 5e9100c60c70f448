// Makes a small but realistic BF16 checkpoint, converts it to FP8 with the command line, and looks at the result.
// npm run demo          in a temporary folder, removed afterwards
// npm run demo FOLDER   keeps both files there
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const HIDDEN = 1024;
const FFN = 2816;
const VOCAB = 4096;

/**
 * Names, shapes and spreads of a two-layer model: one layer in the manner of Llama and Qwen, one of DeepSeek.
 */
function* tensors() {
  yield ["model.embed_tokens.weight", [VOCAB, HIDDEN], "embedding"];
  for (const layer of [0, 1]) {
    const at = `model.layers.${layer}`;
    yield [`${at}.input_layernorm.weight`, [HIDDEN], "norm"];
    yield [`${at}.self_attn.q_proj.weight`, [HIDDEN, HIDDEN], "linear"];
    if (layer === 0) {
      yield [`${at}.self_attn.q_proj.bias`, [HIDDEN], "bias"];
      yield [`${at}.self_attn.k_proj.weight`, [256, HIDDEN], "linear"];
      yield [`${at}.self_attn.v_proj.weight`, [256, HIDDEN], "linear"];
      yield [`${at}.self_attn.q_norm.weight`, [128], "norm"];
    } else {
      // 576 rows are no multiple of 128: the last row of blocks is half full.
      yield [`${at}.self_attn.kv_a_proj_with_mqa.weight`, [576, HIDDEN], "linear"];
      yield [`${at}.self_attn.kv_b_proj.weight`, [HIDDEN, 512], "linear"];
    }
    yield [`${at}.self_attn.o_proj.weight`, [HIDDEN, HIDDEN], "linear"];
    yield [`${at}.post_attention_layernorm.weight`, [HIDDEN], "norm"];
    if (layer === 0) yield* ffn(`${at}.mlp`, FFN);
    else {
      yield [`${at}.mlp.gate.weight`, [4, HIDDEN], "linear"];
      for (const expert of [0, 1, 2, 3]) yield* ffn(`${at}.mlp.experts.${expert}`, 704);
    }
  }
  yield ["model.norm.weight", [HIDDEN], "norm"];
  yield ["lm_head.weight", [VOCAB, HIDDEN], "linear"];
}

function* ffn(at, size) {
  yield [`${at}.gate_proj.weight`, [size, HIDDEN], "linear"];
  yield [`${at}.up_proj.weight`, [size, HIDDEN], "linear"];
  yield [`${at}.down_proj.weight`, [HIDDEN, size], "linear"];
}

/** A seeded generator of normally distributed numbers (mulberry32, Box-Muller). */
function normalFrom(seed) {
  let state = seed;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  let spare = null;
  return () => {
    if (spare !== null) {
      const value = spare;
      spare = null;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

/** Weights as trained models have them: small, with a few large columns and a few values far out. */
function valuesOf(kind, shape, normal) {
  const cols = shape.at(-1);
  const values = new Float32Array(shape.reduce((n, size) => n * size, 1));
  if (kind === "norm") return values.map(() => 1 + 0.1 * normal());
  const spread = kind === "bias" ? 0.1 : 1 / Math.sqrt(cols);
  const columns = new Float32Array(cols).fill(spread);
  if (kind === "linear") {
    for (let i = 0; i < cols / 128; i++) {
      columns[Math.floor(Math.abs(normal()) * 1e6) % cols] *= 4 + 4 * Math.abs(normal());
    }
  }
  for (let i = 0; i < values.length; i++) {
    const value = normal() * columns[i % cols];
    values[i] = (i * 2654435761) % 4096 === 0 ? value * (3 + Math.abs(normal()) * 5) : value;
  }
  return values;
}

/** float32 to bfloat16, to nearest even. */
function toBf16(values) {
  const words = new Uint32Array(values.buffer);
  const bits = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) bits[i] = (words[i] + 0x7fff + ((words[i] >>> 16) & 1)) >>> 16;
  return bits;
}

function writeCheckpoint(path) {
  const normal = normalFrom(20260101);
  const header = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const [name, shape] of tensors()) {
    const bytes = 2 * shape.reduce((n, size) => n * size, 1);
    header[name] = { dtype: "BF16", shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([json, Buffer.alloc(-json.length & 7, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const file = openSync(path, "w");
  writeSync(file, length);
  writeSync(file, padded);
  for (const [, shape, kind] of tensors()) writeSync(file, toBf16(valuesOf(kind, shape, normal)));
}

function blockscale(...args) {
  console.log(`\n$ blockscale ${args.join(" ")}\n`);
  const cli = new URL("../../dist/cli/main.js", import.meta.url).pathname;
  const { status } = spawnSync(process.execPath, [cli, ...args], { stdio: "inherit" });
  if (status !== 0) throw new Error(`blockscale ended with ${status}`);
}

const kept = process.argv[2];
if (kept !== undefined) mkdirSync(kept, { recursive: true });
const folder = kept ?? mkdtempSync(join(tmpdir(), "blockscale-demo-"));
try {
  const bf16 = join(folder, "model-bf16.safetensors");
  const fp8 = join(folder, "model-fp8.safetensors");
  console.log("Making a BF16 checkpoint ...");
  writeCheckpoint(bf16);
  blockscale("quantize", bf16, fp8);
  blockscale("inspect", fp8);
  const [before, after] = [bf16, fp8].map((path) => statSync(path).size / 1e6);
  console.log(`\n${before.toFixed(1)} MB of BF16 became ${after.toFixed(1)} MB of FP8 with UE8M0 scales.`);
} finally {
  if (kept === undefined) rmSync(folder, { recursive: true });
}
