// How long a step of training takes: node bench/training-speed.mjs [rounds]. Several threads against one, FP8 against float32, the share of the time that
// products alone would take, and the same Llama in TensorFlow.js, which is installed in a temporary folder (PEERS names one to keep). All of them in turn in one
// process, the best time of each.
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileForModels } from "../dist/model/build.js";
import { createTrainer } from "../dist/train/index.js";
import { instantiate } from "../dist/wasm/instantiate.js";
import { install } from "./peers/install.mjs";
import { openTfjsLlama } from "./peers/tfjs-llama.mjs";

const ROUNDS = Number(process.argv[2] ?? 10);
const [BATCH, CONTEXT, LAYERS] = [8, 128, 4];
const [hidden, inner, vocabulary] = [256, 768, 256];
const config = {
  ...{
    architectures: ["LlamaForCausalLM"],
    hidden_size: hidden,
    intermediate_size: inner,
    hidden_act: "silu",
  },
  ...{ num_hidden_layers: LAYERS, num_attention_heads: 4, num_key_value_heads: 4, head_dim: 64 },
  ...{
    vocab_size: vocabulary,
    max_position_embeddings: CONTEXT,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: false,
  },
};
const tokens = BATCH * CONTEXT;
const ids = Int32Array.from({ length: BATCH * (CONTEXT + 1) }, (_, i) => (i * i + (i >> 3)) % vocabulary);

/** The products of linear layers and head, forward and twice backward, by the kernel that the trainer calls. */
function productsAlone() {
  const { kernels, memory } = instantiate(compileForModels().module);
  const shapes = [
    ...Array.from({ length: 4 }, () => [hidden, hidden]),
    ...[
      [inner, hidden],
      [inner, hidden],
      [hidden, inner],
    ],
  ];
  const works = [...Array.from({ length: LAYERS }, () => shapes).flat(), [vocabulary, hidden]].flatMap(
    ([n, k]) => [
      [tokens, n, k],
      [tokens, k, n],
      [n, k, tokens],
    ],
  );
  // One room each for x, weights, result and working memory, large enough for all.
  const room = 4 * tokens * Math.max(inner, vocabulary);
  const [x, w, out, work] = [0, 1, 2, 3].map((i) => Math.ceil(kernels.heapBase() / 64) * 64 + i * room);
  memory.grow(Math.ceil((work + kernels.plainWorkspace(tokens, tokens)) / 65536));
  for (const values of [x, w].map((place) => new Float32Array(memory.buffer, place, room / 4)))
    for (let i = 0; i < values.length; i++) values[i] = Math.random() - 0.5;
  return () => {
    for (const [m, n, k] of works) kernels.gemmPlain(0, out, x, m, w, n, k, work);
  };
}

const kinds = {
  "f32, 1 thread": { recipe: "f32" },
  "deepseek, 1 thread": { recipe: "deepseek" },
  "mxfp8, 1 thread": { recipe: "mxfp8" },
  "f32, 2 threads": { recipe: "f32", threads: 2 },
  "deepseek, 2 threads": { recipe: "deepseek", threads: 2 },
};
/** The tensors of model.safetensors, all of them float32. */
async function tensorsOf(files) {
  const bytes = await files.get("model.safetensors").arrayBuffer();
  const start = 8 + Number(new DataView(bytes).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, start - 8)));
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== "__metadata__")
      .map(
        ([
          name,
          {
            shape,
            data_offsets: [from, to],
          },
        ]) => [name, { shape, values: new Float32Array(bytes.slice(start + from, start + to)) }],
      ),
  );
}

/** The same model, from the same start, in TensorFlow.js. */
async function openPeer(files) {
  const temporary = mkdtempSync(join(tmpdir(), "blockscale-peers-"));
  const peers = process.env.PEERS ?? temporary;
  install(peers, ["@tensorflow/tfjs@4.22.0", "@tensorflow/tfjs-backend-wasm@4.22.0"]);
  const require = createRequire(join(peers, "package.json"));
  const peer = await openTfjsLlama(require, config, await tensorsOf(files), [BATCH, CONTEXT], 1e-3);
  rmSync(temporary, { recursive: true });
  return peer;
}

const runs = new Map();
for (const [name, options] of Object.entries(kinds)) {
  const trainer = await createTrainer({ config, seed: 1 }, options);
  runs.set(name, { trainer, run: () => trainer.step(ids, [BATCH, CONTEXT + 1]) });
}
const peer = await openPeer(runs.get("f32, 1 thread").trainer.files());
const losses = [peer.step(ids), await runs.get("f32, 1 thread").trainer.loss(ids, [BATCH, CONTEXT + 1])];
if (Math.abs(losses[0] / losses[1] - 1) > 1e-5) throw new Error(`not the same model: losses ${losses}`);
runs.set("tfjs, f32, 1 thread", { run: () => peer.step(ids) });
runs.set("products alone, 1 thread", { run: productsAlone() });
const best = new Map();
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, { run }] of runs) {
    const start = performance.now();
    await run();
    best.set(name, Math.min(best.get(name) ?? Infinity, performance.now() - start));
  }
}
for (const [name, milliseconds] of best)
  console.log(
    `${name.padEnd(26)} ${milliseconds.toFixed(1).padStart(8)} ms ${Math.round((1000 * tokens) / milliseconds)} tokens/s`,
  );
const ratio = (a, b) => (best.get(a) / best.get(b)).toFixed(2);
console.log(`2 threads of 1: f32 ${ratio("f32, 1 thread", "f32, 2 threads")}x`);
console.log(`2 threads of 1: deepseek ${ratio("deepseek, 1 thread", "deepseek, 2 threads")}x`);
console.log(`deepseek step against f32 ${ratio("f32, 1 thread", "deepseek, 1 thread")}x`);
console.log(`mxfp8 step against f32 ${ratio("f32, 1 thread", "mxfp8, 1 thread")}x`);
for (const recipe of ["f32", "deepseek", "mxfp8"])
  console.log(`${recipe} step against tfjs ${ratio("tfjs, f32, 1 thread", `${recipe}, 1 thread`)}x`);
console.log(`products of the f32 step ${ratio("products alone, 1 thread", "f32, 1 thread")}`);
for (const { trainer } of runs.values()) await trainer?.close();
