// Everything that can go wrong while converting, provoked: a clear message, and nothing that looks complete.
import assert from "node:assert/strict";
import {
  closeSync,
  cpSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { serve } from "../../.config/serve.mjs";
import { openFiles, openPage, planned, privateFiles, withPage } from "./browser.mjs";
import { writeLarge, writeSmall } from "./checkpoints.mjs";

/** Runs a test against the page with some code put in front of the main worker's: a browser that misbehaves. */
async function withSabotage(env, code, body, options) {
  const folder = join(env.folder, `sabotage-${env.browser}-${Math.random()}`);
  cpSync(join(env.root, "dist-web"), folder, { recursive: true });
  const worker = join(folder, "coordinator.js");
  writeFileSync(worker, `${code}\n${readFileSync(worker, "utf8")}`);
  const server = await serve(0, folder);
  try {
    await withPage({ ...env, url: `http://localhost:${server.address().port}/` }, body, options);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

function small(env) {
  const path = join(env.folder, `failing-${env.browser}.safetensors`);
  writeSmall(path);
  return path;
}

/** Takes seconds to convert, so that something can happen meanwhile. */
function large(env) {
  const path = join(env.folder, `large-${env.browser}.safetensors`);
  writeLarge(path, 2e8);
  return path;
}

const start = (page) => page.getByRole("button", { name: "Convert", exact: true }).click();

async function startAndPause(page) {
  await start(page);
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("heading", { name: "Paused" }).waitFor();
}

/** Reads under way when the page paused may find the damage first: then there is nothing left to resume. */
const resume = (page) =>
  Promise.race([
    page.getByRole("button", { name: "Resume" }).click(),
    page.getByRole("alert").first().waitFor(),
  ]);

/** The page says what happened, does not say "done", and keeps nothing. */
async function fails(page, title) {
  await page.getByRole("alert").getByText(title).waitFor();
  assert.equal(await page.getByTestId("done").count(), 0);
  assert.deepEqual(await privateFiles(page), {});
}

/** A write of the private file system after the first two megabytes. */
const sabotageWrite = (instead) => `{
  const { write } = FileSystemSyncAccessHandle.prototype;
  let total = 0;
  FileSystemSyncAccessHandle.prototype.write = function (bytes, options) {
    total += bytes.length;
    return total > 2e6 ? ${instead} : write.call(this, bytes, options);
  };
}`;

/** The browser's own figure of what is free, a lie: so that the write itself has to fail. */
const ENDLESS = "navigator.storage.estimate = async () => ({ quota: 1e12, usage: 0 });";

async function limitStorage(page, url, quotaSize) {
  const session = await page.context().newCDPSession(page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(url).origin, quotaSize });
}

export const tests = [
  {
    name: "too little storage is found out before the start",
    browsers: ["chromium"],
    async body(env) {
      await withPage(env, async (page) => {
        await limitStorage(page, env.url, 3e6);
        await openFiles(page, small(env));
        await planned(page);
        await start(page);
        await fails(page, "There is not enough space");
      });
    },
  },
  {
    name: "storage that runs full while writing",
    async body(env) {
      const options = {
        firefoxUserPrefs: { "dom.quotaManager.temporaryStorage.fixedLimit": 4096 },
      };
      await withSabotage(
        env,
        ENDLESS,
        async (page) => {
          if (env.browser === "chromium") await limitStorage(page, page.url(), 3e6);
          await openFiles(page, small(env));
          await planned(page);
          await start(page);
          await fails(page, "There is not enough space");
        },
        env.browser === "firefox" ? options : {},
      );
    },
  },
  {
    name: "a write that takes fewer bytes and does not say so",
    async body(env) {
      await withSabotage(env, sabotageWrite("4294967288"), async (page) => {
        await openFiles(page, small(env));
        await planned(page);
        await start(page);
        await fails(page, "The browser lost data while writing");
      });
    },
  },
  {
    name: "a write that claims to have written",
    async body(env) {
      await withSabotage(env, sabotageWrite("bytes.length"), async (page) => {
        await openFiles(page, small(env));
        await planned(page);
        await start(page);
        await fails(page, "The output is not what was written");
      });
    },
  },
  {
    name: "a bit that turns over on the disk",
    async body(env) {
      const flip = `{
        const { flush, read, write } = FileSystemSyncAccessHandle.prototype;
        FileSystemSyncAccessHandle.prototype.flush = function () {
          const byte = new Uint8Array(1);
          read.call(this, byte, { at: 1234567 });
          byte[0] ^= 8;
          write.call(this, byte, { at: 1234567 });
          flush.call(this);
        };
      }`;
      await withSabotage(env, flip, async (page) => {
        await openFiles(page, small(env));
        await planned(page);
        await start(page);
        await fails(page, "The output is not what was written");
      });
    },
  },
  {
    name: "a file rewritten after it was opened",
    async body(env) {
      await withPage(env, async (page) => {
        const input = small(env);
        await openFiles(page, input);
        await planned(page);
        await page.getByText(/^about /).waitFor();
        const bytes = readFileSync(input);
        bytes.fill(7, bytes.length / 2);
        await page.waitForTimeout(1100);
        writeFileSync(input, bytes);
        await start(page);
        await fails(page, "A file changed or is gone");
      });
    },
  },
  {
    name: "a file rewritten while it is read",
    async body(env) {
      await withPage(env, async (page) => {
        const input = large(env);
        await openFiles(page, input);
        await planned(page);
        await page.getByText(/^about /).waitFor();
        await startAndPause(page);
        const file = openSync(input, "r+");
        const noise = Buffer.alloc(1 << 24, 7);
        for (let at = 1e8; at < 1.8e8; at += noise.length) writeSync(file, noise, 0, noise.length, at);
        closeSync(file);
        await resume(page);
        await fails(page, "A file changed or is gone");
      });
    },
  },
  {
    name: "a file cut short while it is read",
    async body(env) {
      await withPage(env, async (page) => {
        const input = large(env);
        await openFiles(page, input);
        await planned(page);
        await page.getByText(/^about /).waitFor();
        await startAndPause(page);
        truncateSync(input, 1.5e8);
        await resume(page);
        await fails(page, "A file changed or is gone");
      });
    },
  },
  {
    name: "a file that vanishes while it is read",
    async body(env) {
      await withPage(env, async (page) => {
        const input = large(env);
        await openFiles(page, input);
        await planned(page);
        await page.getByText(/^about /).waitFor();
        await startAndPause(page);
        rmSync(input);
        await resume(page);
        await fails(page, "A file changed or is gone");
      });
    },
  },
  {
    name: "a tab closed midway: the next visit says so, and removes what was left",
    async body(env) {
      await withPage(env, async (page, context) => {
        await openFiles(page, large(env));
        await planned(page);
        await page.getByText(/^about /).waitFor();
        await startAndPause(page);
        // Another tab meanwhile must leave the run alone.
        const other = await openPage(context, env.url);
        await other.waitForTimeout(1000);
        assert.equal(await other.getByText("was cut off").count(), 0);
        assert.equal(Object.keys(await privateFiles(other)).length, 1);
        await page.close();
        await other.reload();
        await other.getByText("The last conversion was cut off").waitFor();
        assert.deepEqual(await privateFiles(other), {});
        await other.reload();
        await other.waitForTimeout(1000);
        assert.equal(await other.getByText("was cut off").count(), 0);
      });
    },
  },
  {
    name: "cancelled, a file that was there before stays as it was",
    browsers: ["chromium"],
    async body(env) {
      const input = large(env);
      const body = async (page) => {
        await page.evaluate(async () => {
          const root = await navigator.storage.getDirectory();
          const handle = await root.getFileHandle("old.safetensors", { create: true });
          const stream = await handle.createWritable();
          await stream.write("what was there before");
          await stream.close();
          window.showSaveFilePicker = async () => handle;
        });
        await openFiles(page, input);
        await planned(page);
        await page.getByRole("button", { name: /^Choose where to save/ }).click();
        await page.getByRole("button", { name: "Pause" }).click();
        await page.getByRole("button", { name: "Cancel" }).click();
        await page.getByRole("alert").getByText("Cancelled").waitFor();
        const files = await privateFiles(page);
        assert.deepEqual(Object.keys(files), ["old.safetensors"]);
        assert.equal(files["old.safetensors"].size, "what was there before".length);
      };
      await withPage(env, body, { pickers: true });
    },
  },
  {
    name: "the input cannot be chosen as the output",
    browsers: ["chromium"],
    async body(env) {
      const input = join(env.folder, "tiny.safetensors");
      writeSmall(input, 32);
      const bytes = [...readFileSync(input)];
      const body = async (page) => {
        await page.evaluate(async (content) => {
          const root = await navigator.storage.getDirectory();
          const folder = await root.getDirectoryHandle("model", { create: true });
          const handle = await folder.getFileHandle("a.safetensors", { create: true });
          const stream = await handle.createWritable();
          await stream.write(new Uint8Array(content));
          await stream.close();
          window.showDirectoryPicker = async () => folder;
          window.showSaveFilePicker = async () => handle;
        }, bytes);
        await page.getByRole("button", { name: "Choose folder" }).click();
        await page.getByTestId("rows").waitFor();
        await planned(page);
        await page.getByRole("button", { name: /^Choose where to save/ }).click();
        await page.getByRole("alert").getByText("The output would replace the input").waitFor();
        assert.equal((await privateFiles(page))["a.safetensors"].size, bytes.length);
      };
      await withPage(env, body, { pickers: true });
    },
  },
  {
    name: "a file that is no checkpoint, and one cut off: a message, and another can be opened",
    async body(env) {
      await withPage(env, async (page) => {
        const input = small(env);
        const cut = join(env.folder, "cut.safetensors");
        writeFileSync(cut, readFileSync(input).subarray(0, statSync(input).size - 1000));
        const nonsense = join(env.folder, "nonsense.safetensors");
        writeFileSync(nonsense, "not a checkpoint at all, really");
        for (const path of [cut, nonsense]) {
          await page.getByTestId("files").setInputFiles(path);
          await page.getByRole("alert").getByText("This file cannot be read").waitFor();
          await page.getByRole("button", { name: "Close" }).click();
        }
        await openFiles(page, input);
        await planned(page);
      });
    },
  },
];
