// A file server for browsers, to which pages post what they found.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

const EMBEDDER_POLICY = { ".js": "require-corp", ".mjs": "require-corp" };

const PAGE = '<!doctype html><meta charset="utf-8"><body>';
const page = (script) => `${PAGE}<script type="module" src="${script}"></script>`;

/**
 * Serves a folder. `posted()` is the next body that a page posts to /results.
 * @param pages path to the script of a page, and its headers if it has some, beside the files
 * @param always headers of every answer
 */
export async function serve(folder, pages = {}, always = {}) {
  const waiting = [];
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://host").pathname));
    if (request.method === "POST") {
      let body = "";
      for await (const chunk of request) body += chunk;
      waiting.shift()?.(body);
      response.end();
      return;
    }
    response.setHeader("content-type", TYPES[extname(path)] ?? TYPES[".html"]);
    // Bundles live in a folder, their service worker serves the whole site.
    response.setHeader("service-worker-allowed", "/");
    // What a page with COEP asks of the scripts of its workers; to others it says nothing.
    response.setHeader("cross-origin-embedder-policy", EMBEDDER_POLICY[extname(path)] ?? "unsafe-none");
    for (const [name, value] of Object.entries(always)) response.setHeader(name, value);
    if (pages[path] !== undefined) {
      const [script, headers = {}] = pages[path];
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      return response.end(page(script));
    }
    try {
      response.end(await readFile(join(folder, path)));
    } catch {
      response.statusCode = 404;
      response.end("not found");
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    posted: () => new Promise((resolve) => waiting.push(resolve)),
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
