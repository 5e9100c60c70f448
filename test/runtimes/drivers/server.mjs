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

const PAGE = '<!doctype html><meta charset="utf-8"><body>';
const page = (script) => `${PAGE}<script type="module" src="${script}"></script>`;

/** Refuses WebAssembly by leaving out 'wasm-unsafe-eval'. */
const STRICT = { "content-security-policy": "script-src 'self'" };

/**
 * Serves a folder. `posted()` is the next body that a page posts to /results.
 * @param pages path to HTML, beside the files
 */
export async function serve(folder, pages = {}) {
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
    if (path === "/strict.html") response.writeHead(200, { ...STRICT, "content-type": TYPES[".html"] });
    else {
      const type = TYPES[extname(path)] ?? TYPES[".html"];
      response.setHeader("content-type", type);
    }
    // Bundles live in a folder, their service worker serves the whole site.
    if (!response.headersSent) response.setHeader("service-worker-allowed", "/");
    if (pages[path] !== undefined) return response.end(page(pages[path]));
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
