// Does FP8 training hold? The same models, data and seeds in float32 and in each recipe: node bench/training.mjs TEXT [options].
// Writes bench/results/training.json and docs tables from it. KJV: `apt-get install bible-kjv bible-kjv-text; bible -f gen1:1-rev22:21 > kjv.txt`.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { createTrainer, warmupCosine } from "../dist/train/index.js";
import { origin } from "./machine.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    steps: { type: "string", default: "1000" },
    seeds: { type: "string", default: "3" },
    recipes: { type: "string", default: "f32,deepseek,mxfp8,e5m2,mxfp8-floor" },
    out: { type: "string", default: new URL("results/training.json", import.meta.url).pathname },
  },
});
const [path] = positionals;
if (path === undefined) {
  console.error("node bench/training.mjs TEXT [--steps N] [--seeds N] [--recipes a,b]");
  process.exit(2);
}

const [BATCH, CONTEXT] = [8, 128];
const WIDTH = CONTEXT + 1;
const STEPS = Number(options.steps);
const text = new Uint8Array(readFileSync(path));
const split = Math.floor(text.length * 0.95);
const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 128,
  intermediate_size: 384,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  head_dim: 32,
  vocab_size: 256,
  max_position_embeddings: CONTEXT,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  hidden_act: "silu",
  tie_word_embeddings: false,
  initializer_range: 0.02,
};

/** Where each sequence begins: the same for all recipes of a seed. */
function startsOf(seed) {
  let state = seed * 7919;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 1) % (split - WIDTH);
  };
}

async function run(recipe, seed) {
  const trainer = await createTrainer(
    { config, seed },
    { recipe, learningRate: 3e-3, schedule: warmupCosine(50, STEPS) },
  );
  const next = startsOf(seed);
  const losses = [];
  const start = performance.now();
  for (let step = 0; step < STEPS; step++) {
    const ids = new Int32Array(BATCH * WIDTH);
    for (let row = 0; row < BATCH; row++) ids.set(text.subarray(next()).subarray(0, WIDTH), row * WIDTH);
    losses.push((await trainer.step(ids, [BATCH, WIDTH])).loss);
  }
  const seconds = (performance.now() - start) / 1000;
  let held = 0;
  const rows = 128;
  for (let row = 0; row < rows; row++) {
    const at = split + Math.floor((row * (text.length - split - WIDTH)) / rows);
    held += await trainer.loss(Int32Array.from(text.subarray(at, at + WIDTH)), [1, WIDTH]);
  }
  return {
    recipe,
    seed,
    validation: held / rows,
    tokensPerSecond: (STEPS * BATCH * CONTEXT) / seconds,
    curve: losses.filter((_, i) => i % 10 === 9),
  };
}

const runs = [];
const record = () => ({
  ...origin(new URL("../", import.meta.url)),
  corpus: path.split("/").at(-1),
  config,
  steps: STEPS,
  batch: BATCH,
  runs,
});
mkdirSync(new URL("results/", import.meta.url), { recursive: true });
for (let seed = 1; seed <= Number(options.seeds); seed++) {
  for (const recipe of options.recipes.split(",")) {
    const one = await run(recipe, seed);
    runs.push(one);
    console.log(
      `seed ${seed} ${recipe.padEnd(16)} ${(one.validation / Math.LN2).toFixed(4)} bits a byte, ${Math.round(one.tokensPerSecond)} tokens/s`,
    );
    writeFileSync(options.out, `${JSON.stringify(record(), null, 1)}\n`);
  }
}
