import { expect, test } from "vitest";
import * as blockscale from "../../src/index.ts";
import { ENGINES } from "../engines.ts";
import { reference } from "../reference/engine.ts";
import { conformance, hashes } from "./conformance.ts";

const wanted = hashes(reference, blockscale);

test("every runtime is held to hashes.json, and hashes.json to the definitions", async () => {
  await expect(`${JSON.stringify(await wanted, null, 2)}\n`).toMatchFileSnapshot("hashes.json");
});

test.each(ENGINES)("%s conforms", async (_, make) => {
  const report = await conformance(await make(), blockscale);
  expect(report.failures).toEqual([]);
  expect(report.hashes).toEqual(await wanted);
});
