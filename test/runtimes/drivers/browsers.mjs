// Chromium, Firefox and WebKit: the suite in every kind of thread, bundled, and the README's pages, unbundled.
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { threadsVerdict, verdict } from "../judge.mjs";
import { bundleForBrowsers } from "./bundle.mjs";
import { BROWSERS, open } from "./launch.mjs";
import { serve } from "./server.mjs";

const ENTRIES = [
  "page",
  "web-worker",
  "service-worker",
  "strict-page",
  "threads-worker",
  "threads-frame",
  "isolated-page",
  "models-worker",
].map((name) => `${name}.mjs`);

const policy = (text) => ({ "content-security-policy": text });
const workersFrom = (source) => [
  "/bundled/threads-frame.js",
  policy(`script-src 'self' 'wasm-unsafe-eval'; worker-src ${source}`),
];

const PAGES = {
  "/page.html": ["/bundled/page.js"],
  // Refuses WebAssembly by leaving out 'wasm-unsafe-eval'.
  "/strict.html": ["/bundled/strict-page.js", policy("script-src 'self'")],
  "/workers-blob.html": workersFrom("blob:"),
  "/workers-self.html": workersFrom("'self'"),
  "/workers-blocked.html": workersFrom("'none'"),
  "/isolated.html": [
    "/bundled/isolated-page.js",
    { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" },
  ],
};

const BUILDS = { "page without WebAssembly (CSP)": "js" };

function snippetVerdict(runtime, version, page, { shown, error, isSecondTry }) {
  const problems = shown?.includes("scales 118,119") ? [] : [error ?? `showed ${shown}`];
  const place = isSecondTry ? `${page}, at the second try` : page;
  return { runtime, version, place, build: shown?.split(":")[0] ?? "", problems };
}

export const browsers = Object.keys(BROWSERS).map((name) => ({
  name,
  async drive({ path: project }) {
    const { build, version } = BROWSERS[name];
    await bundleForBrowsers(project, ENTRIES);
    // As the README says for pages that allow worker-src 'self' alone, with a bundler that emits no file for a worker.
    await copyFile(
      join(project, "node_modules/blockscale/dist/threads/worker.js"),
      join(project, "bundled/worker.js"),
    );
    const server = await serve(project, PAGES);
    try {
      // The second page is opened by the first.
      const posted = Promise.all([server.posted(), server.posted()]);
      const bodies = await open(name, `${server.origin}/page.html`, posted);
      const number = await version();
      return bodies
        .flatMap((body) => Object.entries(JSON.parse(body).results))
        .map(([place, found]) => {
          if (place.startsWith("snippet")) return snippetVerdict(name, number, place, found);
          if (/^(threads|models)/.test(place)) return threadsVerdict(name, number, place, build, found);
          return verdict(name, number, place, BUILDS[place] ?? build, found);
        });
    } finally {
      server.close();
    }
  },
}));
