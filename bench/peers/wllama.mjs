// wllama, llama.cpp in WebAssembly, in a page of Chromium.
import { execFileSync } from "node:child_process";
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { extname, join } from "node:path";

const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm", ".html": "text/html" };

/** Serves the package and the file of weights to a page that may share memory. */
function serve(peers, gguf) {
  const root = join(peers, "node_modules/@wllama/wllama/esm");
  const server = createServer(({ url }, response) => {
    const path = url === "/model.gguf" ? gguf : join(root, url);
    const isolated = {
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    };
    if (url === "/") {
      response.writeHead(200, { "content-type": "text/html", ...isolated });
      response.end("<!doctype html><title>wllama</title>");
    } else if (existsSync(path)) {
      const type = TYPES[extname(path)] ?? "application/octet-stream";
      response.writeHead(200, { "content-type": type, "content-length": statSync(path).size, ...isolated });
      createReadStream(path).pipe(response);
    } else response.writeHead(404).end();
  });
  return new Promise((resolve) => server.listen(0, "localhost", () => resolve(server)));
}

/** Opens it; gives what a round is run by, and an end. */
export async function openWllama({ peers, gguf, threads }) {
  const { chromium } = createRequire(join(peers, "package.json"))("playwright-core");
  const executablePath = execFileSync("which", ["chromium"], { encoding: "utf8" }).trim();
  const server = await serve(peers, gguf);
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const page = await browser.newPage();
  await page.goto(`http://localhost:${server.address().port}/`);
  const open = await page.evaluate(async (n_threads) => {
    const { Wllama } = await import("/index.js");
    const blob = await (await fetch("/model.gguf")).blob();
    const quiet = { debug() {}, log() {}, warn() {}, error() {} };
    window.wllama = new Wllama({ default: "/wasm/wllama.wasm" }, { logger: quiet });
    const start = performance.now();
    await window.wllama.loadModel([blob], {
      n_threads,
      n_ctx: 512,
      n_batch: 512,
      n_gpu_layers: 0,
      warmup: false,
    });
    return performance.now() - start;
  }, threads);
  return {
    open,
    run: (round) =>
      page.evaluate(async (seed) => {
        const ids = Array.from({ length: 128 }, (_, i) => 100 + ((i * 7919 + seed * 31) % 900));
        const start = performance.now();
        const times = [];
        const stream = await window.wllama.createCompletion({
          prompt: ids.map((id) => `t${id}`).join(""),
          max_tokens: 11,
          temperature: 0,
          stream: true,
        });
        let timings;
        for await (const chunk of stream) {
          times.push(performance.now());
          timings = chunk.timings ?? timings;
        }
        return { prefill: times[0] - start, steps: times.slice(1, -2).map((t, i) => t - times[i]), timings };
      }, round),
    async close() {
      await browser.close();
      server.close();
    },
  };
}
