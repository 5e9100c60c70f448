import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";

test("the nearest-neighbour example finds nearly what float32 finds, in a quarter of the memory", () => {
  const printed = execFileSync(process.execPath, ["test/examples/nearest-neighbours.mjs", "5000"], {
    cwd: new URL("../..", import.meta.url),
    encoding: "utf8",
  });
  expect(printed).toMatch(
    /^5000 embeddings of 768 dimensions, 50 queries\nfloat32.* 15 MB .*\nFP8 1x32.* 4\.0 MB /,
  );
  const recall = Number(/recall@10: ([\d.]+)/.exec(printed)?.[1]);
  expect(recall).toBeGreaterThan(0.9);
  expect(recall).toBeLessThan(1); // or the two searches are the same
});
