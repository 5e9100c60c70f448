// Small models with the answers of transformers: what is wrong with them in this place, in words; nothing if all is well.
import { openModel } from "blockscale/model";

const DECODERS = ["llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "deepseek_v3", "gpt_oss"];
const ENCODERS = ["bert", "xlm_roberta"];
const TOKENS = 33;

/** The tensors of a safetensors file as float32 or int32. */
function tensorsOf(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const read = ({ dtype, data_offsets: [start, end] }) => {
    const bytes = buffer.slice(8 + length + start, 8 + length + end);
    if (dtype === "F32") return new Float32Array(bytes);
    return dtype === "I32" ? new Int32Array(bytes) : Int32Array.from(new BigInt64Array(bytes), Number);
  };
  return Object.fromEntries(
    Object.entries(header)
      .filter(([name]) => name !== "__metadata__")
      .map(([name, tensor]) => [name, read(tensor)]),
  );
}

function decibels(expected, found) {
  let signal = 0;
  let noise = 0;
  expected.forEach((x, i) => {
    signal += x * x;
    noise += (x - found[i]) ** 2;
  });
  return 10 * Math.log10(signal / noise);
}

async function problemsOf(name, read, options) {
  const files = new Map();
  for (const file of ["config.json", "model.safetensors"])
    files.set(file, new Blob([await read(`${name}/${file}`)]));
  const answers = tensorsOf(await read(`${name}/answers.safetensors`));
  const model = await openModel(files, options);
  const problems = [];
  const check = (what, expected, found) => {
    const near = decibels(expected, found);
    if (!(near > 80)) problems.push(`${name}, ${what}: ${near.toFixed(1)} dB`);
  };
  if (ENCODERS.includes(name)) {
    const ids = answers.ids.subarray(0, TOKENS);
    const size = answers.mean.length / 2;
    const [vector] = await model.embed([ids], { pooling: "mean" });
    check("vectors", answers.mean.subarray(0, size), vector);
  } else {
    const ids = answers.ids.subarray(0, TOKENS);
    check("logits", answers.logits.subarray(0, answers.logits.length / 2), await model.logits(ids));
    const greedy = [];
    for await (const { id } of model.generate(ids.subarray(0, 8), { maxTokens: 12, temperature: 0 }))
      greedy.push(id);
    if (`${greedy}` !== `${[...answers.greedy]}`) problems.push(`${name}: other tokens: ${greedy}`);
  }
  await model.close();
  return problems;
}

/** @param read gives a file of the models as an ArrayBuffer */
export async function modelProblems(read, options = {}) {
  const problems = [];
  for (const name of [...DECODERS, ...ENCODERS]) {
    try {
      problems.push(...(await problemsOf(name, read, options)));
    } catch (error) {
      problems.push(`${name}: ${error.stack ?? error}`);
    }
  }
  return problems;
}

/** From the server of a page. */
export async function fetched(path) {
  return (await fetch(`/models/${path}`)).arrayBuffer();
}
