// The project that every runtime opens: the installed tarball, the suite as one module, the snippets.
import { join } from "node:path";
import { build } from "esbuild";
import { createProject, HERE, pack, ROOT } from "./workspace.mjs";

export async function createRuntimeProject(folder) {
  const packed = await pack(folder);
  const path = join(folder, "app");
  await createProject(path, packed.tarball, {
    ".": join(HERE, "app"),
    snippets: join(HERE, "snippets"),
    "examples/worker.mjs": join(ROOT, "test/examples/worker.mjs"),
    "examples/embed-worker.mjs": join(ROOT, "test/examples/embed-worker.mjs"),
    models: join(ROOT, "test/model/models"),
  });
  await build({
    entryPoints: [join(HERE, "conformance.ts")],
    outfile: join(path, "conformance.js"),
    bundle: true,
    format: "esm",
    target: "es2022",
  });
  return { path, ...packed };
}
