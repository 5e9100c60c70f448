// What rounding does to the answers of the test models: node bench/rounding.mjs; writes the table of docs/models.md. No timing: the same
// digits on every machine whose engine computes dots of integers.
import { readFileSync, writeFileSync } from "node:fs";
import { markdownTable } from "markdown-table";
import { openModel } from "../dist/model/index.js";

const MODELS = new URL("../test/model/models/", import.meta.url);
const DECODERS = ["llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "deepseek_v3", "gpt_oss"];
const ENCODERS = ["bert", "xlm_roberta"];
const WAYS = {
  '`activations: "int8"`': { activations: "int8" },
  '`weights: "int7"`': { weights: "int7" },
  '`activations: "fp8"`, as on GPUs': { activations: "fp8" },
};
const POSITIONS = 33;
const [START, END] = ["<!-- rounding:start -->", "<!-- rounding:end -->"];

function filesOf(name) {
  const files = ["config.json", "model.safetensors"];
  return new Map(files.map((file) => [file, new Blob([readFileSync(new URL(`${name}/${file}`, MODELS))])]));
}

/** The tokens that the models' answers were made for. */
function idsOf(name) {
  const file = readFileSync(new URL(`${name}/answers.safetensors`, MODELS));
  const length = Number(file.readBigUInt64LE(0));
  const { ids } = JSON.parse(file.toString("utf8", 8, 8 + length));
  const bytes = Uint8Array.from(
    file.subarray(8 + length + ids.data_offsets[0], 8 + length + ids.data_offsets[1]),
  );
  const all = ids.dtype === "I64" ? new BigInt64Array(bytes.buffer) : new Int32Array(bytes.buffer);
  return Int32Array.from(all.subarray(0, POSITIONS), Number);
}

function decibels(expected, found) {
  let [signal, noise] = [0, 0];
  expected.forEach((x, i) => {
    signal += x * x;
    noise += (x - found[i]) ** 2;
  });
  return 10 * Math.log10(signal / noise);
}

/** The likeliest token of each position. */
function likeliest(logits) {
  const vocabulary = logits.length / POSITIONS;
  return Array.from({ length: POSITIONS }, (_, i) => {
    const row = logits.subarray(i * vocabulary, (i + 1) * vocabulary);
    return row.indexOf(row.reduce((most, x) => Math.max(most, x)));
  });
}

/** Logits of a decoder at all positions, or the mean of an encoder's. */
async function answerOf(name, options) {
  const model = await openModel(filesOf(name), options);
  const ids = idsOf(name);
  const isEncoder = ENCODERS.includes(name);
  const answer = isEncoder ? (await model.embed([ids], { pooling: "mean" }))[0] : await model.logits(ids);
  await model.close();
  return answer;
}

const rows = [];
for (const name of [...DECODERS, ...ENCODERS]) {
  const exact = await answerOf(name, {});
  const cells = [];
  for (const options of Object.values(WAYS)) {
    const found = await answerOf(name, options);
    const quality = decibels(exact, found).toFixed(1);
    if (ENCODERS.includes(name)) cells.push(quality);
    else {
      const [before, after] = [likeliest(exact), likeliest(found)];
      cells.push(`${quality}, ${before.filter((token, i) => token === after[i]).length}`);
    }
  }
  rows.push([name, ...cells]);
  console.log(rows.at(-1).join("  "));
}
const page = new URL("../docs/models.md", import.meta.url);
const text = readFileSync(page, "utf8");
const table = markdownTable([["model", ...Object.keys(WAYS)], ...rows], { align: ["l", "r", "r", "r"] });
writeFileSync(
  page,
  `${text.slice(0, text.indexOf(START) + START.length)}\n${table}\n${text.slice(text.indexOf(END))}`,
);
