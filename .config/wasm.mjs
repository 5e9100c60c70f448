// Compiles the targets of asconfig.json that are older than their sources: node .config/wasm.mjs
import { readdir, readFile, stat } from "node:fs/promises";
import { root, runEach } from "./processes.mjs";

const timeOf = async (name) => (await stat(root + name).catch(() => ({ mtimeMs: 0 }))).mtimeMs;

const sources = (await readdir(`${root}assembly`, { recursive: true })).map((name) => `assembly/${name}`);
const changed = Math.max(
  ...(await Promise.all(
    [...sources, "asconfig.json", "node_modules/assemblyscript/package.json"].map(timeOf),
  )),
);

const { targets } = JSON.parse(await readFile(`${root}asconfig.json`, "utf8"));
const stale = [];
for (const [target, { outFile, textFile }] of Object.entries(targets)) {
  if ((await timeOf(outFile)) > changed && (await timeOf(textFile)) > changed) continue;
  const entry = target.startsWith("model-") ? "assembly/model.ts" : "assembly/index.ts";
  stale.push([entry, "--target", target]);
}
await runEach("node_modules/assemblyscript/bin/asc.js", stale);
