// A model that runs in the page: what it writes, how likely it finds it, and how far its conversion is from it, as in Node.
import assert from "node:assert/strict";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chooseFormat, longestPause, openFolder, watchPauses, withPage } from "./browser.mjs";
import { importView, once } from "./in-node.mjs";

const PROMPT = "One day Mia and a red cat";
const stories = (env) => join(env.root, "dist-web/examples/stories");

/** The code of the view's worker, in Node, with a pair of models that is open. */
async function inNode(env, to) {
  const code = await importView(
    env,
    "run",
    `export { ModelPair } from "./models.ts"; export { comparePositions, write } from "./writing.ts";
    export { measureText } from "./measure.ts"; export { stories } from "../train/stories.ts";`,
  );
  const names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
  const files = new Map(names.map((name) => [name, new Blob([readFileSync(join(stories(env), name))])]));
  const pair = await code.ModelPair.open("stories", files, { threads: 1 }, () => {});
  await pair.convert(to, () => {});
  return { ...code, pair };
}

/** What both models write in Node, and what they expect at each position. */
async function textsInNode(env) {
  const { pair, write, comparePositions } = await inNode(env, "compressed-tensors-mxfp4");
  const ids = pair.original.tokenizer.encode(PROMPT);
  const options = { maxTokens: 60, temperature: 1, seed: 1 };
  const texts = {};
  for (const side of ["original", "converted"])
    texts[side] = (await write(pair.of(side), ids, options, () => {})).tokens;
  const all = Int32Array.from([...ids, ...texts.original.map(({ id }) => id)]);
  const positions = await comparePositions(pair.original, pair.of("converted"), all, ids.length);
  await pair.close();
  return { texts, positions };
}

/** A text, and its figures in Node. */
async function measuredInNode(env) {
  const { pair, measureText, stories: write } = await inNode(env, "deepseek-v3.1");
  const text = write(5, 12);
  const figures = await measureText(pair.original, pair.of("converted"), text, { onProgress: () => {} });
  await pair.close();
  return { text, figures };
}

const ready = (page) => page.locator("[data-testid=run-status]").getByText("of weights became").waitFor();

const passage = (page, side) => page.getByTestId(`written-${side}`).locator(".passage").textContent();

const figure = async (page, name) =>
  Number.parseFloat(await page.locator(`[data-figure=${name}]`).last().textContent());

/** The page's figure has four digits; builds of the kernels differ in the last bits of their sums. */
const isClose = (found, expected) => Math.abs(found / expected - 1) < 0.02;

export const tests = [
  {
    name: "running: both models go on as in Node, with the same divergence, on a page that is never blocked",
    seconds: 90,
    async body(env) {
      const { texts, positions } = await once("texts", () => textsInNode(env));
      const mean = positions.reduce((sum, { divergence }) => sum + divergence, 0) / positions.length;
      assert.ok(mean > 0 && positions.length === 60);
      await withPage(env, async (page) => {
        await page.goto(`${env.url}?view=run&example=stories&format=compressed-tensors-mxfp4`);
        await ready(page);
        // Node computes in one thread, and to the same bits.
        const cores = await page.evaluate(() => Math.min(8, navigator.hardwareConcurrency));
        const threads = cores === 1 ? "1 thread" : `${cores} threads`;
        await page.getByTestId("run-facts").getByText(threads).waitFor();
        await page.locator("#run-temperature").selectOption("1");
        await watchPauses(page);
        await page.getByRole("button", { name: "Go on" }).click();
        await page.getByTestId("positions").waitFor();
        for (const side of ["original", "converted"]) {
          assert.equal(await passage(page, side), PROMPT + texts[side].map(({ text }) => text).join(""));
          assert.ok((await figure(page, `speed-${side}`)) > 0);
        }
        // Another prompt is not what these texts go on from.
        await page.locator("#run-prompt").fill("Another");
        assert.ok((await passage(page, "original")).startsWith(PROMPT));
        const marks = await page.locator("mark").count();
        assert.ok(marks > 0);
        assert.equal(marks, texts.converted.filter(({ id }, i) => id !== texts.original[i]?.id).length);
        const found = await figure(page, "kl-mean");
        console.log(`        mean KL ${found} (Node: ${mean}), ${marks} tokens differ`);
        assert.ok(isClose(found, mean));
        // The work is a worker's: how long the page waits for a core is the machine's.
        assert.ok(page.workers().some((worker) => worker.url().endsWith("/run-worker.js")));
        console.log(`        longest wait ${await longestPause(page)} ms`);
        // The position where both are furthest apart is shown first; arrow keys choose others.
        const worst = positions.reduce((a, b) => (b.divergence > a.divergence ? b : a));
        const caption = page.getByTestId("likely").locator("caption");
        const shown = Number((await caption.textContent()).split("KL ")[1]);
        assert.ok(isClose(shown, worst.divergence));
        const list = page.getByRole("listbox");
        await list.focus();
        await page.keyboard.press("Home");
        assert.equal(await list.locator("[aria-selected=true]").getAttribute("id"), "token-0");
        await page.keyboard.press("ArrowRight");
        assert.equal(await list.locator("[aria-selected=true]").getAttribute("id"), "token-1");
      });
    },
  },
  {
    name: "running: measured on a pasted text as in Node, FP4 worse than FP8",
    seconds: 90,
    async body(env) {
      const { text, figures } = await once("measured", () => measuredInNode(env));
      await withPage(env, async (page) => {
        await page.goto(`${env.url}?view=run&example=stories&task=measure`);
        await ready(page);
        await page.locator("#run-text").fill(text);
        await page.getByRole("button", { name: "Measure", exact: true }).click();
        await page.getByTestId("measured").waitFor({ timeout: 30_000 });
        for (const name of ["perplexityBase", "perplexity", "kldMean"])
          assert.ok(isClose(await figure(page, name), figures[name][0]), name);
        assert.equal(await page.locator(".worst tbody tr").count(), 8);
        const fp8 = await figure(page, "kldMean");
        await chooseFormat(page, "compressed-tensors-mxfp4", "run-format");
        await ready(page);
        await page.getByRole("button", { name: "Measure", exact: true }).click();
        await page.getByTestId("measured").waitFor({ timeout: 30_000 });
        const fp4 = await figure(page, "kldMean");
        console.log(`        KL ${fp8} in FP8, ${fp4} in FP4`);
        assert.ok(fp4 > 2 * fp8);
        await page.locator("#run-text").fill("Hi");
        await page.getByRole("button", { name: "Measure", exact: true }).click();
        await page.getByRole("alert").getByText("at least 16 tokens").first().waitFor();
      });
    },
  },
  {
    name: "running: a conversation, stopped and gone on with",
    async body(env) {
      const folder = join(env.folder, `chat-${env.browser}`);
      cpSync(stories(env), folder, { recursive: true });
      const template =
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
      const add = (name, fields) => {
        const path = join(folder, name);
        writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...fields }));
      };
      add("tokenizer_config.json", { chat_template: template });
      add("config.json", { max_position_embeddings: 4096 });
      await withPage(env, async (page) => {
        await openFolder(page, folder);
        await page.getByRole("link", { name: "Run" }).click();
        await page.getByRole("radio", { name: "Chat" }).check();
        await ready(page);
        await page.locator("#run-message").fill("One day Mia");
        await page.getByRole("button", { name: "Send" }).click();
        const turns = page.getByTestId("turns").locator("li");
        await turns.nth(1).locator("p").getByText(/\w/).waitFor();
        await page.getByRole("button", { name: "Stop" }).click();
        await page.getByRole("button", { name: "Send" }).waitFor();
        assert.equal(await turns.count(), 2);
        assert.ok((await turns.nth(1).locator("p").textContent()).length > 0);
        await page.locator("#run-partner").selectOption("converted");
        await page.locator("#run-message").fill("And then?");
        await page.keyboard.press("Enter");
        await page.waitForFunction(() => document.querySelectorAll("[data-testid=turns] li").length === 4);
        await page.getByRole("button", { name: "Send" }).waitFor();
        // Stopped before its first token: no empty answer stays, and the message is in its field again.
        const question = "and then ".repeat(200).trim();
        await page.locator("#run-message").fill(question);
        await page.evaluate(async () => {
          const button = () => document.querySelector("#run-message").form.querySelector("button");
          button().click();
          while (button().type === "submit") await new Promise((resolve) => setTimeout(resolve));
          button().click();
        });
        await page.getByRole("button", { name: "Send" }).waitFor();
        const answers = await page.getByTestId("turns").locator("li.assistant p").allTextContents();
        assert.ok(answers.every((text) => text !== ""));
        if (answers.length === 2) assert.equal(await page.locator("#run-message").inputValue(), question);
      });
    },
  },
  {
    name: "running: says what it cannot run, and another can be opened, in Chinese",
    async body(env) {
      await withPage(env, async (page) => {
        await page.goto(`${env.url}?view=run&example=outliers`);
        await page.getByRole("alert").getByText("ExampleModel").first().waitFor();
        await page.getByRole("link", { name: "Playground" }).click();
        await page.getByRole("alert").getByText("ExampleModel").first().waitFor({ state: "detached" });
        await page.getByRole("link", { name: "Run", exact: true }).click();
        await page.getByRole("alert").getByText("ExampleModel").first().waitFor();
        await page.getByRole("button", { name: "Open another" }).click();
        await page.getByRole("button", { name: "中文" }).click();
        await page.getByRole("button", { name: /^语言模型/ }).click();
        await page.getByText(/^权重从/).waitFor();
        await page.getByRole("button", { name: "续写", exact: true }).click();
        await page.getByTestId("positions").waitFor();
        await page.getByRole("button", { name: "English" }).click();
      });
    },
  },
];
