// Does FP8 training hold? The same model, data and seeds in float32 and in each recipe: node bench/training.mjs TEXT [options].
// Runs are added to a JSON file, and those that are there already are not repeated, so a run that was stopped goes on.
// KJV: `apt-get install bible-kjv bible-kjv-text; bible -f gen1:1-rev22:21 > kjv.txt`. The picture and the table: bench/training-report.mjs.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { createTrainer, warmupCosine } from "../dist/train/index.js";
import { origin } from "./machine.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    steps: { type: "string", default: "1000" },
    batch: { type: "string", default: "8" },
    seeds: { type: "string", default: "3" },
    recipes: { type: "string", default: "f32,f32-nudged,deepseek,mxfp8,mxfp4,mxfp8-floor,deepseek-square" },
    threads: { type: "string", default: "1" },
    out: { type: "string", default: new URL("results/training.json", import.meta.url).pathname },
  },
});
const [path] = positionals;
if (path === undefined) {
  console.error(
    "node bench/training.mjs TEXT [--steps N] [--batch N] [--seeds N] [--recipes a,b] [--threads N]",
  );
  process.exit(2);
}

const CONTEXT = 128;
const WIDTH = CONTEXT + 1;
/** Held-out sequences that a run is judged by, spread over the last twentieth of the text. */
const HELD_OUT = 256;
const [STEPS, BATCH] = [Number(options.steps), Number(options.batch)];
const text = new Uint8Array(readFileSync(path));
const split = Math.floor(text.length * 0.95);
const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 128,
  intermediate_size: 384,
  num_hidden_layers: 5,
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

/** Nats a byte of the held-out text. */
async function judge(trainer) {
  let sum = 0;
  for (let row = 0; row < HELD_OUT; row++) {
    const at = split + Math.floor((row * (text.length - split - WIDTH)) / HELD_OUT);
    sum += await trainer.loss(Int32Array.from(text.subarray(at, at + WIDTH)), [1, WIDTH]);
  }
  return sum / HELD_OUT;
}

/**
 * The same model with the last bit of one weight changed: how far two runs in float32 come apart that differ in nothing else tells what a difference between
 * recipes means.
 */
async function nudged(seed) {
  const trainer = await createTrainer({ config, seed });
  const files = trainer.files();
  await trainer.close();
  const bytes = new Uint8Array(await files.get("model.safetensors").arrayBuffer());
  bytes[bytes.length - 4] ^= 1;
  return files.set("model.safetensors", new Blob([bytes]));
}

async function run(recipe, seed) {
  const isNudged = recipe === "f32-nudged";
  const trainer = await createTrainer(isNudged ? await nudged(seed) : { config, seed }, {
    recipe: isNudged ? "f32" : recipe,
    learningRate: 3e-3,
    schedule: warmupCosine(Math.round(STEPS / 20), STEPS),
    threads: Number(options.threads),
  });
  const next = startsOf(seed);
  const losses = [];
  const start = performance.now();
  for (let step = 0; step < STEPS; step++) {
    const ids = new Int32Array(BATCH * WIDTH);
    for (let row = 0; row < BATCH; row++) ids.set(text.subarray(next()).subarray(0, WIDTH), row * WIDTH);
    losses.push((await trainer.step(ids, [BATCH, WIDTH])).loss);
  }
  const seconds = (performance.now() - start) / 1000;
  const validation = await judge(trainer);
  await trainer.close();
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  return {
    recipe,
    seed,
    validation,
    last: mean(losses.slice(-50)),
    tokensPerSecond: (STEPS * BATCH * CONTEXT) / seconds,
    ...origin(new URL("../", import.meta.url)),
    // Means of ten steps.
    curve: Array.from({ length: Math.floor(STEPS / 10) }, (_, i) => mean(losses.slice(10 * i, 10 * i + 10))),
  };
}

const settings = { corpus: path.split("/").at(-1), config, steps: STEPS, batch: BATCH, context: CONTEXT };

/** Runs of the same settings that the file has. */
function found() {
  try {
    const { runs, ...before } = JSON.parse(readFileSync(options.out, "utf8"));
    if (JSON.stringify(before) === JSON.stringify(settings)) return runs;
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
  throw new Error(`${options.out} has runs of other settings: give another --out`);
}

const runs = found();
mkdirSync(dirname(options.out), { recursive: true });
for (let seed = 1; seed <= Number(options.seeds); seed++) {
  for (const recipe of options.recipes.split(",")) {
    if (runs.some((one) => one.recipe === recipe && one.seed === seed)) continue;
    const one = await run(recipe, seed);
    runs.push(one);
    console.log(
      `seed ${seed} ${recipe.padEnd(16)} ${(one.validation / Math.LN2).toFixed(4)} bits a byte, ${Math.round(one.tokensPerSecond)} tokens/s`,
    );
    writeFileSync(`${options.out}.partial`, `${JSON.stringify({ ...settings, runs }, null, 1)}\n`);
    renameSync(`${options.out}.partial`, options.out);
  }
}
