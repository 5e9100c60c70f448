import { expect, test } from "vitest";
import { lendEngineWorkers, load } from "../../src/load.ts";
import { lendModelWorkers } from "../../src/model/index.ts";
import { openModel } from "../../src/model/open.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import { type LentWorkers, lendWorkers, lentFactory } from "../../src/threads/lend.ts";
import { openThread, type Thread } from "../../src/threads/start.ts";
import { createTrainer } from "../../src/train/create.ts";
import { lendTrainerWorkers } from "../../src/train/script.ts";
import { filesOf } from "../support/models.ts";
import { tinyLlama } from "../support/tiny-llama.ts";

const IDS = [1, 2, 3, 4, 5];

test("models whose threads another thread makes give the same bits", async () => {
  const lent = lendModelWorkers();
  const expected = await openModel(filesOf("qwen3"), { threads: 2 });
  // Two at a time, and one after another.
  for (let round = 0; round < 2; round++) {
    const options = { threads: 2, workers: lent.port };
    const models = await Promise.all([
      openModel(filesOf("qwen3"), options),
      openModel(filesOf("llama"), options),
    ]);
    expect(await models[0].logits(IDS)).toEqual(await expected.logits(IDS));
    for (const model of models) await model.close();
  }
  await expected.close();
  await lent.close();
});

test("so do engines", async () => {
  const lent = await lendEngineWorkers();
  const one = await load();
  const fp8 = await load({ threads: 3, workers: lent.port });
  const values = Float32Array.from({ length: 200 * 96 }, (_, i) => Math.sin(i));
  const w = one.quantize(values, [200, 96], schemes.mxfp8);
  const packed = await fp8.pack(w);
  const x = { values: values.subarray(0, 2 * 96), shape: [2, 96] };
  expect(await fp8.gemm(x, packed)).toEqual(one.gemm(x, w));
  await lent.close();
  await expect(fp8.gemm(x, packed)).rejects.toThrow(/its lender ended it/);
  await fp8.close();
});

test("so do trainers", async () => {
  const lent = lendTrainerWorkers();
  const ids = Int32Array.from({ length: 2 * 17 }, (_, i) => (i * 7) % 40);
  const step = async (options: { threads: number; workers?: MessagePort }) => {
    const trainer = await createTrainer({ config: tinyLlama, seed: 1 }, options);
    await trainer.step(ids, [2, 17]);
    const { loss } = await trainer.step(ids, [2, 17]);
    await trainer.close();
    return loss;
  };
  expect(await step({ threads: 2, workers: lent.port })).toBe(await step({ threads: 1 }));
  await lent.close();
});

test("a wrong port is refused", async () => {
  const options = { threads: 2, workers: lendModelWorkers as unknown as MessagePort };
  const refused = (where: string) => ({
    code: "option",
    message: expect.stringContaining(`${where}: workers`),
  });
  await expect(openModel(filesOf("qwen3"), options)).rejects.toMatchObject(refused("openModel"));
  await expect(load(options)).rejects.toMatchObject(refused("load"));
  const made = createTrainer({ config: tinyLlama, seed: 1 }, options);
  await expect(made).rejects.toMatchObject(refused("createTrainer"));
});

const kill = (thread: Thread): void => thread.post("die");

/** Opens a thread that a lender makes of this script, ends it, and tells what became of it. */
async function lentThread(
  source: string,
  end: (thread: Thread, lent: LentWorkers) => unknown = kill,
): Promise<string[]> {
  const lent = lendWorkers({ source, open: () => expect.unreachable() });
  const said: string[] = [];
  const script = { source: "", open: () => expect.unreachable(), factory: lentFactory(lent.port) };
  let died: (reason: string) => void = () => {};
  const death = new Promise<string>((resolve) => {
    died = resolve;
  });
  const opened = await openThread(script, "start", { reply: ({ id }) => said.push(String(id)), died }).catch(
    (error: Error) => error,
  );
  if (opened instanceof Error) said.push(opened.message);
  else {
    await end(opened, lent);
    said.push(await death);
    await opened.terminate();
  }
  await lent.close();
  return said;
}

const ANSWERING = `const { parentPort } = require("node:worker_threads");
  parentPort.on("message", ({ ports }) => {
    parentPort.postMessage({});
    for (const port of ports) port.on("message", (message) => message === "die" ? process.exit(3) : port.postMessage({}));
  });`;

test("the death of a lent worker is told", async () => {
  expect(await lentThread(ANSWERING)).toEqual(["exit code 3"]);
});

test("a lender that ends a worker in use tells who uses it", async () => {
  expect(await lentThread(ANSWERING, (_, lent) => lent.close())).toEqual(["its lender ended it"]);
});

test("a worker that cannot be made is an error", async () => {
  const [message] = await lentThread(`throw new Error("no script");`);
  expect(message).toContain("no script");
});
