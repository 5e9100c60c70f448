// Does FP8 training hold? The same model, data and seeds in float32 and in each recipe: node bench/training.mjs TEXT [options].
// Runs are added to a JSON file, and those that are there already are not repeated, so a run that was stopped goes on.
// KJV: `apt-get install bible-kjv bible-kjv-text; bible -f gen1:1-rev22:21 > kjv.txt`. The picture and the table: bench/training-report.mjs.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { createTrainer, warmupCosine } from "../dist/train/index.js";
import { origin } from "./machine.mjs";
import { CONTEXT, Corpus, config, judge } from "./training-task.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    steps: { type: "string", default: "1500" },
    batch: { type: "string", default: "8" },
    seeds: { type: "string", default: "3" },
    recipes: { type: "string", default: "f32,deepseek,mxfp8,mxfp4,mxfp8-floor,deepseek-square,f32-nudged" },
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

const [STEPS, BATCH] = [Number(options.steps), Number(options.batch)];
const corpus = new Corpus(path);

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
    schedule: warmupCosine(Math.round(STEPS / 20), STEPS, 0),
    threads: Number(options.threads),
  });
  const next = corpus.batches(seed, BATCH);
  const losses = [];
  const start = performance.now();
  for (let step = 0; step < STEPS; step++) losses.push((await trainer.step(...next())).loss);
  const seconds = (performance.now() - start) / 1000;
  const validation = await judge(trainer, corpus);
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
    curve: Array.from({ length: Math.floor(STEPS / 10) }, (_, i) =>
      Number(mean(losses.slice(10 * i, 10 * i + 10)).toFixed(4)),
    ),
  };
}

const settings = {
  corpus: path.split("/").at(-1),
  config,
  steps: STEPS,
  batch: BATCH,
  context: CONTEXT,
  lastRate: 0,
  heldOut: "every twentieth block",
};

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
