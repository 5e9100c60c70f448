// What a bundler of each platform makes of the installed package: the platform's conditions, and nothing else.
import { join } from "node:path";
import { build } from "esbuild";

const target = "es2022";

/** For Cloudflare, as wrangler does it: .wasm files stay files, imported by name. */
export function bundleForWorkerd(project, entry, outdir) {
  return build({
    absWorkingDir: project,
    entryPoints: { worker: entry },
    outdir,
    bundle: true,
    format: "esm",
    target,
    conditions: ["workerd", "worker", "browser"],
    loader: { ".wasm": "copy" },
    assetNames: "[name]",
  });
}

/** For Vercel: a script, in which `x.wasm?module` is a global that the platform has compiled. */
export async function bundleForEdge(project, entry) {
  const files = new Map();
  const modules = {
    name: "compiled modules",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /\.wasm\?module$/ }, ({ path, resolveDir }) => ({
        path: join(resolveDir, path.replace("?module", "")),
        namespace: "module",
      }));
      onLoad({ filter: /./, namespace: "module" }, ({ path }) => {
        const name = `wasm_${files.size}`;
        files.set(name, path);
        return { contents: `export default ${name};` };
      });
    },
  };
  const { outputFiles } = await build({
    absWorkingDir: project,
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "iife",
    globalName: "bundle",
    target,
    conditions: ["edge-light", "worker", "browser"],
    plugins: [modules],
  });
  return { script: outputFiles[0].text, files };
}

/** For browsers: ES modules, one per thread. */
export function bundleForBrowsers(project, entries) {
  return build({
    absWorkingDir: project,
    entryPoints: entries,
    outdir: "bundled",
    bundle: true,
    format: "esm",
    target,
    minify: true,
  });
}
