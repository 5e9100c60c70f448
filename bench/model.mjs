// Models of real shapes with random weights: node bench/model.mjs [NAME...]. Prints and writes bench/results/models.json.
// One process a case, so that memory is each one's own. Peers are measured by those who have them: the shapes are in checkpoints.mjs.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openModel } from "../dist/model/index.js";
import { openFolder } from "../dist/node.js";
import { SHAPES, writeCheckpoint } from "./checkpoints.mjs";
import { origin } from "./machine.mjs";
import { openProducts } from "./model-bound.mjs";

const PROMPT = 128;
const ANSWER = 32;
const ROUNDS = 3;

/** The best of some rounds: others on the machine can only make it slower. */
async function measure(folder, options) {
  const files = await openFolder(folder);
  const started = performance.now();
  const model = await openModel(files, options);
  const opened = (performance.now() - started) / 1000;
  const ids = Int32Array.from({ length: PROMPT }, (_, i) => (i * 7919) % 1000);
  const best = { open: opened };
  if (model.config.kind === "encoder") {
    for (let round = 0; round < 3 * ROUNDS; round++) {
      const start = performance.now();
      await model.embed([ids]);
      best.embed = Math.min(best.embed ?? Infinity, performance.now() - start);
    }
  } else {
    for (let round = 0; round < ROUNDS; round++) {
      const prompt = ids.map((id) => id + round);
      const start = performance.now();
      let first;
      let count = 0;
      for await (const _ of model.generate(prompt, { temperature: 0, maxTokens: ANSWER + 1 })) {
        first ??= performance.now();
        count++;
      }
      const end = performance.now();
      best.prefill = Math.max(best.prefill ?? 0, (1000 * PROMPT) / (first - start));
      best.decode = Math.max(best.decode ?? 0, (1000 * (count - 1)) / (end - first));
    }
  }
  await model.close();
  const { rss } = process.memoryUsage();
  return { ...best, megabytes: Math.round(rss / 1e6) };
}

if (process.argv[2] === "--case") {
  const [, , , folder, options] = process.argv;
  console.log(JSON.stringify(await measure(folder, JSON.parse(options))));
} else {
  const names = process.argv.slice(2).length > 0 ? process.argv.slice(2) : ["qwen3-0.6b", "minilm"];
  const flags = Number(process.versions.node.split(".")[0]) < 22 ? ["--experimental-wasm-relaxed-simd"] : [];
  const folder = mkdtempSync(join(tmpdir(), "blockscale-bench-"));
  const rows = [];
  try {
    for (const name of names) {
      const path = writeCheckpoint(name, join(folder, name));
      for (const weights of ["codes", "int7"]) {
        for (const threads of [1, 2]) {
          const options = JSON.stringify({ weights, threads });
          const printed = execFileSync(process.execPath, [
            ...flags,
            fileURLToPath(import.meta.url),
            "--case",
            path,
            options,
          ]);
          rows.push({ name, weights, threads, ...JSON.parse(printed) });
          console.log(JSON.stringify(rows.at(-1)));
        }
      }
      if (SHAPES[name].config.architectures[0] !== "BertModel") {
        const { pass, free } = await openProducts(name);
        const milliseconds = Math.min(...Array.from({ length: ANSWER }, pass));
        free();
        rows.push({ name, weights: "codes", threads: 1, productsAlone: 1000 / milliseconds });
        console.log(JSON.stringify(rows.at(-1)));
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  mkdirSync(new URL("results/", import.meta.url), { recursive: true });
  const record = { ...origin(new URL("../", import.meta.url)), prompt: PROMPT, answer: ANSWER, rows };
  writeFileSync(new URL("results/models.json", import.meta.url), `${JSON.stringify(record, null, 1)}\n`);
}
