// WebKit: the whole flow in a normal window, and what the page says in windows that have no storage for the output.
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { privateFiles } from "./browser.mjs";
import { writeFolder } from "./checkpoints.mjs";
import { arriveZipped, cli, hashes, onlyHashes } from "./command-line.mjs";
import { STORAGE, until, withDriver, withWindow } from "./webkit/mini-browser.mjs";

function model(env) {
  const folder = join(env.folder, "model");
  if (!existsSync(folder)) writeFolder(folder);
  return folder;
}

const pathsIn = (folder) => readdirSync(folder).map((name) => join(folder, name));

/** Gives files to the page's input as a choice in the system's dialog would. */
async function choose(names) {
  const chosen = new DataTransfer();
  for (const [i, name] of names.entries()) {
    chosen.items.add(new File([await (await fetch(`inputs/${i}`)).arrayBuffer()], name));
  }
  const input = document.querySelector("[data-testid=files]");
  input.files = chosen.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

/** Waits for the exact size and the measured time. */
async function planned(page) {
  await until(page, () => {
    const outcome = document.querySelector("[data-testid=outcome][aria-busy=false]");
    return outcome !== null && /about \d/.test(outcome.textContent);
  });
}

const press = (page, label) =>
  page.evaluate((wanted) => {
    const buttons = [...document.querySelectorAll("button")];
    buttons.find(({ textContent, disabled }) => textContent === wanted && !disabled).click();
  }, label);

/** Looking inside goes on working; converting is not offered, and the reason is there to read. */
async function refusesToConvert(page, reason) {
  await until(page, () => document.querySelector(".outcome .note.bad") !== null);
  const { note, isOffered } = await page.evaluate(() => ({
    note: document.querySelector(".outcome .note.bad").textContent,
    isOffered: !document.querySelector(".outcome > button").disabled,
  }));
  assert.match(note, /^This window lets pages store no files.*Open the page in a normal window/);
  assert.match(note, reason);
  assert.equal(isOffered, false);
  await page.evaluate(() => document.querySelectorAll(".cell.name .link")[2].click());
  await until(page, () => document.querySelectorAll("[data-testid=comparison] tbody tr").length >= 4);
}

/** Opens the checkpoint in a normal window. */
function withModel(env, options, body) {
  const files = pathsIn(model(env));
  return withWindow(env, { ...options, files }, async (page, downloads) => {
    await page.evaluate(
      choose,
      files.map((path) => basename(path)),
    );
    await planned(page);
    await body(page, downloads);
  });
}

/**
 * For the main worker: files that can be written in place, which Safari has and WebKitGTK has not. Their
 * bytes stay in memory until they are closed, and then are written as a stream.
 */
const WRITTEN_IN_PLACE = `{
  const { createWritable, getFile } = FileSystemFileHandle.prototype;
  let closed = Promise.resolve();
  FileSystemFileHandle.prototype.getFile = function () {
    return closed.then(() => getFile.call(this));
  };
  FileSystemFileHandle.prototype.createSyncAccessHandle = async function () {
    const stored = new Uint8Array(1 << 24);
    let size = 0;
    return {
      write(bytes, { at }) {
        stored.set(bytes, at);
        size = Math.max(size, at + bytes.length);
        return bytes.length;
      },
      read(into, { at }) {
        into.set(stored.subarray(at, Math.min(size, at + into.length)));
        return Math.min(into.length, size - at);
      },
      getSize: () => size,
      flush() {},
      close: () => {
        closed = closed.then(async () => {
          const stream = await createWritable.call(this);
          await stream.write(stored.slice(0, size));
          await stream.close();
        });
      },
    };
  };
}`;

export const tests = [
  {
    name: "a checkpoint of two shards becomes FP8, and what is downloaded is what the command line makes",
    browsers: ["webkit"],
    async body(env) {
      const expected = join(env.folder, "model-fp8-webkit");
      await cli(env, "quantize", model(env), expected);
      await withModel(env, { features: STORAGE, worker: WRITTEN_IN_PLACE }, async (page, downloads) => {
        await press(page, "Convert");
        await until(page, () => document.querySelector("[data-testid=done]") !== null);
        assert.deepEqual(onlyHashes(await privateFiles(page)), hashes(expected));
        await press(page, `Save ${readdirSync(expected).length} files as .zip`);
        await arriveZipped(downloads, hashes(expected));
      });
    },
  },
  {
    name: "storage whose files cannot be written in place: a message",
    browsers: ["webkit"],
    async body(env) {
      await withModel(env, { features: STORAGE }, async (page) => {
        await press(page, "Convert");
        await until(page, () => document.querySelector("[role=alert] strong") !== null);
        const note = await page.evaluate(() => document.querySelector("[role=alert]").textContent);
        assert.match(note, /^This window lets pages store no files.*Backend does not support/);
        assert.deepEqual(await privateFiles(page), {});
      });
    },
  },
  {
    name: "without private storage, as WebKitGTK comes: inside can be seen, and why nothing can be converted",
    browsers: ["webkit"],
    async body(env) {
      await withModel(env, {}, (page) => refusesToConvert(page, /private file system is missing\.$/));
    },
  },
  {
    name: "a private window, with files from the disk: the same",
    browsers: ["webkit"],
    async body(env) {
      // Windows that a driver opens are private.
      await withDriver(env, { features: STORAGE }, async (page) => {
        await page.upload("[data-testid=files]", pathsIn(model(env)));
        await planned(page);
        await refusesToConvert(page, /private file system is missing: UnknownError/);
      });
    },
  },
  {
    name: "tensors by layer, one looked at closely, a block of it; two checkpoints compared; a model run",
    browsers: ["webkit"],
    seconds: 150,
    async body(env) {
      await withModel(env, {}, async (page) => {
        await page.evaluate(() => document.querySelector(".table-tools input[type=checkbox]").click());
        await until(page, () => document.querySelector("[role=treegrid] .group") !== null);
        await page.evaluate(() => document.querySelector(".group").click());
        await until(page, () => document.querySelectorAll("[role=treegrid] [aria-level='2']").length > 0);
        await page.evaluate(() => document.querySelector(".table-tools input[type=checkbox]").click());
        await until(page, () => document.querySelectorAll(".cell.name .link").length > 2);
        await page.evaluate(() => document.querySelectorAll(".cell.name .link")[2].click());
        await until(page, () => document.querySelectorAll("[data-testid=charts] canvas").length === 3);
        await page.evaluate(() => {
          const heat = document.querySelector("[data-testid=heat]");
          heat.focus();
          heat.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
        });
        await until(page, () => document.querySelectorAll("[data-testid=block] td").length > 100);
        const go = (name) =>
          page.evaluate((view) => document.querySelector(`.views a[href="?view=${view}"]`).click(), name);
        await go("compare");
        await until(page, () => document.querySelector(".compare .examples button") !== null);
        await page.evaluate(() => document.querySelectorAll(".compare .examples button")[2].click());
        await until(page, () => /not the same model/.test(document.body.textContent));
        await page.evaluate(() => document.querySelector(".model-line button").click());
        await go("run");
        await until(page, () => document.querySelector(".run .examples button") !== null);
        await page.evaluate(() => document.querySelector(".run .examples button").click());
        await until(page, () => /weights became/.test(document.body.textContent));
        await page.evaluate(() => document.querySelector(".run button.primary").click());
        await until(page, () => document.querySelector("[data-testid=positions] canvas") !== null);
      });
    },
  },
];
