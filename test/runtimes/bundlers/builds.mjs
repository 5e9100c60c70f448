// How each bundler is called: as its manual says, without a configuration file.
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run, WASM } from "../workspace.mjs";

/** A bundler's own command, run in the folder of an app. */
function tool(folder, name, parameters, cwd = folder) {
  const env = { NEXT_TELEMETRY_DISABLED: "1", WRANGLER_SEND_METRICS: "false", HOME: join(folder, "../home") };
  return run(join(folder, "node_modules/.bin", name), parameters, { cwd, env, timeout: 240_000 });
}

async function copyPages(folder, out, pages) {
  await mkdir(join(folder, out), { recursive: true });
  for (const page of pages) await copyFile(join(folder, page), join(folder, out, page));
}

/** Written bundles must not hold wasm where only `schemes` was imported. */
async function assertNoWasm(folder, out) {
  for (const file of await readdir(join(folder, out))) {
    const text = await readFile(join(folder, out, file), "utf8");
    if (text.includes(WASM) || text.includes("WebAssembly"))
      throw new Error(`${out}/${file} holds WebAssembly`);
  }
}

/** Vite takes index.html as its entry; another page is an app of its own. */
async function buildViteApp(folder, name, page, files) {
  const app = join(folder, name);
  await mkdir(app, { recursive: true });
  await copyFile(join(folder, page), join(app, "index.html"));
  for (const file of files) await copyFile(join(folder, file), join(app, file));
  await tool(folder, "vite", ["build"], app);
}

/** Bundler to a function that builds in `folder` and returns the pages to open: name to path. */
export const BUILDS = {
  async vite(folder) {
    await tool(folder, "vite", ["build", "--outDir", "vite-main"]);
    await buildViteApp(folder, "vite-worker-app", "worker.html", ["with-worker.js", "worker.js"]);
    await buildViteApp(folder, "vite-threads-app", "threads.html", ["threads.js"]);
    return {
      "vite build": "vite-main/",
      "vite build, web worker": "vite-worker-app/dist/",
      "vite build, threads": "vite-threads-app/dist/",
      "vite build, threads, worker-src 'self'": "vite-threads-app/dist/",
    };
  },

  async webpack(folder) {
    const build = (entry, out) =>
      tool(folder, "webpack", ["--mode", "production", "--entry", `./${entry}.js`, "-o", out]);
    await build("main", "webpack-main");
    await build("with-worker", "webpack-worker");
    await build("threads", "webpack-threads");
    await build("schemes", "webpack-schemes");
    await assertNoWasm(folder, "webpack-schemes");
    const page = '<!doctype html><output>working</output><script src="./main.js"></script>';
    for (const out of ["webpack-main", "webpack-worker", "webpack-threads"])
      await writeFile(join(folder, out, "index.html"), page);
    return {
      webpack: "webpack-main/",
      "webpack, web worker": "webpack-worker/",
      "webpack, threads": "webpack-threads/",
      "webpack, threads, worker-src 'self'": "webpack-threads/",
    };
  },

  async rollup(folder) {
    const build = (entry, out) =>
      tool(folder, "rollup", [`${entry}.js`, "-p", "@rollup/plugin-node-resolve", "-f", "es", "-d", out]);
    await build("main", "rollup-main");
    await build("threads", "rollup-threads");
    await build("schemes", "rollup-schemes");
    await assertNoWasm(folder, "rollup-schemes");
    await copyPages(folder, "rollup-main", ["index.html"]);
    await copyPages(folder, "rollup-threads", ["threads.html"]);
    return { rollup: "rollup-main/", "rollup, threads": "rollup-threads/threads.html" };
  },

  async esbuild(folder) {
    const build = (entry, format, out) =>
      tool(folder, "esbuild", [`${entry}.js`, "--bundle", `--format=${format}`, `--outdir=${out}`]);
    await build("main", "esm", "esbuild-esm");
    await build("script", "iife", "esbuild-iife");
    await build("threads", "esm", "esbuild-esm-threads");
    await build("threads", "iife", "esbuild-iife-threads");
    await build("schemes", "esm", "esbuild-schemes");
    await assertNoWasm(folder, "esbuild-schemes");
    await copyPages(folder, "esbuild-esm", ["index.html"]);
    await copyPages(folder, "esbuild-iife", ["classic.html"]);
    await copyPages(folder, "esbuild-esm-threads", ["threads.html"]);
    await copyPages(folder, "esbuild-iife-threads", ["classic-threads.html"]);
    return {
      "esbuild esm": "esbuild-esm/",
      "esbuild iife": "esbuild-iife/classic.html",
      "esbuild esm, threads": "esbuild-esm-threads/threads.html",
      "esbuild iife, threads": "esbuild-iife-threads/classic-threads.html",
    };
  },
};

/** Builds with Next's default bundler; it is served by `next start`. */
export function buildNext(folder) {
  return tool(folder, "next", ["build"], join(folder, "next"));
}

/** What `wrangler deploy` would upload; returns the folder it was written to. */
export async function buildWrangler(folder, main) {
  const app = join(folder, "wrangler");
  await mkdir(app, { recursive: true });
  await copyFile(main, join(app, "worker.mjs"));
  const settings = 'name = "app"\nmain = "worker.mjs"\ncompatibility_date = "2026-04-01"\n';
  await writeFile(join(app, "wrangler.toml"), settings);
  await tool(folder, "wrangler", ["deploy", "--dry-run", "--outdir", "dist"], app);
  return join(app, "dist");
}
