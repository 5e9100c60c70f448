// How far the gradients of one step are from float32's: node bench/training-gradients.mjs TEXT [steps] [results.json]. The model of bench/training.mjs, after so
// many steps in float32; the same weights and the same batches for every recipe. How far they are depends on the weights: measure after several numbers of steps.
import { writeFileSync } from "node:fs";
import { createTrainer, recipes } from "../dist/train/index.js";
import { origin } from "./machine.mjs";
import { Corpus, config } from "./training-task.mjs";

const [path, steps = 300, out = new URL("results/training-gradients.json", import.meta.url).pathname] =
  process.argv.slice(2);
const [BATCH, BATCHES] = [8, 4];
const next = new Corpus(path).batches(1, BATCH);
const beginning = await createTrainer({ config, seed: 1 }, { recipe: "f32", learningRate: 3e-3, clip: 1 });
for (let step = 0; step < Number(steps); step++) await beginning.step(...next());
const files = beginning.files();
const names = beginning.names;
const batches = Array.from({ length: BATCHES }, next);

/** The loss and all gradients of each batch. */
async function measure(recipe) {
  const measured = [];
  for (const batch of batches) {
    const trainer = await createTrainer(files, { recipe });
    const { loss } = await trainer.step(...batch);
    measured.push({ loss, gradients: names.map((name) => trainer.gradient(name)) });
    await trainer.close();
  }
  return measured;
}

const decibels = (signal, noise) => 10 * Math.log10(signal / noise);

/** Sums over the values of pairs of arrays. */
function compare(pairs) {
  let [squares, errors, along] = [0, 0, 0];
  for (const [base, one] of pairs)
    for (let i = 0; i < base.length; i++) {
      squares += base[i] ** 2;
      errors += (one[i] - base[i]) ** 2;
      along += (one[i] - base[i]) * base[i];
    }
  return { decibels: decibels(squares, errors), along: along / squares };
}

/** What sets the gradient of one batch apart from that of another: their variance against the square of their mean. */
function noiseOf(measured) {
  let [squares, variance] = [0, 0];
  for (const [tensor, { length }] of measured[0].gradients.entries())
    for (let i = 0; i < length; i++) {
      const values = measured.map(({ gradients }) => gradients[tensor][i]);
      const mean = values.reduce((a, b) => a + b, 0) / BATCHES;
      squares += mean ** 2;
      variance += values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (BATCHES - 1);
    }
  return decibels(squares, variance);
}

const base = await measure("f32");
const rows = [];
const measured = new Map();
for (const recipe of Object.keys(recipes)) {
  if (recipe === "f32") continue;
  const own = await measure(recipe);
  measured.set(recipe, own);
  const pairsOf = (tensor) => own.map(({ gradients }, i) => [base[i].gradients[tensor], gradients[tensor]]);
  const byTensor = names.map((name, i) => ({ name, ...compare(pairsOf(i)) }));
  rows.push({
    recipe,
    ...compare(names.flatMap((_, i) => pairsOf(i))),
    worst: byTensor.reduce((a, b) => (b.decibels < a.decibels ? b : a)),
    losses: own.map(({ loss }, i) => loss / base[i].loss - 1),
  });
  console.log(JSON.stringify(rows.at(-1)));
}
const [deepseek, mxfp8] = ["deepseek", "mxfp8"].map((name) => measured.get(name));
const deepseekAgainstMxfp8 = compare(
  deepseek.flatMap(({ gradients }, i) => gradients.map((one, tensor) => [mxfp8[i].gradients[tensor], one])),
).decibels;
const about = {
  steps: Number(steps),
  batch: BATCH,
  batches: BATCHES,
  ...origin(new URL("../", import.meta.url)),
};
const result = { ...about, betweenBatches: noiseOf(base), deepseekAgainstMxfp8, rows };
writeFileSync(out, `${JSON.stringify(result, null, 1)}\n`);
