import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FileStates, stateKey } from "../../src/jobs/hidden-states.ts";
import { temporaryFolder } from "../support/cli-runner.ts";

const folder = temporaryFolder();

test.each([0, 1, 5, (1 << 22) + 3])("%i states come back as they were, several pieces too", async (count) => {
  const states = Float32Array.from({ length: count }, (_, i) => Math.fround(1 / (i + 1)));
  const store = new FileStates(folder, `model-${count}`, "key");
  expect(await store.read()).toBeNull();
  await store.write(7, states);
  const found = await new FileStates(folder, `model-${count}`, "key").read();
  expect(found?.layers).toBe(7);
  expect(Buffer.from(found!.states.buffer).equals(Buffer.from(states.buffer))).toBe(true);
  await store.remove();
  expect(readdirSync(folder).filter((name) => name.includes(`model-${count}.`))).toEqual([]);
});

test("of another key, cut off or damaged, they are not taken up", async () => {
  const store = new FileStates(folder, "model", "key");
  await store.write(1, Float32Array.of(1, 2, 3));
  expect(await new FileStates(folder, "model", "other").read()).toBeNull();
  const path = join(folder, "model.states");
  const whole = readFileSync(path);
  truncateSync(path, whole.length - 1);
  expect(await store.read()).toBeNull();
  for (const text of ["", "x", '{"key":"key"}\n', '{"key":"key","layers":"1"}\n', "{".repeat(300)]) {
    writeFileSync(path, text);
    expect(await store.read(), text).toBeNull();
  }
});

test("their key is another for other files, ids or settings", async () => {
  const files = (text: string) => new Map([["config.json", new Blob([text])]]);
  const keys = await Promise.all([
    stateKey(files("a"), Int32Array.of(1), [64]),
    stateKey(files("b"), Int32Array.of(1), [64]),
    stateKey(files("a"), Int32Array.of(2), [64]),
    stateKey(files("a"), Int32Array.of(1), [32]),
    stateKey(new Map([...files("a"), ["README.md", new Blob(["x"])]]), Int32Array.of(1), [64]),
  ]);
  expect(new Set(keys).size).toBe(4);
  expect(keys[4]).toBe(keys[0]);
});
