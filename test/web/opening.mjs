// Ways in that are more than a file chosen: files and folders dropped, and a folder's paths.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { convert, openFiles, planned, privateFiles, withPage } from "./browser.mjs";
import { writeFolder, writeSmall } from "./checkpoints.mjs";
import { cli, hashes, onlyHashes } from "./command-line.mjs";

/** A checkpoint of two shards with what folders hold besides, and what the command line makes of it. */
async function model(env) {
  const [folder, expected] = [join(env.folder, "dropped"), join(env.folder, "dropped-fp8")];
  if (!existsSync(expected)) {
    writeFolder(folder);
    mkdirSync(join(folder, ".cache"));
    writeFileSync(join(folder, ".cache", "notes.txt"), "hidden");
    await cli(env, "quantize", folder, expected);
  }
  return { folder, expected };
}

/** Drops files or folders, given by their paths, as the system hands them to Chromium. */
async function dropInChromium(page, paths, { x, y }) {
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: paths, dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) {
    await session.send("Input.dispatchDragEvent", { type, x, y, data });
  }
}

/** Brings files into the page, where the test can do with them what Firefox lets nobody do from outside. */
async function carry(page, paths) {
  await page.evaluate(() => {
    const input = document.createElement("input");
    Object.assign(input, { id: "carrier", type: "file", multiple: true });
    document.body.append(input);
  });
  await page.locator("#carrier").setInputFiles(paths);
}

/** An event of the page's own, with files that are really on the disk. */
async function dropInFirefox(page, paths, selector) {
  await carry(page, paths);
  return page.evaluate((target) => {
    const input = document.querySelector("#carrier");
    const dataTransfer = new DataTransfer();
    for (const file of input.files) dataTransfer.items.add(file);
    input.remove();
    const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
    document.querySelector(target).dispatchEvent(event);
    return event.defaultPrevented;
  }, selector);
}

async function middleOf(page, selector) {
  const { x, y, width, height } = await page.locator(selector).boundingBox();
  return { x: x + width / 2, y: y + height / 2 };
}

async function becomes(page, expected) {
  await page.getByTestId("rows").waitFor();
  await planned(page);
  await convert(page);
  assert.deepEqual(onlyHashes(await privateFiles(page)), hashes(expected));
}

export const tests = [
  {
    name: "files dropped",
    async body(env) {
      const { folder, expected } = await model(env);
      const paths = readdirSync(folder)
        .filter((name) => !name.startsWith("."))
        .map((name) => join(folder, name));
      await withPage(env, async (page) => {
        if (env.browser === "chromium") await dropInChromium(page, paths, await middleOf(page, ".drop"));
        else await dropInFirefox(page, paths, ".drop");
        await becomes(page, expected);
      });
    },
  },
  {
    name: "a folder dropped: all of it but what is hidden, under its name",
    browsers: ["chromium"],
    async body(env) {
      const { folder, expected } = await model(env);
      await withPage(env, async (page) => {
        await dropInChromium(page, [folder], await middleOf(page, ".drop"));
        await page.getByRole("heading", { name: "dropped" }).waitFor();
        await becomes(page, expected);
      });
    },
  },
  {
    name: "a folder's input, its files with the paths that Firefox gives them",
    browsers: ["firefox"],
    async body(env) {
      const { folder, expected } = await model(env);
      const paths = ["config.json", ...readdirSync(expected), ".cache/notes.txt"].map((name) =>
        join(folder, name),
      );
      await withPage(env, async (page) => {
        await carry(page, [...new Set(paths)]);
        await page.evaluate(() => {
          const input = document.querySelector("#carrier");
          const files = [...input.files];
          input.remove();
          for (const file of files) {
            const path = file.name === "notes.txt" ? ".cache/notes.txt" : file.name;
            Object.defineProperty(file, "webkitRelativePath", { value: `dropped/${path}` });
          }
          const target = document.querySelector("[data-testid=folder]");
          Object.defineProperty(target, "files", { value: files });
          target.dispatchEvent(new Event("change", { bubbles: true }));
        });
        await page.getByRole("heading", { name: "dropped" }).waitFor();
        await becomes(page, expected);
      });
    },
  },
  {
    name: "a drop without a checkpoint, and drops beside the place for them: the page stays",
    async body(env) {
      const { folder } = await model(env);
      const paths = [join(folder, "config.json")];
      const small = join(env.folder, `beside-${env.browser}.safetensors`);
      writeSmall(small, 64);
      await withPage(env, async (page) => {
        const drop = async (selector) => {
          if (env.browser === "chromium") return dropInChromium(page, paths, await middleOf(page, selector));
          assert.ok(await dropInFirefox(page, paths, selector), "the browser would open the file");
        };
        await drop(".drop");
        await page.getByRole("alert").getByText("There is no .safetensors file in config.json").waitFor();
        await page.getByRole("button", { name: "Close" }).click();
        await drop("h1");
        await openFiles(page, small);
        await drop("h1");
        await planned(page);
        assert.equal(page.url(), env.url);
      });
    },
  },
];
