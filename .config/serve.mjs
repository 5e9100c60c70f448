// Serves dist-web/ as a careful host would: node .config/serve.mjs [port]
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const page = fileURLToPath(new URL("../dist-web", import.meta.url));

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
  ".map": "application/json",
  ".json": "application/json",
  ".txt": "text/plain; charset=utf-8",
};

/** The policy of index.html, which workers do not inherit from it, and what only a header can say. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self' https:",
  "worker-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** Headers that let threads share memory: for pages that let nobody else in. */
const ISOLATED = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

const isText = (file) => /\.(html|js|css|svg|json|map|txt|webmanifest)$/.test(file);

/** Files as they are sent, by path: their time, their bytes, compressed where that pays, and their tag. */
const read = new Map();

async function contentOf(file, { mtimeMs }) {
  const kept = read.get(file);
  if (kept?.time === mtimeMs) return kept;
  const bytes = await readFile(file);
  const tag = `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 22)}"`;
  const found = { time: mtimeMs, tag, bytes, packed: isText(file) ? gzipSync(bytes) : null };
  read.set(file, found);
  return found;
}

/** Starts the server; port 0 lets the system choose. Without `isolated`, as a host that sets no headers for threads. */
export function serve(port, root = page, { isolated = true } = {}) {
  const server = createServer(async ({ url, method, headers }, response) => {
    const path = normalize(decodeURIComponent(new URL(url, "http://localhost").pathname));
    const file = join(root, path.endsWith("/") ? `${path}index.html` : path);
    const found = file.startsWith(root) ? await stat(file).catch(() => null) : null;
    if (!found?.isFile() || (method !== "GET" && method !== "HEAD")) {
      response.writeHead(404).end();
      return;
    }
    const { tag, bytes, packed } = await contentOf(file, found);
    const isPacked = packed !== null && /\bgzip\b/.test(headers["accept-encoding"] ?? "");
    const body = isPacked ? packed : bytes;
    const isKnown = headers["if-none-match"] === tag;
    const sent = {
      "content-type": TYPES[extname(file)] ?? "application/octet-stream",
      ...(!isKnown && { "content-length": body.length }),
      ...(isPacked && { "content-encoding": "gzip" }),
      "cache-control": "no-cache",
      etag: tag,
      vary: "accept-encoding",
      "content-security-policy": POLICY,
      ...(isolated && ISOLATED),
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    };
    response.statusCode = isKnown ? 304 : 200;
    response.setHeaders(new Map(Object.entries(sent)));
    response.end(method === "HEAD" || isKnown ? undefined : body);
  });
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(server)));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = await serve(Number(process.argv[2] ?? 8080));
  console.log(`http://localhost:${server.address().port}/`);
}
