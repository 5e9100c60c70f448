import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openThread } from "../../src/threads/start.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

/** Opens a worker of which the first ones never answer, and lets their time pass. */
async function openWith(silent: number): Promise<{ made: number; error?: Error }> {
  const made = new Int32Array(new SharedArrayBuffer(4));
  const source = `const { parentPort } = require("node:worker_threads");
    parentPort.on("message", (made) => {
      if (Atomics.add(made, 0, 1) >= ${silent}) parentPort.postMessage({});
    });`;
  const script = { source, open: () => expect.unreachable() };
  const listener = { reply: () => {}, died: () => {} };
  const opened = openThread(script, made, listener).then(
    async (thread) => {
      await thread.terminate();
      return {};
    },
    (error: Error) => ({ error }),
  );
  for (const [i, seconds] of [10, 30].slice(0, silent).entries()) {
    await vi.waitFor(() => expect(Atomics.load(made, 0)).toBe(i + 1), { timeout: 10_000 });
    await vi.advanceTimersByTimeAsync(1000 * seconds);
  }
  return { ...(await opened), made: made[0]! };
}

test("a worker that never begins is made anew", async () => {
  expect(await openWith(0)).toEqual({ made: 1 });
  expect(await openWith(1)).toEqual({ made: 2 });
});

test("where it never begins again, there is an error", async () => {
  const { made, error } = await openWith(2);
  expect(made).toBe(2);
  expect(error).toMatchObject({ code: "option", message: expect.stringContaining("no answer in 30 s") });
});
