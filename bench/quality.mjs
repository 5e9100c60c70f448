// What formats cost a language model that was trained here: node bench/quality.mjs TEXT FOLDER [steps]
// Trains a Llama of 0.9 million parameters in float32 on the bytes of TEXT, unless FOLDER holds one, rounds it to BF16, as models are
// published, and that to each format, and prints a table over text that it has not seen, a row at a time. THREADS=1 leaves cores to others. The King James Bible is `bible -f gen1:1-rev22:21` of Debian's bible-kjv.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const CLI = new URL("../dist/cli/main.js", import.meta.url).pathname;
const [text, folder, steps = "1500"] = process.argv.slice(2);
if (folder === undefined) throw new Error("node bench/quality.mjs TEXT FOLDER [steps]");

const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 128,
  intermediate_size: 384,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  head_dim: 32,
  hidden_act: "silu",
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  tie_word_embeddings: false,
  initializer_range: 0.02,
};
/** Bytes of text that is predicted, of the last twentieth, which training does not see. */
const BYTES = 8192;
const CONTEXT = "128";

function blockscale(...args) {
  return execFileSync(process.execPath, [CLI, ...args], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 2 ** 28,
  });
}

if (!existsSync(join(folder, "model.safetensors"))) {
  const config = `${folder}.config.json`;
  writeFileSync(config, JSON.stringify(CONFIG));
  blockscale(
    "train",
    text,
    folder,
    "--config",
    config,
    "--recipe",
    "f32",
    "--steps",
    steps,
    "--every",
    "100",
  );
}
const ends = ["-bf16", "-made", "-held-out.txt", "-overrides.json"];
const [original, made, heldOut, overrides] = ends.map((end) => folder + end);
cpSync(folder, original, { recursive: true });
const shard = join(original, "model.safetensors");
writeFileSync(shard, asBf16(readFileSync(shard)));
const bytes = readFileSync(text);
writeFileSync(heldOut, bytes.subarray(Math.ceil(0.95 * bytes.length)).subarray(0, BYTES));
const threads = process.env.THREADS === undefined ? [] : ["--threads", process.env.THREADS];
const said = ["--text", heldOut, "--context", CONTEXT, "--json", ...threads];

/** A safetensors file of float32 with each value rounded to BF16: to the nearest, ties to even. */
function asBf16(file) {
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, start));
  const parts = [];
  let at = 0;
  for (const tensor of Object.values(header)) {
    if (tensor.dtype !== "F32") continue;
    const [from, to] = tensor.data_offsets;
    const bits = new Uint32Array(Uint8Array.prototype.slice.call(file, start + from, start + to).buffer);
    const halves = Uint16Array.from(bits, (u) => (u + 0x7fff + ((u >>> 16) & 1)) >>> 16);
    Object.assign(tensor, { dtype: "BF16", data_offsets: [at, at + halves.byteLength] });
    at += halves.byteLength;
    parts.push(Buffer.from(halves.buffer));
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...parts]);
}

/** Dialects with one format each; the floor rule and more codes are controls. */
const UNIFORM = [
  ["fp8, 128x128", "deepseek-v3.1"],
  ["mxfp8", "mxfp8"],
  ["mxfp6", "quark-mxfp6"],
  ["nvfp4", "compressed-tensors-nvfp4"],
  ["mxfp4", "compressed-tensors-mxfp4"],
  [
    "mxfp4, floor (control)",
    "compressed-tensors-mxfp4",
    [{ pattern: "*_proj.weight", scheme: { rounding: "floor" } }],
  ],
];

/** A row of a table, printed as soon as it is known. */
function row(name, bits, { perplexity, kldMean, sameTop }) {
  const cells = [name, bits === null ? "" : bits.toFixed(2), perplexity.toFixed(4), kldMean.toExponential(2)];
  console.log(`| ${[...cells, `${(100 * sameTop).toFixed(1)} %`].join(" | ")} |`);
}

console.log("| format | bits a weight | perplexity a byte | mean KL divergence | same top |");
console.log("| :-- | --: | --: | --: | --: |");

function evaluated(to, changes, ...more) {
  writeFileSync(overrides, JSON.stringify(changes));
  blockscale("quantize", original, made, "--to", to, "--overrides", overrides, "--overwrite");
  return JSON.parse(blockscale("evaluate", made, "--against", original, ...said, ...more));
}

for (const [i, [name, to, changes = []]] of UNIFORM.entries()) {
  const found = evaluated(to, changes);
  if (i === 0) row("bf16, as it is", 16, { perplexity: found.perplexityBase, kldMean: 0, sameTop: 1 });
  row(name, null, found);
}
for (const activations of ["fp8", "int8"])
  row(`fp8, activations ${activations}`, null, evaluated("deepseek-v3.1", [], "--activations", activations));

/** Mixes, each the best of its bits by scores, with the uniform formats that they are made of. */
for (const flags of [
  ["--formats", "e5m2,bf16", "--bits", "16"],
  ["--formats", "nvfp4,mxfp4,fp8,bf16", "--bits", "6", "--measure"],
  ["--formats", "mxfp6,fp8,bf16", "--bits", "8.0005", "--measure"],
]) {
  const { points } = JSON.parse(blockscale("sensitivity", original, ...said, ...flags));
  for (const point of points)
    row(`weights of layers in ${flags[1]}: ${point.mix}`, point.bitsPerWeight, point);
}
