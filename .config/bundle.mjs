// Build steps that tsc does not do, by name: node .config/bundle.mjs kernels loader
import { chmod, copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const root = new URL("../", import.meta.url);
const path = (name) => new URL(name, root).pathname;

/** What `import "#kernels"` finds by default: the release builds as text, so that no host has to fetch or read a file. */
async function kernels() {
  const base64 = async (variant) => (await readFile(path(`build/${variant}.wasm`))).toString("base64");
  const script = `// A plain loop: Uint8Array.from(text, callback) takes ten times as long.
function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
export function baseline() {
  return bytesOf("${await base64("baseline")}");
}
export function relaxed() {
  return bytesOf("${await base64("relaxed")}");
}
`;
  const types = `/** The wasm builds: bytes to compile, or a compiled Module where the host imports .wasm files itself. */
export declare function baseline(): WebAssembly.Module | Uint8Array<ArrayBuffer>;
export declare function relaxed(): WebAssembly.Module | Uint8Array<ArrayBuffer>;
`;
  await mkdir(path("dist/kernels"), { recursive: true });
  await writeFile(path("dist/kernels/inline.js"), script);
  await writeFile(path("dist/kernels/inline.d.ts"), types);
}

/** Takes the AssemblyScript loader into the one file that imports it, so that the package depends on nothing. */
async function loader() {
  const file = path("dist/wasm/instantiate.js");
  const ours = {
    name: "ours stays outside",
    setup: ({ onResolve }) =>
      onResolve({ filter: /^\.\.?\// }, ({ importer, path }) =>
        importer === file ? { path, external: true } : undefined,
      ),
  };
  await build({
    entryPoints: [file],
    outfile: file,
    allowOverwrite: true,
    bundle: true,
    format: "esm",
    target: "es2022",
    sourcemap: true,
    banner: { js: "// Holds @assemblyscript/loader: Apache License 2.0, see LICENSE.loader.txt" },
    plugins: [ours],
  });
  await copyFile(path("node_modules/assemblyscript/LICENSE"), path("dist/wasm/LICENSE.loader.txt"));
}

/** Takes the libraries of the command line into the file that uses them; our own modules stay where tsc put them. */
async function cli() {
  const ours = {
    name: "ours stays outside",
    setup: ({ onResolve }) =>
      onResolve({ filter: /^\.\.?\// }, ({ importer, path }) =>
        importer.startsWith(folder) && path.startsWith("../") ? { path, external: true } : undefined,
      ),
  };
  const folder = path("dist/cli/");
  const file = path("dist/cli/main.js");
  await build({
    entryPoints: [file],
    outfile: file,
    allowOverwrite: true,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    sourcemap: true,
    banner: {
      js: [
        "#!/usr/bin/env node",
        'import { createRequire as createRequireOf } from "node:module";',
        "const require = createRequireOf(import.meta.url);",
      ].join("\n"),
    },
    plugins: [ours],
  });
  await chmod(file, 0o755);
}

const steps = { kernels, loader, cli };

for (const name of process.argv.slice(2)) await steps[name]();
