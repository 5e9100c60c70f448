// Where the output goes: to the downloads, or where the user chooses.
import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { convert, openFiles, openFolder, planned, privateFiles, withPage } from "./browser.mjs";
import { inputOf, writeFolder, writeSmall } from "./checkpoints.mjs";
import { arrive, cli, hashes, onlyHashes, sha256 } from "./command-line.mjs";

export const tests = [
  {
    name: "the output is downloaded whole",
    async body(env) {
      const input = inputOf(env, "small.safetensors", writeSmall);
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
      const input = inputOf(env, "model", writeFolder);
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
      const input = inputOf(env, "small.safetensors", writeSmall);
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
];
