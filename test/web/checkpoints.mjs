// Checkpoints for the tests, made by seeded generators: small folders with shards, and files of any size.
import { closeSync, existsSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** A seeded generator of numbers in [0, 1) (mulberry32). */
function uniform(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The longest weights made from each seed so far: shorter ones are their beginning. */
const made = new Map();

/** Bits of bfloat16 values around zero, roughly normal, with some far out. */
function weights(count, seed) {
  if (!(made.get(seed)?.length >= count)) made.set(seed, makeWeights(count, seed));
  return made.get(seed).subarray(0, count);
}

function makeWeights(count, seed) {
  const next = uniform(seed);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const normal = next() + next() + next() + next() - 2;
    values[i] = normal * 0.03 * (i % 4099 === 0 ? 12 : 1);
  }
  const words = new Uint32Array(values.buffer);
  return Uint16Array.from(words, (word) => word >>> 16);
}

function headerOf(tensors) {
  const header = { __metadata__: { format: "pt" } };
  let at = 0;
  for (const [name, shape] of tensors) {
    const bytes = 2 * shape.reduce((n, size) => n * size, 1);
    header[name] = { dtype: "BF16", shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([json, Buffer.alloc(-json.length & 7, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded]);
}

/** Writes one file of BF16 tensors. @param tensors `[name, shape]` */
export function writeFile(path, tensors, seed = 1) {
  const file = openSync(path, "w");
  writeSync(file, headerOf(tensors));
  tensors.forEach(([, shape], i) => {
    const bits = weights(
      shape.reduce((n, size) => n * size, 1),
      seed * 1000 + i,
    );
    writeSync(file, bits);
  });
  closeSync(file);
}

/** Tensors of one layer in the manner of Llama; 320 rows are no multiple of 128. */
function layer(i, hidden) {
  const at = `model.layers.${i}`;
  return [
    [`${at}.input_layernorm.weight`, [hidden]],
    [`${at}.self_attn.q_proj.weight`, [hidden, hidden]],
    [`${at}.self_attn.k_proj.weight`, [320, hidden]],
    [`${at}.self_attn.o_proj.weight`, [hidden, hidden]],
    [`${at}.mlp.up_proj.weight`, [2 * hidden, hidden]],
    [`${at}.mlp.down_proj.weight`, [hidden, 2 * hidden]],
  ];
}

/** One file of a few megabytes. */
export function writeSmall(path, hidden = 512) {
  writeFile(path, [
    ["model.embed_tokens.weight", [1000, hidden]],
    ...layer(0, hidden),
    ...layer(1, hidden),
    ["model.norm.weight", [hidden]],
    ["lm_head.weight", [1000, hidden]],
  ]);
}

/** A folder with two shards, config, index and a tokenizer. */
export function writeFolder(path, hidden = 512) {
  mkdirSync(path, { recursive: true });
  const shards = [
    [["model.embed_tokens.weight", [1000, hidden]], ...layer(0, hidden)],
    [...layer(1, hidden), ["model.norm.weight", [hidden]], ["lm_head.weight", [1000, hidden]]],
  ];
  const weightMap = {};
  shards.forEach((tensors, i) => {
    const name = `model-0000${i + 1}-of-00002.safetensors`;
    writeFile(join(path, name), tensors, i + 1);
    for (const [tensor] of tensors) weightMap[tensor] = name;
  });
  const index = { metadata: { total_size: 1 }, weight_map: weightMap };
  writeFileSync(join(path, "model.safetensors.index.json"), JSON.stringify(index, null, 2));
  writeFileSync(
    join(path, "config.json"),
    JSON.stringify({ model_type: "llama", hidden_size: hidden, torch_dtype: "bfloat16" }, null, 2),
  );
  writeFileSync(join(path, "tokenizer.json"), JSON.stringify({ version: "1.0", words: ["a", "b"] }));
}

/** One file of about `size` bytes: a stretch of weights over and over, shifted each time. */
export function writeLarge(path, size) {
  const [rows, cols] = [8192, 4096];
  const each = 2 * rows * cols;
  const tensors = Array.from({ length: Math.round(size / each) }, (_, i) => [
    `model.layers.${i}.mlp.up_proj.weight`,
    [rows, cols],
  ]);
  const { buffer, byteOffset } = weights((each + 8192) / 2, 7);
  const stretch = Buffer.from(buffer, byteOffset, each + 8192);
  const file = openSync(path, "w");
  writeSync(file, headerOf(tensors));
  tensors.forEach((_, i) => {
    const start = 2 * ((i * 37) % 4096);
    for (let at = 0; at < each; ) at += writeSync(file, stretch, start + at, each - at);
  });
  closeSync(file);
}

/** A header of very many small tensors. */
export function writeMany(path, count) {
  writeFile(
    path,
    Array.from({ length: count }, (_, i) => [
      `model.layers.${Math.floor(i / 10)}.mlp.experts.${i % 10}.up_proj.weight`,
      [2, 32],
    ]),
  );
}

/** One file of FP8 whose values are 448 * 4096 in every second place: too large for half precision. */
export function writeInfinite(path) {
  const header = {
    "a.weight": { dtype: "F8_E4M3", shape: [64, 128], data_offsets: [0, 8192] },
    "a.weight_scale_inv": { dtype: "F32", shape: [1, 1], data_offsets: [8192, 8196] },
  };
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const codes = Buffer.from(Array.from({ length: 8192 }, (_, i) => (i % 2 === 0 ? 0x7e : 0x10)));
  writeFileSync(path, Buffer.concat([length, json, codes, Buffer.from(Float32Array.of(4096).buffer)]));
}

/** Bytes of one element of the dtypes below. */
const BYTES = { BF16: 2, F16: 2, F32: 4, F64: 8, I32: 4, I64: 8, F8_E4M3: 1 };

/**
 * One file of tensors with bytes of the test's own: `{ name, dtype, shape,
 * bytes }`, the last one zeros if left out.
 */
export function writeTensors(path, tensors, metadata) {
  const header = metadata === undefined ? {} : { __metadata__: metadata };
  let at = 0;
  const parts = tensors.map(({ name, dtype, shape, bytes }) => {
    const size = shape.reduce((n, side) => n * side, 1) * BYTES[dtype];
    header[name] = { dtype, shape, data_offsets: [at, at + size] };
    at += size;
    return bytes ?? Buffer.alloc(size);
  });
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(path, Buffer.concat([length, json, ...parts]));
}

/** Two matrices of BF16; the second holds Inf at row 200, column 300. */
export function writeWithInfinity(path) {
  const [rows, cols] = [256, 384];
  const matrix = (name, seed) => {
    // A copy: the Inf is for this file alone.
    const values = weights(rows * cols, seed).slice();
    return { name, dtype: "BF16", shape: [rows, cols], values };
  };
  const tensors = ["a", "b"].map((name, i) => matrix(`${name}.weight`, i + 1));
  tensors[1].values[200 * cols + 300] = 0x7f80;
  writeTensors(
    path,
    tensors.map(({ values, ...tensor }) => ({ ...tensor, bytes: Buffer.from(values.buffer) })),
  );
}

/** Makes the input of a test once. */
export function inputOf(env, name, write) {
  const path = join(env.folder, name);
  if (!existsSync(path)) write(path);
  return path;
}
