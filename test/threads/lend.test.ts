import { expect, test } from "vitest";
import { lendModelWorkers } from "../../src/model/index.ts";
import { openModel } from "../../src/model/open.ts";
import { type LentWorkers, lendWorkers, lentBy } from "../../src/threads/lend.ts";
import { openThread, type Thread } from "../../src/threads/start.ts";
import { filesOf } from "../support/models.ts";

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

test("a wrong port is refused", async () => {
  const workers = lendModelWorkers as unknown as MessagePort;
  await expect(openModel(filesOf("qwen3"), { threads: 2, workers })).rejects.toMatchObject({
    code: "option",
    message: expect.stringContaining("openModel: workers"),
  });
});

const kill = (thread: Thread): void => thread.post("die");

/** Opens a thread that a lender makes of this script, ends it, and tells what became of it. */
async function lentThread(
  source: string,
  end: (thread: Thread, lent: LentWorkers) => unknown = kill,
): Promise<string[]> {
  const lent = lendWorkers({ source, open: () => expect.unreachable() });
  const said: string[] = [];
  const script = { source: "", open: () => expect.unreachable(), way: lentBy(lent.port) };
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
