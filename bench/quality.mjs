// What formats cost a language model that was trained here: node bench/quality.mjs TEXT FOLDER [steps]
// Trains a Llama of 0.9 million parameters in float32 on the bytes of TEXT, unless FOLDER holds one, rounds it to each format, and
// prints a table over text that it has not seen. The King James Bible is `bible -f gen1:1-rev22:21` of Debian's bible-kjv.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { markdownTable } from "markdown-table";

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
const FORMATS = "nvfp4,mxfp4,mxfp4Ocp,fp8,mxfp8,e5m2,bf16";
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
const [mixed, fp8, heldOut, overrides] = ["-mixed", "-fp8", "-held-out.txt", "-mix.json"].map(
  (end) => folder + end,
);
const bytes = readFileSync(text);
writeFileSync(heldOut, bytes.subarray(Math.ceil(0.95 * bytes.length)).subarray(0, BYTES));
const said = ["--text", heldOut, "--context", CONTEXT, "--json"];

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const rowOf = (name, bits, { perplexity, kldMean, sameTop }) => [
  name,
  bits === null ? "" : bits.toFixed(2),
  perplexity.toFixed(4),
  kldMean.toExponential(2),
  percent(sameTop),
];

const all = JSON.parse(blockscale("sensitivity", folder, ...said, "--formats", FORMATS, "--bits", "32"));
const uniform = all.points.filter(({ mix }) => mix !== "mixed" && mix !== "chosen");
const rows = uniform.map((point) =>
  rowOf(point.mix === "bf16" ? "float32, as it is" : point.mix, point.bitsPerWeight, point),
);

for (const bits of ["4.5", "6", "8"]) {
  const options = ["--formats", "nvfp4,mxfp4,fp8,bf16", "--bits", bits, "--out", overrides];
  const { points, chosen } = JSON.parse(blockscale("sensitivity", folder, ...said, ...options));
  const best = points
    .filter(({ bitsPerWeight }) => bitsPerWeight <= Number(bits) + 1e-6)
    .reduce((a, b) => (b.kldMean < a.kldMean ? b : a));
  blockscale("quantize", folder, mixed, "--overrides", overrides, "--overwrite");
  const evaluation = JSON.parse(blockscale("evaluate", mixed, "--against", folder, ...said));
  const name = new Set(Object.values(chosen)).size === 1 ? best.mix : "mixed";
  rows.push(rowOf(`${bits} bits allowed: ${name}`, best.bitsPerWeight, evaluation));
}
blockscale("quantize", folder, fp8, "--overwrite");
for (const activations of ["f32", "fp8", "int8"]) {
  const evaluation = JSON.parse(
    blockscale("evaluate", fp8, "--against", folder, ...said, "--activations", activations),
  );
  rows.push(rowOf(`deepseek-v3.1, activations ${activations}`, null, evaluation));
}
console.log(
  markdownTable(
    [["format", "bits a weight", "perplexity a byte", "mean KL divergence", "same top"], ...rows],
    {
      align: ["l", "r", "r", "r", "r"],
    },
  ),
);
