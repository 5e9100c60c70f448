// The page that --report writes: opened from a file, as people do, with nothing to fetch.
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { convert, openFiles, planned, withPage } from "./browser.mjs";
import { writeFile, writeSmall } from "./checkpoints.mjs";
import { run } from "./command-line.mjs";
import { audit } from "./page.mjs";

const HOSTILE = "</script><img src=x onerror=\"document.title='taken'\">.3.weight";

/** A report of four layers and a name that is out for no good. */
async function reportFile(env) {
  const path = join(env.folder, "report.html");
  if (existsSync(path)) return path;
  const input = join(env.folder, "reported-in.safetensors");
  const layers = [0, 1, 2].flatMap((i) => [
    [`model.layers.${i}.self_attn.q_proj.weight`, [256, 256]],
    [`model.layers.${i}.mlp.up_proj.weight`, [384, 256]],
    [`model.layers.${i}.input_layernorm.weight`, [256]],
  ]);
  writeFile(input, [...layers, [HOSTILE, [128, 256]]]);
  const out = join(env.folder, "reported-out.safetensors");
  await run(env, "quantize", input, out, "--to", "mxfp8", "--include", "*weight", "--report", path);
  return path;
}

/** What the charts of a report show. */
function chartsIn(path) {
  const [, data] = /<script type="application\/json" id="charts">(.*?)<\/script>/s.exec(
    readFileSync(path, "utf8"),
  );
  return JSON.parse(data);
}

/**
 * Asks the web page for its report. @returns the path of an .html file, without which browsers show its text
 */
async function downloadReport(page, name) {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name }).click(),
  ]);
  const path = `${await download.path()}.html`;
  await download.saveAs(path);
  return path;
}

/** Opens it; whatever it asks for besides itself is listed. */
async function openReport(page, path) {
  const requests = [];
  await page.goto("about:blank");
  page.on("request", (request) => requests.push(request.url()));
  const { href } = pathToFileURL(path);
  await page.goto(href);
  return requests.filter((url) => url !== href && url !== "data:,");
}

/** Colours of every chart, by the identity of its figure: an empty canvas has one. */
function coloursOf(page) {
  return page.locator("figure").evaluateAll((figures) =>
    figures.map((figure) => {
      const canvas = figure.querySelector("canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return [figure.id, [...new Set(new Uint32Array(data.buffer))]];
    }),
  );
}

const CHARTS = ["sqnr", "exponents", "layers", "errors", "values"];

/**
 * The report of a choice of formats for a small model: what was chosen, where it hurts, and at which tokens.
 */
async function sensitivityReport(env) {
  const path = join(env.folder, "sensitivity.html");
  if (existsSync(path)) return path;
  const model = join(env.root, "test/evaluate/models/qwen3");
  const options = ["--tokens", join(model, "tokens.safetensors"), "--report", path];
  await run(env, "sensitivity", model, "--context", "64", ...options);
  return path;
}

/** The report of a small model that was trained in FP4. */
async function trainingReport(env) {
  const path = join(env.folder, "training.html");
  if (existsSync(path)) return path;
  const [text, config] = ["book.txt", "little.json"].map((name) => join(env.folder, name));
  writeFileSync(text, "In the beginning was the word. ".repeat(400));
  const sizes = { hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2 };
  const rest = {
    num_key_value_heads: 2,
    head_dim: 16,
    vocab_size: 256,
    rms_norm_eps: 1e-6,
    hidden_act: "silu",
  };
  writeFileSync(config, JSON.stringify({ architectures: ["LlamaForCausalLM"], ...sizes, ...rest }));
  const out = join(env.folder, "trained");
  const options = ["--config", config, "--recipe", "mxfp4-floor", "--steps", "40", "--batch", "4"];
  await run(env, "train", text, out, ...options, "--context", "32", "--every", "10", "--report", path);
  return path;
}

const browsers = ["chromium", "firefox"];

export const tests = [
  {
    name: "a report opens from a file: every chart is drawn, nothing is asked for, no name is obeyed",
    browsers,
    async body(env) {
      await withPage(env, async (page) => {
        assert.deepEqual(await openReport(page, await reportFile(env)), []);
        const light = await coloursOf(page);
        assert.deepEqual(
          light.map(([id]) => id),
          CHARTS,
        );
        for (const [id, colours] of light) assert.ok(colours.length > 5, `${id} is empty`);
        assert.match(await page.title(), /^Quantisation: .*reported-in\.safetensors → /);
        assert.equal(await page.locator("img").count(), 0);
        assert.equal(await page.getByRole("rowheader", { name: HOSTILE }).count(), 1);
        if (env.browser === "firefox") return; // its colour scheme cannot be set from outside
        await page.emulateMedia({ colorScheme: "dark" });
        let dark = light;
        // Drawn anew one after the other, the last one last.
        while (isDeepStrictEqual(dark.at(-1), light.at(-1))) dark = await coloursOf(page);
        for (const [i, [id, colours]] of (await coloursOf(page)).entries()) {
          assert.ok(colours.length > 5, `${id} is empty in the dark`);
          assert.notDeepEqual(colours, light[i][1], `${id} keeps its colours`);
        }
        await page.emulateMedia({ colorScheme: null });
      });
    },
  },
  {
    name: "the report of training opens from a file, with curves, speed and what rounding did",
    browsers,
    async body(env) {
      await withPage(env, async (page) => {
        const path = await trainingReport(env);
        assert.deepEqual(await openReport(page, path), []);
        const drawn = await coloursOf(page);
        assert.deepEqual(
          drawn.map(([id]) => id),
          ["training", "speed", "flushed", "saturated", "amax"],
        );
        for (const [id, colours] of drawn) assert.ok(colours.length > 5, `${id} is empty`);
        const { loss, ranges } = chartsIn(path);
        assert.ok(loss.training[0] > loss.training.at(-1));
        assert.deepEqual(ranges.rows, ["0 x", "0 w", "0 dy", "1 x", "1 w", "1 dy"]);
        assert.ok(ranges.saturated.flat().some((share) => share > 0));
      });
    },
  },
  {
    name: "the report that the web page makes of a conversion shows what the command line's shows, in Chinese too",
    browsers: ["chromium"],
    async body(env) {
      const input = join(env.folder, "reported.safetensors");
      writeSmall(input);
      const path = join(env.folder, "command-line.html");
      const fp8 = join(env.folder, "reported-fp8.safetensors");
      // The page measures every value.
      await run(env, "quantize", input, fp8, "--report", path, "--measure", "all");
      await withPage(env, async (page) => {
        await openFiles(page, input);
        await planned(page);
        await convert(page);
        const made = await downloadReport(page, /HTML/);
        assert.deepEqual(chartsIn(made), chartsIn(path));
        assert.match(readFileSync(made, "utf8"), /all [\d,]+ of them.*<th[^>]*>XXH64<\/th>/s);
        await page.getByRole("button", { name: "中文" }).click();
        await page.locator("html[lang=zh-Hans]").waitFor();
        const chinese = await downloadReport(page, /HTML/);
        await page.getByRole("button", { name: "English" }).click();
        assert.deepEqual(await openReport(page, chinese), []);
        await page.getByRole("heading", { name: "各层的 SQNR" }).waitFor();
        assert.deepEqual(
          (await coloursOf(page)).map(([id]) => id),
          CHARTS,
        );
        await page.goto(env.url);
        await openFiles(page, fp8);
        await planned(page);
        await convert(page);
        // What becomes of values is not looked at where they become plain: what was not measured is not shown.
        const { points, errors, values, exponents } = chartsIn(await downloadReport(page, /HTML/));
        assert.deepEqual(
          { names: points.names, errors, after: values.after },
          { names: [], errors: null, after: null },
        );
        assert.deepEqual(exponents, chartsIn(path).exponents);
      });
    },
  },
  {
    name: "a report tells what is under the pointer, and is sorted by its headings, by keyboard too",
    browsers,
    async body(env) {
      await withPage(env, async (page) => {
        await openReport(page, await reportFile(env));
        await page.locator("#exponents .u-over").hover();
        const told = page.locator("#exponents .readout");
        await told.filter({ hasText: /^2⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+: [\d,]+$/ }).waitFor();
        const rows = page.locator("#tensors tbody tr");
        const names = () => rows.locator("th").allTextContents();
        const before = await names();
        await page.getByRole("button", { name: "Size" }).click();
        const sizes = await rows
          .locator("td:nth-child(4)")
          .evaluateAll((cells) => cells.map(({ dataset }) => Number(dataset.value)));
        assert.deepEqual(
          sizes,
          [...sizes].sort((a, b) => a - b),
        );
        await page.getByRole("button", { name: "Tensor" }).focus();
        await page.keyboard.press("Enter");
        await page.keyboard.press("Enter");
        assert.deepEqual(await names(), [...before].sort().reverse());
        assert.equal(await page.locator("[aria-sort=descending]").textContent(), "Tensor");
      });
    },
  },
  {
    name: "a report at 400 px, on paper, and to axe",
    browsers: ["chromium"],
    async body(env) {
      await withPage(env, async (page) => {
        const widths = () =>
          page.evaluate(() => [
            document.documentElement.scrollWidth,
            ...[...document.querySelectorAll("canvas")].map((canvas) => canvas.clientWidth),
          ]);
        for (const colorScheme of ["light", "dark"]) {
          await page.emulateMedia({ colorScheme });
          await openReport(page, await reportFile(env));
          assert.deepEqual(await audit(page), [], colorScheme);
        }
        await page.setViewportSize({ width: 400, height: 800 });
        for (let i = 0; i < 50 && Math.max(...(await widths())) > 400; i++) await page.waitForTimeout(100);
        for (const width of await widths()) assert.ok(width <= 400, `${width} px`);
        await page.setViewportSize({ width: 1280, height: 860 });
        await page.emulateMedia({ media: "print", colorScheme: "dark" });
        await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
        for (const width of (await widths()).slice(1)) assert.ok(width <= 680, `${width} px`);
        const page1 = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        assert.equal(page1, "rgb(255, 255, 255)");
        await page.evaluate(() => dispatchEvent(new Event("afterprint")));
        await page.emulateMedia({ media: null, colorScheme: null });
      });
    },
  },
  {
    name: "a report without scripts has its tables",
    browsers: ["chromium"],
    async body(env) {
      const body = async (page) => {
        await openReport(page, await reportFile(env));
        assert.equal(await page.locator("#tensors tbody tr").count(), 10);
        await page.locator("#exponents summary").click();
        assert.ok(await page.locator("#exponents tbody tr").first().isVisible());
        await page.getByText("Charts are drawn by a script in this file").waitFor();
      };
      await withPage(env, body, { javaScriptEnabled: false });
    },
  },
  {
    name: "a report of formats for a model: every chart is drawn and told, nothing is asked for, to axe in light and dark",
    browsers: ["chromium"],
    async body(env) {
      await withPage(env, async (page) => {
        for (const colorScheme of ["light", "dark"]) {
          await page.emulateMedia({ colorScheme });
          assert.deepEqual(await openReport(page, await sensitivityReport(env)), []);
          const drawn = await coloursOf(page);
          assert.deepEqual(
            drawn.map(([id]) => id),
            ["curve", "heat", "positions", "losses"],
          );
          for (const [id, colours] of drawn) assert.ok(colours.length > 5, `${id} is empty`);
          assert.deepEqual(await audit(page), [], colorScheme);
        }
        await page.locator("#heat .u-over").hover();
        await page
          .locator("#heat .readout")
          .filter({ hasText: /^1, \w+ .*: [\d.]+ dB$/ })
          .waitFor();
        assert.equal(await page.locator("#worst mark").count(), 20);
        await page.emulateMedia({ colorScheme: null });
      });
    },
  },
];
