// Compiles every target of asconfig.json: node .config/wasm.mjs. Two at a time, each in a process of its own.
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";

const root = new URL("../", import.meta.url).pathname;
const { targets } = JSON.parse(await readFile(`${root}asconfig.json`, "utf8"));
const waiting = Object.keys(targets);

/** The compiler's exit status. */
const compile = (target) =>
  new Promise((resolve) => {
    const entry = target.startsWith("model-") ? "assembly/model.ts" : "assembly/index.ts";
    spawn(process.execPath, [`${root}node_modules/assemblyscript/bin/asc.js`, entry, "--target", target], {
      cwd: root,
      stdio: "inherit",
    }).on("exit", (status) => resolve(status ?? 1));
  });

const lane = async () => {
  for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
    if ((await compile(target)) !== 0) process.exitCode = 1;
  }
};
await Promise.all([lane(), lane()]);
