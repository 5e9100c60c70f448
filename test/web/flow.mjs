// The whole flow, with output compared byte for byte with the command line's.
import assert from "node:assert/strict";
import { createReadStream, existsSync, mkdtempSync, statSync } from "node:fs";
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
import { writeFolder, writeInfinite, writeMany, writeSmall } from "./checkpoints.mjs";
import { arrive, cli, hashes, onlyHashes, sha256, unzipped } from "./command-line.mjs";
import { withFront } from "./front.mjs";

/** Makes the input of a test once. */
function made(env, name, write) {
  const path = join(env.folder, name);
  if (!existsSync(path)) write(path);
  return path;
}

const dialects = ["deepseek-v3.1", "mxfp8"];

/** Bytes that one read of a header takes. */
const HEADER_READ = 1 << 16;

/**
 * Answers what asks for ranges of a file at /far/far.safetensors, and denies all else below /far/. Counts its
 * bytes; long ranges have to wait until `release` is called.
 */
function rangesOf(path) {
  const size = statSync(path).size;
  const sent = { bytes: 0 };
  let release;
  const isReleased = new Promise((resolve) => {
    release = resolve;
  });
  const answer = (request, response) => {
    if (!request.url.startsWith("/far/")) return false;
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (first === undefined || request.url !== "/far/far.safetensors") {
      response.writeHead(404).end();
      return true;
    }
    const [start, end] = [Number(first), Number(last)];
    const send = () => {
      sent.bytes += end - start + 1;
      response.writeHead(206, {
        "content-range": `bytes ${start}-${end}/${size}`,
        "content-length": end - start + 1,
        etag: '"1"',
      });
      createReadStream(path, { start, end }).pipe(response);
    };
    if (end - start < HEADER_READ) send();
    else isReleased.then(send);
    return true;
  };
  return { answer, sent, release };
}

export const tests = [
  ...dialects.map((dialect) => ({
    name: `a file becomes ${dialect}, byte for byte what the command line makes of it`,
    async body(env) {
      const input = made(env, "small.safetensors", writeSmall);
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
      const input = made(env, "model", writeFolder);
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
    name: "a file on a server: inspected from its header, timed, converted by ranges; what is not there is said",
    async body(env) {
      const input = made(env, "small.safetensors", writeSmall);
      const expected = join(env.folder, `far-${env.browser}.safetensors`);
      await cli(env, "quantize", input, expected);
      const { answer, sent, release } = rangesOf(input);
      const body = async (page, { url }) => {
        await page.getByLabel("Or open one on Hugging Face").fill(`${url}far/nothing.safetensors`);
        await page.getByRole("button", { name: "Open", exact: true }).click();
        await page
          .getByRole("alert")
          .getByText(/^There is nothing at /)
          .waitFor();
        page.errors.length = 0; // the browser's own report of the 404
        await page.getByLabel("Or open one on Hugging Face").fill(`${url}far/far.safetensors`);
        await page.getByRole("button", { name: "Open", exact: true }).click();
        await page.getByTestId("rows").waitFor();
        await planned(page);
        await page.getByText("measuring…").waitFor();
        assert.ok(sent.bytes < HEADER_READ + 100, `${sent.bytes} bytes to inspect and plan`);
        release();
        await page.getByText(/^about \d/).waitFor();
        await page.getByText(/^the server gives [\d.]+ [kMG]?B\/s$/).waitFor();
        assert.ok(sent.bytes < 7e6, `${sent.bytes} bytes to measure`);
        await convert(page);
        assert.deepEqual(onlyHashes(await privateFiles(page)), { "far.safetensors": sha256(expected) });
      };
      await withFront(env, { answer }, (url) => withPage({ ...env, url }, (page) => body(page, { url })));
    },
  },
  {
    name: "patterns and clicks change the plan, to the byte",
    async body(env) {
      const input = made(env, "small.safetensors", writeSmall);
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
    name: "the output is downloaded whole",
    async body(env) {
      const input = made(env, "small.safetensors", writeSmall);
      const expected = join(env.folder, `download-${env.browser}.safetensors`);
      await cli(env, "quantize", input, expected);
      const downloads = mkdtempSync(join(env.folder, "downloads-"));
      await withPage(
        env,
        async (page) => {
          await openFiles(page, input);
          await planned(page);
          await convert(page);
          const save = page.getByRole("button", { name: "Save", exact: true });
          if (env.browser === "chromium") {
            const [download] = await Promise.all([page.waitForEvent("download"), save.click()]);
            assert.equal(download.suggestedFilename(), "small-fp8.safetensors");
            assert.equal(sha256(await download.path()), sha256(expected));
            return;
          }
          await save.click();
          // Firefox says nothing of it to playwright, which gives the file a name of its own.
          await arrive(downloads, { file: sha256(expected) });
        },
        { downloadsPath: downloads },
      );
    },
  },
  {
    name: "where the user may choose, the output goes there and nowhere else",
    browsers: ["chromium"],
    async body(env) {
      const input = made(env, "model", writeFolder);
      const expected = join(env.folder, `model-chosen`);
      await cli(env, "quantize", input, expected);
      const body = async (page) => {
        // What the pickers give is a real handle, of a folder in the page's private file system.
        await page.evaluate(() => {
          window.showDirectoryPicker = async () => {
            const root = await navigator.storage.getDirectory();
            return root.getDirectoryHandle("chosen", { create: true });
          };
        });
        await openFolder(page, input);
        await planned(page);
        await convert(page);
        await page.getByText("Saved where you chose.").waitFor();
        assert.deepEqual(onlyHashes(await privateFiles(page)), hashes(expected));
      };
      await withPage(env, body, { pickers: true });
    },
  },
  {
    name: "where the user may choose the file, it is written there, under the name suggested",
    browsers: ["chromium"],
    async body(env) {
      const input = made(env, "small.safetensors", writeSmall);
      const expected = join(env.folder, "small-chosen.safetensors");
      await cli(env, "quantize", input, expected);
      const body = async (page) => {
        await page.evaluate(() => {
          window.showSaveFilePicker = async ({ suggestedName }) => {
            const root = await navigator.storage.getDirectory();
            return root.getFileHandle(suggestedName, { create: true });
          };
        });
        await openFiles(page, input);
        await planned(page);
        await convert(page);
        await page.getByText("Saved where you chose.").waitFor();
        const files = await privateFiles(page);
        assert.deepEqual(onlyHashes(files), { "small-fp8.safetensors": sha256(expected) });
      };
      await withPage(env, body, { pickers: true });
    },
  },
  {
    name: "pause holds the run, resume ends it, cancel leaves nothing",
    async body(env) {
      const input = made(env, "small.safetensors", writeSmall);
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
      const input = made(env, "many.safetensors", (path) => writeMany(path, 5000));
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
      const input = made(env, "small.safetensors", writeSmall);
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
      const input = made(env, "small.safetensors", writeSmall);
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
      const input = made(env, "infinite.safetensors", writeInfinite);
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
