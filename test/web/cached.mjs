// Files of the web that a page of its own keeps in private storage, and a model that runs from there.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { launch } from "./browser.mjs";

/** What the page needs of the package, as a bundler makes it. */
async function script(env) {
  const { outputFiles } = await build({
    stdin: {
      contents: `import { openCached, openUrl, removeCached } from "./checkpoint/index.js";
import { openModel } from "./model/index.js";
Object.assign(window, { openCached, openUrl, removeCached, openModel, isReady: true });`,
      resolveDir: join(env.root, "dist"),
    },
    bundle: true,
    format: "esm",
    write: false,
    logLevel: "error",
  });
  return outputFiles[0].text;
}

/** Answers ranges of the files, counts their bytes, and lets no more of them through than `most`. */
async function serving(env, files) {
  const page = { "/": ["text/html", "<!doctype html><script type=module src=/script.js></script>"] };
  page["/script.js"] = ["text/javascript", await script(env)];
  const state = { files, sent: 0, most: Infinity, tag: '"1"' };
  const server = createServer((request, response) => {
    if (request.url in page) {
      const [type, text] = page[request.url];
      response.writeHead(200, {
        "content-type": type,
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
      });
      response.end(text);
      return;
    }
    const bytes = state.files[request.url];
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (bytes === undefined || first === undefined) {
      response.writeHead(404).end();
      return;
    }
    const part = bytes.subarray(Number(first), Number(last) + 1);
    // The one byte of the first request tells the size, and is not what a page would save.
    if (part.length > 1) state.sent += part.length;
    response.writeHead(206, {
      "content-range": `bytes ${first}-${last}/${bytes.length}`,
      "content-length": part.length,
      ...(state.tag === null ? {} : { etag: state.tag }),
    });
    if (state.sent <= state.most) response.end(part);
    else response.write(part.subarray(0, part.length >> 1));
  });
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  return { state, server, url: `http://localhost:${server.address().port}/` };
}

/** A page of another origin than the converter's, in a profile of its own. */
async function withFiles(env, files, action) {
  const { state, server, url } = await serving(env, files);
  const browser = await launch(env.browser);
  try {
    const page = await browser.context.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    const open = async () => {
      await page.goto(url);
      await page.waitForFunction(() => window.isReady);
    };
    await open();
    await action(page, state, open);
    assert.deepEqual(errors, []);
  } finally {
    await browser.close();
    server.closeAllConnections();
    server.close();
  }
}

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** Opens a file with the storage, and tells its SHA-256; or what went wrong. */
const opened = (page, path) =>
  page.evaluate(async (name) => {
    try {
      const source = await window.openCached(name, { tries: 1 });
      const bytes = await source.slice(0, source.size).arrayBuffer();
      const digest = await crypto.subtle.digest("SHA-256", bytes);
      return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    } catch (error) {
      return `${error.name} ${error.code}: ${error.message}`;
    }
  }, path);

/** The same answer in Node. */
async function inNode(env, files) {
  const { openModel } = await import(pathToFileURL(join(env.root, "dist/model/index.js")).href);
  const model = await openModel(
    new Map(Object.entries(files).map(([path, bytes]) => [path.slice(1), new Blob([bytes])])),
  );
  const ids = [];
  for await (const { id } of model.generate([1, 2, 3], { temperature: 0, maxTokens: 8 })) ids.push(id);
  await model.close();
  return ids;
}

const MIB = 2 ** 20;

export const tests = [
  {
    name: "private storage: a file is fetched once, also in two tabs at a time, and anew if it has changed",
    seconds: 120,
    async body(env) {
      const bytes = randomBytes(40 * MIB + 1);
      await withFiles(
        env,
        { "/file": bytes, "/empty": Buffer.alloc(0), "/small": bytes.subarray(0, 3) },
        async (page, state, open) => {
          const other = await page.context().newPage();
          await other.goto(page.url());
          await other.waitForFunction(() => window.isReady);
          assert.deepEqual(
            await Promise.all([opened(page, "/file"), opened(other, "/file")]),
            Array(2).fill(sha256(bytes)),
          );
          assert.equal(state.sent, bytes.length);
          await other.close();
          await open();
          assert.equal(await opened(page, "/file"), sha256(bytes));
          assert.equal(state.sent, bytes.length);
          assert.equal(await opened(page, "/small"), sha256(bytes.subarray(0, 3)));
          // Another version under the same address: by its tag, or by its size where the server gives no tag.
          state.tag = '"2"';
          state.files["/file"] = randomBytes(bytes.length);
          assert.equal(await opened(page, "/file"), sha256(state.files["/file"]));
          state.tag = null;
          state.files["/file"] = randomBytes(17 * MIB);
          assert.equal(await opened(page, "/file"), sha256(state.files["/file"]));
          const sent = state.sent;
          await page.evaluate(() => window.removeCached("/file"));
          assert.equal(await opened(page, "/file"), sha256(state.files["/file"]));
          assert.equal(state.sent, sent + 17 * MIB);
          await page.evaluate(() => window.removeCached());
          const left = await page.evaluate(async () => {
            const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle(
              "blockscale-files",
            );
            const names = [];
            for await (const name of folder.keys()) names.push(name);
            return names;
          });
          assert.deepEqual(left, []);
          assert.match(await opened(page, "/nowhere"), /BlockscaleError io: .*status 404/);
        },
      );
    },
  },
  {
    name: "private storage: a download that is aborted, or whose page goes, goes on from there",
    seconds: 120,
    async body(env) {
      const bytes = randomBytes(70 * MIB);
      await withFiles(env, { "/file": bytes }, async (page, state, open) => {
        state.most = 35 * MIB;
        const aborted = () =>
          page.evaluate(async () => {
            const controller = new AbortController();
            let most = 0;
            const onProgress = ({ done, total }) => {
              most = Math.max(most, done / total);
              controller.abort(new Error("enough"));
            };
            return window.openCached("/file", { signal: controller.signal, onProgress }).then(
              () => "done",
              (error) => [error.message, most > 0 && most < 1],
            );
          });
        assert.deepEqual(await aborted(), ["enough", true]);
        // A page that goes in the middle of the next pieces.
        await open();
        await page.evaluate(() => {
          window.openCached("/file").catch(() => {});
        });
        await page.waitForTimeout(500);
        await open();
        const before = state.sent;
        state.most = Infinity;
        assert.equal(await opened(page, "/file"), sha256(bytes));
        // What was there whole was not sent again: less than all of it.
        assert.ok(state.sent - before < bytes.length, `${state.sent - before} of ${bytes.length}`);
        state.files["/file"] = undefined;
        assert.match(await opened(page, "/file"), /BlockscaleError io/);
      });
    },
  },
  {
    name: "private storage: a model from it gives the tokens of Node, and is not sent again",
    seconds: 120,
    async body(env) {
      const file = (name) => readFileSync(join(env.root, "test/model/models/qwen3", name));
      const files = { "/config.json": file("config.json"), "/model.safetensors": file("model.safetensors") };
      await withFiles(env, files, async (page, state, open) => {
        const run = () =>
          page.evaluate(async () => {
            const names = ["config.json", "model.safetensors"];
            const sources = await Promise.all(names.map((name) => window.openCached(name)));
            const model = await window.openModel(new Map(names.map((name, i) => [name, sources[i]])), {
              threads: 2,
            });
            const ids = [];
            for await (const { id } of model.generate([1, 2, 3], { temperature: 0, maxTokens: 8 }))
              ids.push(id);
            await model.close();
            return ids;
          });
        const first = await run();
        assert.deepEqual(first, await inNode(env, files));
        const sent = state.sent;
        assert.equal(sent, files["/config.json"].length + files["/model.safetensors"].length);
        await open();
        assert.deepEqual(await run(), first);
        assert.equal(state.sent, sent);
      });
    },
  },
];
