// How far the gradients of one step are from float32's: node bench/training-gradients.mjs TEXT [steps,steps,…] [results.json]. The model of bench/training.mjs,
// after so many steps in float32; the same weights and the same batches for every recipe. Where all products are rounded, the forward pass decides most of the
// difference, and with it chance; so input gradients and weight gradients are rounded alone too, with everything else in float32.
import { writeFileSync } from "node:fs";
import { createTrainer, recipes } from "../dist/train/index.js";
import { origin } from "./machine.mjs";
import { Corpus, config } from "./training-task.mjs";

const [
  path,
  steps = "100,200,400",
  out = new URL("results/training-gradients.json", import.meta.url).pathname,
] = process.argv.slice(2);
const [BATCH, BATCHES] = [8, 4];

const { f32, ...others } = recipes;
const { inputGradient, weightGradient } = recipes.mxfp4;
/** Square blocks in a format that spans little: what `deepseek-square` does not show. */
const dy = { ...inputGradient.dy, block: [128, 128] };
const measured = {
  ...others,
  "mxfp4-square": {
    ...recipes.mxfp4,
    inputGradient: { ...inputGradient, dy },
    weightGradient: { ...weightGradient, dy },
  },
};
/** What each control is compared with. */
const CONTROL_OF = {
  "mxfp8-floor": "mxfp8",
  "deepseek-square": "deepseek",
  e5m2: "deepseek",
  "mxfp4-floor": "mxfp4",
  "mxfp4-square": "mxfp4",
};
const PARTS = {
  whole: (recipe) => recipe,
  inputGradient: ({ inputGradient }) => ({ ...f32, inputGradient }),
  weightGradient: ({ weightGradient }) => ({ ...f32, weightGradient }),
};

const next = new Corpus(path).batches(1, BATCH);
const model = await createTrainer({ config, seed: 1 }, { recipe: "f32", learningRate: 3e-3, clip: 1 });
/** The weights of linear layers. */
const names = model.names.filter((name) => name.endsWith("_proj.weight"));

/** Gradients of each batch, and what rounding did to output gradients. The weights stay as they are. */
async function gradientsOf(recipe, files, batches) {
  const trainer = await createTrainer(files, { recipe, learningRate: 0, counts: true });
  const gradients = [];
  for (const batch of batches) {
    await trainer.step(...batch);
    gradients.push(names.map((name) => trainer.gradient(name)));
  }
  const counts = [...trainer.ranges().values()].map(({ dy }) => dy);
  await trainer.close();
  const total = (field) => counts.reduce((sum, dy) => sum + dy[field], 0);
  const shares = { zeros: total("flushed") / total("count"), cuts: total("saturated") / total("count") };
  return { gradients, shares };
}

const decibels = (signal, noise) => 10 * Math.log10(signal / noise);

/** Of the gradients of all batches: how far they are from `base`, all together and by tensor. */
function compare(base, gradients) {
  let [squares, errors, along] = [0, 0, 0];
  const byTensor = names.map((_, tensor) => {
    let [ownSquares, ownErrors] = [0, 0];
    for (const [batch, { [tensor]: exact }] of base.entries())
      for (const [i, value] of exact.entries()) {
        const error = gradients[batch][tensor][i] - value;
        ownSquares += value ** 2;
        ownErrors += error ** 2;
        along += error * value;
      }
    squares += ownSquares;
    errors += ownErrors;
    return decibels(ownSquares, ownErrors);
  });
  return { decibels: decibels(squares, errors), along: along / squares, byTensor };
}

/** What sets the gradient of one batch apart from that of another: their variance against the square of their mean. */
function betweenBatches(base) {
  let [squares, variance] = [0, 0];
  for (const [tensor, { length }] of base[0].entries())
    for (let i = 0; i < length; i++) {
      const values = base.map((gradients) => gradients[tensor][i]);
      const mean = values.reduce((a, b) => a + b, 0) / BATCHES;
      squares += mean ** 2;
      variance += values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (BATCHES - 1);
    }
  return decibels(squares, variance);
}

/** All recipes, at the weights that the model has now. */
async function measure(files, batches) {
  const { gradients: base } = await gradientsOf(f32, files, batches);
  const rows = {};
  for (const [name, recipe] of Object.entries(measured)) {
    rows[name] = {};
    for (const [part, of] of Object.entries(PARTS)) {
      const { gradients, shares } = await gradientsOf(of(recipe), files, batches);
      rows[name][part] = compare(base, gradients);
      if (part === "whole") Object.assign(rows[name], shares);
    }
    console.log(
      name,
      JSON.stringify(rows[name], (key, value) => (key === "byTensor" ? undefined : value)),
    );
  }
  for (const part of Object.keys(PARTS)) {
    for (const [name, control] of Object.entries(CONTROL_OF)) {
      const [own, other] = [name, control].map((one) => rows[one][part].byTensor);
      rows[name][part].worse = own.filter((one, i) => one < other[i]).length;
    }
    for (const row of Object.values(rows)) delete row[part].byTensor;
  }
  return { betweenBatches: betweenBatches(base), rows };
}

const results = [];
let done = 0;
for (const wanted of steps.split(",").map(Number)) {
  for (; done < wanted; done++) await model.step(...next());
  const batches = Array.from({ length: BATCHES }, next);
  results.push({ steps: wanted, ...(await measure(model.files(), batches)) });
}
const about = { batch: BATCH, batches: BATCHES, tensors: names.length };
const result = { ...about, ...origin(new URL("../", import.meta.url)), results };
writeFileSync(out, `${JSON.stringify(result, null, 1)}\n`);
