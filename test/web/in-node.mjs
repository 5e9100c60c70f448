// Code of the page's workers, run in Node: what the browsers' figures are compared with.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";

const found = new Map();

/** What Node finds, looked for once: it is the same for every browser. */
export function once(name, find) {
  if (!found.has(name)) found.set(name, find());
  return found.get(name);
}

/**
 * Bundles and imports code of a folder of src/web. @param contents exports from "./models.ts" and the like
 */
export async function importView(env, folder, contents) {
  const outfile = join(env.folder, `${folder}-in-node.mjs`);
  await build({
    stdin: { contents, resolveDir: join(env.root, "src/web", folder), loader: "ts" },
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    logLevel: "error",
  });
  return import(pathToFileURL(outfile).href);
}
