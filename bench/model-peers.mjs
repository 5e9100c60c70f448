// Models beside their peers, in turns: node bench/model-peers.mjs [ROUNDS]. The peers, which are large, are installed in a temporary folder (PEERS names one to
// keep); weights are random, in the shapes of Qwen3-0.6B and MiniLM. Prints ratios, and writes bench/results/model-peers-CPU.json. Needs Node 22 and Chromium.
import { fork } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SHAPES, writeCheckpoint } from "./checkpoints.mjs";
import { writeGguf } from "./gguf.mjs";
import { origin, slug } from "./machine.mjs";
import { install } from "./peers/install.mjs";
import { writeOnnx } from "./peers/onnx-encoder.mjs";
import { openWllama } from "./peers/wllama.mjs";

const PACKAGES = [
  "@wllama/wllama@3.8.1",
  "node-llama-cpp@3.21.1",
  "@huggingface/transformers@4.3.1",
  "playwright-core@1.56.0",
];
const ROUNDS = Number(process.argv[2] ?? 4);
const MODEL = "qwen3-0.6b";

const temporary = mkdtempSync(join(tmpdir(), "blockscale-peers-"));
const peers = process.env.PEERS ?? temporary;
install(peers, PACKAGES);

/** A contestant in a process of its own. */
async function openProcess(kind, options) {
  const child = fork(fileURLToPath(new URL("peers/runner.mjs", import.meta.url)), [
    kind,
    JSON.stringify(options),
  ]);
  const answer = () =>
    new Promise((resolve, reject) => {
      child.once("message", resolve);
      child.once("exit", (code) => reject(new Error(`${kind} ended with ${code}`)));
    });
  const { open, rss } = await answer();
  return {
    open,
    rss,
    run(round) {
      child.send(round);
      return answer();
    },
    close: () => child.kill(),
  };
}

/** The time that one in ten stays below: what a token takes when nobody else is in the way. */
function tenth(times) {
  return [...times].sort((a, b) => a - b)[Math.floor(times.length / 10)];
}

/** All contestants, a round each in turn; the best of each. */
async function race(contestants) {
  const open = [];
  try {
    for (const [name, opener] of Object.entries(contestants)) {
      open.push({ name, ...(await opener()), prefill: Infinity, steps: [] });
      console.error(`open: ${name}`);
    }
    for (let round = 0; round < ROUNDS; round++) {
      for (const one of open) {
        const { prefill, steps } = await one.run(round);
        one.prefill = Math.min(one.prefill, prefill ?? Infinity);
        one.steps.push(...steps);
        console.error(`round ${round}: ${one.name}`);
      }
    }
    return open.map(({ name, open: opening, rss, prefill, steps }) => ({
      name,
      openSeconds: opening / 1000,
      megabytes: rss === undefined ? undefined : Math.round(rss / 1e6),
      promptTokensPerSecond: Number.isFinite(prefill) ? 128_000 / prefill : undefined,
      milliseconds: tenth(steps),
    }));
  } finally {
    for (const { close } of open) await close();
  }
}

const results = {};
try {
  const folder = writeCheckpoint(MODEL, join(temporary, MODEL));
  const gguf = writeGguf(MODEL, join(temporary, "q8.gguf"));
  const encoder = writeCheckpoint("minilm", join(temporary, "minilm"));
  await writeOnnx(encoder, 128);
  const blockscale = (options) => () => openProcess("blockscale", { folder, ...options });
  for (const threads of [1, 2]) {
    results[`${MODEL}, ${threads} thread${threads > 1 ? "s" : ""}`] = await race({
      codes: blockscale({ threads }),
      "codes, activations auto": blockscale({ threads, activations: "auto" }),
      int7: blockscale({ threads, weights: "int7" }),
      ...(threads === 1 ? { "products alone": () => openProcess("products", { name: MODEL }) } : {}),
      "llama.cpp, native, Q8_0": () => openProcess("llama", { peers, gguf, threads }),
      "wllama, Q8_0": () => openWllama({ peers, gguf, threads }),
    });
  }
  const encoding = (options) => () => openProcess("encoder", { folder: encoder, ...options });
  results["minilm, 128 tokens, 1 thread"] = await race({
    codes: encoding({}),
    "codes, activations auto": encoding({ activations: "auto" }),
    int7: encoding({ weights: "int7" }),
    "transformers.js, fp32": () => openProcess("transformers", { peers, folder: encoder, dtype: "fp32" }),
    "transformers.js, q8": () => openProcess("transformers", { peers, folder: encoder, dtype: "q8" }),
  });
} finally {
  rmSync(temporary, { recursive: true });
}
const record = {
  ...origin(new URL("../", import.meta.url)),
  rounds: ROUNDS,
  shapes: SHAPES[MODEL].config,
  results,
};
mkdirSync(new URL("results/", import.meta.url), { recursive: true });
const file = `results/model-peers-${slug(record.machine.cpu)}.json`;
writeFileSync(new URL(file, import.meta.url), `${JSON.stringify(record, null, 1)}\n`);
for (const [name, rows] of Object.entries(results)) {
  console.log(name);
  console.table(Object.fromEntries(rows.map(({ name: row, ...figures }) => [row, figures])));
}
