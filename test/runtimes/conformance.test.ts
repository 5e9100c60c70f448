import { expect, test } from "vitest";
import * as checkpoints from "../../src/checkpoint/index.ts";
import * as blockscale from "../../src/index.ts";
import { reference } from "../reference/engine.ts";
import { ENGINES } from "../support/engines.ts";
import { conformance, hashes, precisions } from "./conformance.ts";
import { conversions } from "./conversions.ts";

/**
 * Values come from the definitions; sums and converted files, which have tests of their
 * own against them, from plain JavaScript.
 */
async function expected(): Promise<Record<string, string>> {
  const [, makePlain] = ENGINES.find(([name]) => name === "js")!;
  const plain = await makePlain();
  return {
    ...(await hashes(reference, blockscale)),
    ...(await precisions(plain, blockscale)),
    ...(await conversions(plain, checkpoints)),
  };
}

const wanted = expected();

test("every runtime is held to hashes.json, and hashes.json to the definitions", async () => {
  await expect(`${JSON.stringify(await wanted, null, 2)}\n`).toMatchFileSnapshot("hashes.json");
});

test.each(ENGINES)("%s conforms", async (_, make) => {
  const report = await conformance(await make(), blockscale, checkpoints);
  expect(report.failures).toEqual([]);
  expect(report.hashes).toEqual(await wanted);
});

test("every dialect stores something in its own way, and every value type gives other values", async () => {
  const all = Object.entries(await wanted);
  const made = all.filter(([name]) => name.startsWith("checkpoint bf16 to "));
  expect(made).toHaveLength(Object.keys(checkpoints.dialects).length);
  expect(new Set(made.map(([, hash]) => hash)).size).toBe(made.length);
  for (const [name, hash] of made) {
    const back = name.replace(/bf16 to (.*)/, "$1 to bf16");
    expect((await wanted)[back], back).not.toBe(hash);
  }
  const sources = all.filter(([name]) => /^quantize /.test(name)).map(([, hash]) => hash);
  expect(new Set(sources).size).toBe(sources.length);
});
