import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { compareCheckpoints, compareStrip } from "../../src/checkpoint/measure/compare.ts";
import { openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { load } from "../../src/load.ts";
import { fileWith } from "../support/checkpoint-files.ts";
import { blockscale, layer, temporaryFolder, writeFileWith } from "../support/cli-runner.ts";

const folder = temporaryFolder();
const tensors = [0, 1, 2, 3].flatMap((i) => layer(i, 160));

test("figures are the same, and in order, however many strips are under way", async () => {
  const side = async (noise: number) => {
    const changed = tensors.map((tensor) => ({
      ...tensor,
      bytes: tensor.bytes.map((byte, i) => (i % 7 === 0 ? byte ^ noise : byte)),
    }));
    return openCheckpoint(new Map([["m.safetensors", fileWith(changed)]]));
  };
  const [a, b] = [await side(0), await side(1)];
  const engine = await load();
  const alone = await compareCheckpoints(a, b, engine);
  let running = 0;
  let most = 0;
  const together = await compareCheckpoints(a, b, engine, {
    ahead: 3,
    compare: async (pair, strip) => {
      most = Math.max(most, ++running);
      // The first asked is the last to answer.
      await new Promise((resolve) => setTimeout(resolve, 10 - running));
      running--;
      return compareStrip(pair, strip, [a.sources, b.sources], engine);
    },
  });
  expect(together).toEqual(alone);
  expect(most).toBe(3);
});

test("the command line tells the same with threads and without", async () => {
  const [a, b] = ["a", "b"].map((name) => join(folder, `${name}.safetensors`)) as [string, string];
  await writeFileWith(a, tensors);
  expect(await blockscale("quantize", a, b)).toMatchObject({ code: 0 });
  const [one, several] = await Promise.all(
    ["1", "3"].map((threads) => blockscale("compare", a, b, "--threads", threads, "--json")),
  );
  expect(several).toEqual(one);
  expect(one).toMatchObject({ code: 0, err: "" });
  writeFileSync(b, new Uint8Array(await fileWith(tensors.slice(1)).arrayBuffer()));
  expect(await blockscale("compare", a, b, "--threads", "2")).toMatchObject({ code: 1 });
});
