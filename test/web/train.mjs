// Training in the tab: the losses of Node, a page that answers, stopping and going on.
import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { downloadedBy, longestPause, watchPauses, withPage } from "./browser.mjs";
import { unzipped } from "./command-line.mjs";
import { importView, once } from "./in-node.mjs";
import { withScript } from "./isolated.mjs";

/** The first steps of the same run in Node, one model after the other: the losses of each step. */
async function trainInNode(env, recipe, steps, first = steps) {
  const { Learner, stories } = await importView(
    env,
    "train",
    'export { Learner } from "./learner.ts"; export { stories } from "./stories.ts";',
  );
  const losses = Array.from({ length: first }, () => []);
  for (const one of ["f32", recipe]) {
    const learner = await Learner.open({ text: stories(1, 1000), recipe: one, steps, seed: 1 });
    for (const pair of losses) pair.push((await learner.step()).loss);
  }
  return losses;
}

const lossesOf = async (page) => JSON.parse(await page.getByTestId("losses").getAttribute("data-last"));

/** Losses of a few steps, and a stochastic cast: in a page, and here. */
async function fewSteps(createTrainer, stochasticCast, threads) {
  const config = {
    ...{ architectures: ["LlamaForCausalLM"], hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2 },
    ...{ num_attention_heads: 2, num_key_value_heads: 2, head_dim: 32, vocab_size: 64, rms_norm_eps: 1e-6 },
    ...{ max_position_embeddings: 64, tie_word_embeddings: true, hidden_act: "silu" },
  };
  // The build that sums alike everywhere.
  const options = { recipe: "mxfp4-stochastic", variant: "baseline", threads, learningRate: 0.01 };
  const trainer = await createTrainer({ config, seed: 1 }, options);
  const ids = Int32Array.from({ length: 4 * 65 }, (_, i) => (i * i) % 64);
  const losses = [];
  for (let step = 0; step < 4; step++) losses.push((await trainer.step(ids, [4, 65])).loss);
  const found = { threads: trainer.threads, losses };
  await trainer.close();
  const values = Float32Array.from({ length: 500 }, (_, i) => (i - 250) / 7);
  return { ...found, codes: [...stochasticCast("baseline")(values, "e4m3", { seed: 3 })] };
}

export const tests = [
  {
    name: "training: two workers of a page, to the bits of one thread in Node",
    seconds: 60,
    async body(env) {
      const { createTrainer, stochasticCast } = await import(
        pathToFileURL(join(env.root, "dist/train/index.js")).href
      );
      const expected = await fewSteps(createTrainer, stochasticCast, 1);
      const contents = `import { createTrainer, stochasticCast } from "./train/index.js";
${fewSteps}
window.run = () => fewSteps(createTrainer, stochasticCast, 2);
window.isReady = true;`;
      await withScript(env, contents, async (page) => {
        const found = await page.evaluate(() => window.run());
        assert.deepEqual(found, { ...expected, threads: 2 });
      });
    },
  },
  {
    name: "training: 50 steps to the losses of Node, on a page that is never blocked",
    seconds: 120,
    async body(env) {
      const expected = await once("losses of deepseek", () => trainInNode(env, "deepseek", 50));
      await withPage(env, async (page) => {
        await page.goto(`${env.url}?view=train&steps=50`);
        await watchPauses(page);
        await page.getByRole("button", { name: "Train", exact: true }).click();
        await page.getByTestId("progress").getByText("Done").waitFor({ timeout: 90_000 });
        assert.equal(page.workers().filter((worker) => worker.url().endsWith("/train-worker.js")).length, 2);
        const losses = await lossesOf(page);
        assert.equal(losses.length, 50);
        const worst = Math.max(
          ...losses.flatMap((pair, i) => pair.map((loss, j) => Math.abs(loss / expected[i][j] - 1))),
        );
        console.log(`        largest difference ${worst}, longest wait ${await longestPause(page)} ms`);
        assert.equal(worst, 0);
        assert.ok(losses[49][0] < 0.75 * losses[0][0] && losses[49][1] < 0.75 * losses[0][1]);
        assert.ok((await page.getByTestId("sample").textContent()).length > 20);
        const press = () => page.getByRole("button", { name: "Download checkpoint" }).click();
        const { name, bytes } = await downloadedBy(page, press);
        assert.equal(name, "trained.zip");
        const files = Object.keys(unzipped(bytes));
        for (const file of ["config.json", "model.safetensors", "tokenizer.json", "optimizer.safetensors"])
          assert.ok(files.includes(`trained/${file}`), files.join());
      });
    },
  },
  {
    name: "training: stops, and goes on from there to the same bits; too little text is said",
    seconds: 60,
    async body(env) {
      const expected = await once("losses of mxfp4", () => trainInNode(env, "mxfp4", 2000, 10));
      await withPage(env, async (page) => {
        await page.goto(`${env.url}?view=train&recipe=mxfp4&steps=2000`);
        await page.getByRole("button", { name: "Train", exact: true }).click();
        await page.getByTestId("losses").waitFor();
        await page.getByRole("button", { name: "Stop" }).click();
        // The step under way comes to its end; then there is none for longer than a step takes.
        let [before, after] = [-1, 0];
        while (before !== after) {
          await page.waitForTimeout(500);
          [before, after] = [after, (await lossesOf(page)).length];
        }
        await page.getByRole("button", { name: "Go on" }).click();
        await page.waitForFunction(
          (n) => JSON.parse(document.querySelector("[data-testid=losses]").dataset.last).length > n + 2,
          before,
        );
        await page.getByRole("button", { name: "Stop" }).click();
        const losses = (await lossesOf(page)).slice(0, expected.length);
        assert.deepEqual(losses, expected.slice(0, losses.length));
        assert.ok(losses.length > 3);
        // Another recipe is not that of these curves.
        await page.locator("#train-recipe").selectOption("deepseek");
        await page.getByTestId("losses").getByText("Loss, mxfp4").waitFor();
        await page.locator("#train-text").selectOption("own");
        await page.getByRole("button", { name: "Start anew" }).click();
        await page.getByRole("alert").getByText("At least 256 bytes").waitFor();
        await page.setViewportSize({ width: 390, height: 844 });
        assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 390);
        await page.setViewportSize({ width: 1280, height: 860 });
      });
    },
  },
];
