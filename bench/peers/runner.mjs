// One contestant of bench/model-peers.mjs in a process of its own: says "ready", and then runs a round each time it is asked.
// node bench/peers/runner.mjs KIND OPTIONS, as JSON: { peers, folder, gguf, threads, ... }
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const PROMPT = 128;
const ANSWER = 17;
const [kind, text] = process.argv.slice(2);
const options = JSON.parse(text);
const promptOf = (round) =>
  Int32Array.from({ length: PROMPT }, (_, i) => 100 + ((i * 7919 + round * 31) % 900));

/** Milliseconds until the first token, and of each one after it. */
async function timed(tokens) {
  const start = performance.now();
  const times = [];
  for await (const _ of tokens) times.push(performance.now());
  return { prefill: times[0] - start, steps: times.slice(1).map((time, i) => time - times[i]) };
}

const KINDS = {
  async blockscale({ folder, threads, weights, activations }) {
    const { openModel } = await import("../../dist/model/index.js");
    const { openFolder } = await import("../../dist/node.js");
    const model = await openModel(await openFolder(folder), { threads, weights, activations });
    return (round) => timed(model.generate(promptOf(round), { temperature: 0, maxTokens: ANSWER }));
  },

  /** Products alone: a token's worth of them, one row each, as many times as an answer has steps. */
  async products({ name }) {
    const { openProducts } = await import("../model-bound.mjs");
    const { pass } = await openProducts(name);
    return async () => ({ steps: Array.from({ length: ANSWER - 1 }, pass) });
  },

  async llama({ peers, gguf, threads }) {
    const { getLlama } = await import(
      pathToFileURL(join(peers, "node_modules/node-llama-cpp/dist/index.js")).href
    );
    const llama = await getLlama({ gpu: false, build: "never", logLevel: "error", maxThreads: threads });
    const model = await llama.loadModel({ modelPath: gguf, gpuLayers: 0 });
    const context = await model.createContext({
      contextSize: 512,
      batchSize: 512,
      threads: { ideal: threads, min: threads },
    });
    const sequence = context.getSequence();
    return async (round) => {
      await sequence.clearHistory();
      const tokens = async function* () {
        let left = ANSWER;
        for await (const token of sequence.evaluate([...promptOf(round)], { temperature: 0 })) {
          yield token;
          if (--left === 0) return;
        }
      };
      return timed(tokens());
    };
  },

  async encoder({ folder, weights, activations }) {
    const { openModel } = await import("../../dist/model/index.js");
    const { openFolder } = await import("../../dist/node.js");
    const model = await openModel(await openFolder(folder), { weights, activations });
    return (round) => repeated(() => model.embed([promptOf(round)]));
  },

  /** transformers.js in Node would take the native onnxruntime: it is given the one that it has in browsers. */
  async transformers({ peers, folder, dtype }) {
    const ort = createRequire(join(peers, "package.json"))("onnxruntime-web");
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = pathToFileURL(join(peers, "node_modules/onnxruntime-web/dist/")).href;
    globalThis[Symbol.for("onnxruntime")] = ort;
    const { AutoModel, Tensor, env } = await import(
      pathToFileURL(join(peers, "node_modules/@huggingface/transformers/dist/transformers.node.mjs")).href
    );
    env.allowRemoteModels = false;
    env.localModelPath = dirname(folder);
    const model = await AutoModel.from_pretrained(basename(folder), {
      dtype,
      device: "auto",
      session_options: { executionProviders: ["wasm"] },
    });
    return (round) => {
      const ids = BigInt64Array.from(promptOf(round), BigInt);
      return repeated(() => model({ input_ids: new Tensor("int64", ids, [1, PROMPT]) }));
    };
  },
};

async function repeated(action) {
  const steps = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    await action();
    steps.push(performance.now() - start);
  }
  return { steps };
}

const started = performance.now();
const run = await KINDS[kind](options);
process.send({ open: performance.now() - started, rss: process.memoryUsage().rss });
process.on("message", async (round) => process.send(await run(round)));
