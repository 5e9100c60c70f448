import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cachedModel } from "../../src/io/hub-cache.ts";
import { temporaryFolder } from "../support/cli-runner.ts";

const folder = temporaryFolder();
const before = process.env.HF_HUB_CACHE;
const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const model = join(folder, "models--owner--name");
const snapshot = join(model, "snapshots", COMMIT);

/** A file of the snapshot: a link to a blob, as the hub's tools make it. */
function put(name: string, text: string): void {
  const blob = join(model, "blobs", name);
  for (const path of [blob, join(snapshot, name)]) mkdirSync(dirname(path), { recursive: true });
  writeFileSync(blob, text);
  symlinkSync(blob, join(snapshot, name));
}

beforeAll(() => {
  process.env.HF_HUB_CACHE = folder;
  put("config.json", "{}");
  put(
    "model.safetensors.index.json",
    JSON.stringify({ weight_map: { a: "1.safetensors", b: "2.safetensors" } }),
  );
  put("1.safetensors", "x");
  put("2.safetensors", "y");
  mkdirSync(join(model, "refs"));
  writeFileSync(join(model, "refs/main"), `${COMMIT}\n`);
});

afterAll(() => {
  if (before === undefined) delete process.env.HF_HUB_CACHE;
  else process.env.HF_HUB_CACHE = before;
});

test("a whole model is found by branch and by commit, and no other", async () => {
  expect(await cachedModel("owner/name", "main")).toBe(snapshot);
  expect(await cachedModel("owner/name", COMMIT)).toBe(snapshot);
  expect(await cachedModel("owner/name", "other")).toBeNull();
  expect(await cachedModel("owner/name", "../refs/main")).toBeNull();
  expect(await cachedModel("owner/other", "main")).toBeNull();
});

test("a model of which a shard is missing is not taken", async () => {
  // The link stays, and leads nowhere: an interrupted download.
  rmSync(join(model, "blobs/2.safetensors"));
  expect(await cachedModel("owner/name", "main")).toBeNull();
});
