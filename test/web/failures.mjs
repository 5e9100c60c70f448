// Everything that can go wrong while converting, provoked: a clear message, and nothing that looks complete.
import assert from "node:assert/strict";
import {
  closeSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import {
  countFiles,
  openFiles,
  openPage,
  openReady,
  planned,
  privateFiles,
  startAndPause,
  withPage,
} from "./browser.mjs";
import { writeLarge, writeSmall } from "./checkpoints.mjs";
import { withFront } from "./front.mjs";

/**
 * Runs a test against the page with some code put in front of the main worker's: a browser that misbehaves.
 */
export function withSabotage(env, code, body, options) {
  const change = (path, bytes) => (path === "/coordinator.js" ? `${code}\n${bytes}` : bytes);
  return withFront(env, { change }, (url) => withPage({ ...env, url }, body, options));
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

const start = (page) => page.locator(".outcome > button").click();

/** Reads under way when the page paused may find the damage first: then there is nothing left to resume. */
const resume = (page) =>
  Promise.race([
    page.getByRole("button", { name: "Resume" }).click(),
    page.getByRole("alert").first().waitFor(),
  ]);

/** The page says what happened, does not say "done", and keeps nothing but what was there before. */
async function fails(page, title, kept = {}) {
  await page.getByRole("alert").getByText(title).waitFor();
  assert.equal(await page.getByTestId("done").count(), 0);
  const files = Object.entries(await privateFiles(page)).map(([name, { size }]) => [name, size]);
  assert.deepEqual(Object.fromEntries(files), kept);
}

/** Converts a small file, in vain. */
async function failsOn(page, env, title) {
  await openFiles(page, small(env));
  await planned(page);
  await start(page);
  await fails(page, title);
}

/** Writes of an interface after the first two megabytes. */
const sabotageWrite = (of, instead) => `{
  const { write } = ${of}.prototype;
  let total = 0;
  ${of}.prototype.write = function (bytes, options) {
    total += bytes.length;
    return total > 2e6 ? ${instead} : write.call(this, bytes, options);
  };
}`;

const denied = 'Promise.reject(new DOMException("The user took it back.", "NotAllowedError"))';

/** The browser's own figure of what is free, a lie: so that the write itself has to fail. */
const ENDLESS = "navigator.storage.estimate = async () => ({ quota: 1e12, usage: 0 });";

async function limitStorage(page, quotaSize) {
  const session = await page.context().newCDPSession(page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(page.url()).origin, quotaSize });
}

/** A picker that answers with a real file handle, of the page's private storage, whose file holds `text`. */
function pickFile(page, text = "") {
  return page.evaluate(async (content) => {
    const root = await navigator.storage.getDirectory();
    const handle = await root.getFileHandle("chosen.safetensors", { create: true });
    const stream = await handle.createWritable();
    await stream.write(content);
    await stream.close();
    window.showSaveFilePicker = async () => handle;
  }, text);
}

/** Browsers that misbehave where the page has the output in its own storage. */
const sabotages = [
  {
    name: "a write that takes fewer bytes and does not say so",
    code: sabotageWrite("FileSystemSyncAccessHandle", "4294967288"),
    title: "The browser lost data while writing",
  },
  {
    name: "a write that claims to have written",
    code: sabotageWrite("FileSystemSyncAccessHandle", "bytes.length"),
    title: "The file read back differs from what was written",
  },
  {
    name: "a bit that turns over on the disk",
    code: `{
      const { flush, read, write } = FileSystemSyncAccessHandle.prototype;
      FileSystemSyncAccessHandle.prototype.flush = function () {
        const byte = new Uint8Array(1);
        read.call(this, byte, { at: 1234567 });
        byte[0] ^= 8;
        write.call(this, byte, { at: 1234567 });
        flush.call(this);
      };
    }`,
    title: "The file read back differs from what was written",
  },
];

/** The same where the user chose a file, which only Chromium lets pages ask for. */
const chosenSabotages = [
  {
    name: "no permission to write",
    code: `FileSystemFileHandle.prototype.createWritable = () => ${denied};`,
    title: "The browser did not allow it",
  },
  {
    name: "permission taken back midway",
    code: sabotageWrite("FileSystemWritableFileStream", denied),
    title: "The browser did not allow it",
  },
  {
    name: "a write that claims to have written",
    code: sabotageWrite("FileSystemWritableFileStream", "Promise.resolve()"),
    title: "The file read back differs from what was written",
  },
  {
    name: "a disk that is full",
    code: "",
    prepare: (page) => limitStorage(page, 3e6),
    title: "There is not enough space",
  },
];

/** What happens to a file while it is read. */
const damages = [
  {
    name: "a file rewritten",
    damage(path) {
      const file = openSync(path, "r+");
      const noise = Buffer.alloc(1 << 24, 7);
      for (let at = 1e8; at < 1.8e8; at += noise.length) writeSync(file, noise, 0, noise.length, at);
      closeSync(file);
    },
  },
  { name: "a file cut short", damage: (path) => truncateSync(path, 1.5e8) },
  { name: "a file that vanishes", damage: (path) => rmSync(path) },
];

export const tests = [
  {
    name: "too little storage is found out before the start",
    browsers: ["chromium"],
    async body(env) {
      await withPage(env, async (page) => {
        await limitStorage(page, 3e6);
        await failsOn(page, env, "There is not enough space");
      });
    },
  },
  {
    name: "storage that runs full while writing",
    async body(env) {
      const options =
        env.browser === "firefox"
          ? { firefoxUserPrefs: { "dom.quotaManager.temporaryStorage.fixedLimit": 4096 } }
          : {};
      const body = async (page) => {
        if (env.browser === "chromium") await limitStorage(page, 3e6);
        await failsOn(page, env, "There is not enough space");
      };
      await withSabotage(env, ENDLESS, body, options);
    },
  },
  ...sabotages.map(({ name, code, title }) => ({
    name,
    body: (env) => withSabotage(env, code, (page) => failsOn(page, env, title)),
  })),
  ...chosenSabotages.map(({ name, code, prepare = () => {}, title }) => ({
    name: `${name}, where the user chose the file`,
    browsers: ["chromium"],
    async body(env) {
      const body = async (page) => {
        await pickFile(page, "what was there before");
        await prepare(page);
        await openFiles(page, small(env));
        await planned(page);
        await start(page);
        // A write that lies is found out when the old file has been replaced: then nothing is better than something.
        const kept = title.startsWith("The file read back") ? {} : { "chosen.safetensors": 21 };
        await fails(page, title, kept);
      };
      await withSabotage(env, code, body, { pickers: true });
    },
  })),
  {
    name: "a picker that is refused, and one that is closed",
    browsers: ["chromium"],
    async body(env) {
      const body = async (page) => {
        const refuse = (name) =>
          page.evaluate((reason) => {
            window.showSaveFilePicker = async () => {
              throw new DOMException("no picker", reason);
            };
          }, name);
        await openFiles(page, small(env));
        await planned(page);
        await refuse("SecurityError");
        await start(page);
        await fails(page, "The browser did not allow it");
        await page.getByRole("button", { name: "Close" }).click();
        await refuse("AbortError");
        await start(page);
        await page.waitForTimeout(300);
        assert.equal(await page.getByRole("alert").textContent(), "");
        assert.ok(await page.locator(".outcome > button").isEnabled());
      };
      await withPage(env, body, { pickers: true });
    },
  },
  {
    name: "a file rewritten after it was opened",
    async body(env) {
      await withPage(env, async (page) => {
        const input = small(env);
        await openReady(page, input);
        const bytes = readFileSync(input);
        bytes.fill(7, bytes.length / 2);
        await page.waitForTimeout(1100);
        writeFileSync(input, bytes);
        await start(page);
        await fails(page, "A file changed or is gone");
      });
    },
  },
  ...damages.map(({ name, damage }) => ({
    name: `${name} while it is read`,
    async body(env) {
      await withPage(env, async (page) => {
        const input = large(env);
        await openReady(page, input);
        await startAndPause(page);
        damage(input);
        await resume(page);
        await fails(page, "A file changed or is gone");
      });
    },
  })),
  {
    name: "a tab closed midway: the next visit says so, and removes what was left",
    async body(env) {
      await withPage(env, async (page, context) => {
        await openReady(page, large(env));
        await startAndPause(page);
        // Another tab meanwhile must leave the run alone.
        const other = await openPage(context, env.url);
        while ((await countFiles(other)) === 0) await other.waitForTimeout(100);
        await other.waitForTimeout(400);
        assert.equal(await other.getByText("was cut off").count(), 0);
        assert.equal(await countFiles(other), 1);
        await page.close();
        // The browser may need a moment until it knows that nobody holds the files any more.
        const said = () => other.getByText("The last conversion was cut off").waitFor({ timeout: 2000 });
        do await other.reload();
        while (
          !(await said().then(
            () => true,
            () => false,
          ))
        );
        assert.equal(await countFiles(other), 0);
        await other.reload();
        await other.waitForTimeout(400);
        assert.equal(await other.getByText("was cut off").count(), 0);
      });
    },
  },
  {
    name: "cancelled, a file that was there before stays as it was",
    browsers: ["chromium"],
    async body(env) {
      const body = async (page) => {
        await pickFile(page, "what was there before");
        await openFiles(page, large(env));
        await planned(page);
        await startAndPause(page);
        await page.getByRole("button", { name: "Cancel" }).click();
        await fails(page, "Cancelled", { "chosen.safetensors": 21 });
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
        await planned(page);
        await start(page);
        await fails(page, "The output would replace the input", { "a.safetensors": bytes.length });
      };
      await withPage(env, body, { pickers: true });
    },
  },
  {
    name: "a browser that lets no page keep anything: inside can be seen, and why nothing can be converted",
    browsers: ["chromium"],
    async body(env) {
      const body = async (page) => {
        await openFiles(page, small(env));
        await planned(page);
        await page.getByText("This window lets pages store no files").waitFor();
        assert.ok(await page.locator(".outcome > button").isDisabled());
      };
      const preferences = { profile: { default_content_setting_values: { cookies: 2 } } };
      await withPage(env, body, { preferences });
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
        for (const [path, cause] of [
          [cut, "cut.safetensors is cut off"],
          [nonsense, "nonsense.safetensors is plain text"],
        ]) {
          await page.getByTestId("files").setInputFiles(path);
          await page.getByRole("alert").getByText(cause, { exact: true }).waitFor();
          await page.getByRole("button", { name: "Close" }).click();
        }
        await openFiles(page, input);
        await planned(page);
      });
    },
  },
];
