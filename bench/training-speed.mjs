// How long a step of training takes: node bench/training-speed.mjs [rounds]. Several threads against one, FP8 against float32, and the share of the
// time that products alone would take. All of them in turn in one process, the best time of each.
import { load } from "../dist/index.js";
import { createTrainer } from "../dist/train/index.js";

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

/** The products of linear layers and head, forward and twice backward, of random float32. */
async function productsAlone() {
  const engine = await load();
  const random = (n) => Float32Array.from({ length: n }, () => Math.random() - 0.5);
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
  const made = new Map();
  for (const [m, n, k] of works) {
    const key = [m, n, k].join();
    if (made.has(key)) continue;
    const x = engine.resident(random(m * k), [m, k]);
    const w = engine.resident(random(n * k), [n, k]);
    made.set(key, { x, w, out: engine.resident(new Float32Array(m * n), [m, n]) });
  }
  return () => {
    for (const work of works) {
      const { x, w, out } = made.get(work.join());
      engine.gemm(x, w, { out });
    }
  };
}

const kinds = {
  "f32, 1 thread": { recipe: "f32" },
  "deepseek, 1 thread": { recipe: "deepseek" },
  "mxfp8, 1 thread": { recipe: "mxfp8" },
  "f32, 2 threads": { recipe: "f32", threads: 2 },
  "deepseek, 2 threads": { recipe: "deepseek", threads: 2 },
};
const runs = new Map();
for (const [name, options] of Object.entries(kinds)) {
  const trainer = await createTrainer({ config, seed: 1 }, options);
  runs.set(name, { trainer, run: () => trainer.step(ids, [BATCH, CONTEXT + 1]) });
}
try {
  runs.set("products alone, 1 thread", { run: await productsAlone() });
} catch (error) {
  console.error(`products alone: ${error.message}`);
}
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
if (best.has("products alone, 1 thread"))
  console.log(`products of the f32 step ${ratio("products alone, 1 thread", "f32, 1 thread")}`);
for (const { trainer } of runs.values()) await trainer?.close();
