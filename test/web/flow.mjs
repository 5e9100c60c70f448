// The whole flow, with output compared byte for byte with the command line's.
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  chooseFormat,
  convert,
  downloadedBy,
  jsonReport,
  openFiles,
  openFolder,
  openReady,
  planned,
  privateFiles,
  startAndPause,
  withPage,
  written,
} from "./browser.mjs";
import { inputOf, writeFolder, writeInfinite, writeMany, writeSmall } from "./checkpoints.mjs";
import { cli, hashes, onlyHashes, sha256, unzipped } from "./command-line.mjs";

const dialects = ["deepseek-v3.1", "mxfp8"];

export const tests = [
  ...dialects.map((dialect) => ({
    name: `a file becomes ${dialect}, byte for byte what the command line makes of it`,
    async body(env) {
      const input = inputOf(env, "small.safetensors", writeSmall);
      const expected = join(env.folder, `small-${dialect}-${env.browser}.safetensors`);
      const report = await cli(env, "quantize", input, expected, "--to", dialect);
      await withPage(env, async (page) => {
        await openFiles(page, input);
        await chooseFormat(page, dialect);
        const size = await planned(page);
        await page.getByText(/^about /).waitFor();
        await convert(page);
        const files = await privateFiles(page);
        assert.deepEqual(onlyHashes(files), { "small.safetensors": sha256(expected) });
        assert.equal(files["small.safetensors"].size, size);
        const [told] = await written(page);
        assert.equal(told.size, size);
        assert.match(told.checksum, /^[0-9a-f]{16}$/);
        // The same figures too: SQNR of the first weight that was converted.
        const first = report.tensors.find(({ precision }) => precision !== null);
        const row = page.getByRole("row", { name: first.name });
        assert.ok((await row.textContent()).includes(`${first.precision.sqnrDb.toFixed(1)} dB`));
      });
    },
  })),
  {
    name: "a folder of two shards becomes FP8 and BF16 again, as the command line does it",
    async body(env) {
      const input = inputOf(env, "model", writeFolder);
      const fp8 = join(env.folder, `model-fp8-${env.browser}`);
      const bf16 = join(env.folder, `model-bf16-${env.browser}`);
      await cli(env, "quantize", input, fp8);
      await cli(env, "dequantize", fp8, bf16);
      await withPage(env, async (page) => {
        await openFolder(page, input);
        const size = await planned(page);
        await convert(page);
        const files = await privateFiles(page);
        assert.deepEqual(onlyHashes(files), hashes(fp8));
        assert.equal(
          size,
          Object.values(files).reduce((n, file) => n + file.size, 0),
        );
        // Saved as one archive, with the folder in it.
        const press = () => page.getByRole("button", { name: /^Save \d+ files as/ }).click();
        const { name, bytes } = await downloadedBy(page, press);
        const folder = name.replace(/\.zip$/, "");
        const zipped = Object.entries(hashes(fp8)).map(([file, hash]) => [`${folder}/${file}`, hash]);
        assert.deepEqual(unzipped(bytes), Object.fromEntries(zipped));
        await page.getByRole("button", { name: "Open another" }).click();
        await openFolder(page, fp8);
        await page.getByText("Quantised: deepseek-v3.1").waitFor();
        await planned(page);
        await convert(page);
        assert.deepEqual(onlyHashes(await privateFiles(page)), hashes(bf16));
      });
    },
  },
  {
    name: "patterns and clicks change the plan, to the byte",
    async body(env) {
      const input = inputOf(env, "small.safetensors", writeSmall);
      const expected = join(env.folder, `patterns-${env.browser}.safetensors`);
      await cli(
        env,
        "quantize",
        input,
        expected,
        "--exclude",
        "*.o_proj.weight",
        "--exclude",
        "*.0.mlp.up_proj.weight",
        "--include",
        "lm_head*",
      );
      await withPage(env, async (page) => {
        await openFiles(page, input);
        const before = await planned(page);
        await page.getByText("Choose tensors by name").click();
        await page.locator("#exclude").fill("*.o_proj.weight");
        await page.locator("#include").fill("lm_head*");
        await page.getByRole("checkbox", { name: "Convert model.layers.0.mlp.up_proj.weight" }).click();
        await page.getByText("8 of 15 tensors change").waitFor();
        assert.notEqual(await planned(page), before);
        await convert(page);
        assert.deepEqual(onlyHashes(await privateFiles(page)), { "small.safetensors": sha256(expected) });
      });
    },
  },
  {
    name: "pause holds the run, resume ends it, cancel leaves nothing",
    async body(env) {
      const input = inputOf(env, "small.safetensors", writeSmall);
      await withPage(env, async (page) => {
        await openReady(page, input);
        await startAndPause(page);
        const resumed = performance.now();
        await page.getByRole("button", { name: "Resume" }).click();
        await page.getByTestId("done").waitFor();
        const needed = performance.now() - resumed;
        await page.getByRole("button", { name: "Convert differently" }).click();
        await page.getByRole("dialog").getByRole("button", { name: "Delete it" }).click();
        await planned(page);
        await startAndPause(page);
        // In this time it would be over.
        await page.waitForTimeout(Math.min(2 * needed, 3000));
        await page.getByRole("link", { name: "Compare" }).click();
        assert.ok(await page.getByRole("button", { name: "Open another" }).isDisabled());
        await page.getByRole("link", { name: "Convert" }).click();
        const part = await page.getByRole("progressbar").getAttribute("aria-valuenow");
        assert.ok(Number(part) < 50, `${part} %`);
        await page.getByRole("button", { name: "Cancel" }).click();
        await page.getByText("Nothing unfinished was kept.").waitFor();
        assert.deepEqual(await privateFiles(page), {});
      });
    },
  },
  {
    name: "five thousand tensors: few rows in the page, searched and sorted, by keyboard too",
    async body(env) {
      const input = inputOf(env, "many.safetensors", (path) => writeMany(path, 5000));
      await withPage(env, async (page) => {
        await openFiles(page, input);
        await page.getByText("5,000 of 5,000", { exact: true }).waitFor();
        const rows = page.locator("[role=rowgroup] [role=row]");
        assert.ok((await rows.count()) < 60);
        const grid = page.getByRole("grid");
        await grid.focus();
        await page.keyboard.press("End");
        await page.getByRole("row", { name: "model.layers.499.mlp.experts.9.up_proj.weight" }).waitFor();
        assert.ok((await rows.count()) < 60);
        await page.keyboard.press("Home");
        await page.keyboard.press("ArrowDown");
        const active = await grid.getAttribute("aria-activedescendant");
        assert.equal(active, "row-1");
        await page.keyboard.press("Enter");
        await page.getByRole("heading", { name: "model.layers.0.mlp.experts.1.up_proj.weight" }).waitFor();
        await page.keyboard.press("Escape");
        await page.getByRole("searchbox").fill("layers.42. experts.7");
        await page.getByText("1 of 5,000").waitFor();
        await page.getByRole("searchbox").fill("experts.0");
        await page.getByRole("button", { name: "Name" }).click();
        await page.getByRole("button", { name: "Name" }).click();
        assert.match(await rows.first().textContent(), /layers\.499\./);
      });
    },
  },
  {
    name: "a tensor looked at closely: schemes compared, values, errors and scales drawn",
    async body(env) {
      const input = inputOf(env, "small.safetensors", writeSmall);
      await withPage(env, async (page) => {
        await openFiles(page, input);
        await page.getByRole("button", { name: "model.layers.0.mlp.up_proj.weight" }).click();
        const rows = page.getByTestId("comparison").locator("tbody tr");
        await rows.first().waitFor();
        assert.ok((await rows.count()) >= 4);
        assert.equal(await page.getByText("loses least").count(), 1);
        const charts = page.getByTestId("charts");
        assert.equal(await charts.locator("canvas").count(), 3);
        for (let i = 0; i < 3; i++) {
          const colours = await charts
            .locator("canvas")
            .nth(i)
            .evaluate((canvas) => {
              const { width, height } = canvas;
              const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
              return new Set(new Uint32Array(data.buffer)).size;
            });
          assert.ok(colours > 2, `canvas ${i} is empty`);
        }
      });
    },
  },
  {
    name: "the JSON report says what the command line's says",
    browsers: ["chromium"],
    async body(env) {
      const input = inputOf(env, "small.safetensors", writeSmall);
      const output = join(env.folder, "reported.safetensors");
      // The page measures every value.
      const report = await cli(env, "quantize", input, output, "--measure", "all");
      await withPage(env, async (page) => {
        await openFiles(page, input);
        await planned(page);
        await convert(page);
        const json = await jsonReport(page);
        assert.deepEqual(json.tensors, report.tensors);
        assert.deepEqual(json.total, report.total);
      });
    },
  },
  {
    name: "values that become Inf are told, in the table and in the JSON report, and not called exact",
    browsers: ["chromium"],
    async body(env) {
      const input = inputOf(env, "infinite.safetensors", writeInfinite);
      const report = await cli(
        env,
        "dequantize",
        input,
        join(env.folder, "infinite-f16.safetensors"),
        "--dtype",
        "f16",
      );
      assert.equal(report.tensors[0].precision.sqnrDb, "-Infinity");
      await withPage(env, async (page) => {
        await openFiles(page, input);
        await page.getByRole("radio", { name: "F16", exact: true }).click();
        await planned(page);
        await convert(page);
        const row = page.getByRole("row", { name: "a.weight" });
        await row.getByText("4,096 became NaN or Inf").waitFor();
        await page.getByTestId("done").getByText("4,096 became NaN or Inf").waitFor();
        const json = await jsonReport(page);
        assert.deepEqual(json.tensors, report.tensors);
        assert.deepEqual(json.total, report.total);
      });
    },
  },
];
