import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { fileWith } from "../support/checkpoint-files.ts";
import { blockscale, layer, snapshot, temporaryFolder, writeFileWith } from "../support/cli-runner.ts";

// What stands for IN besides a file and a folder: an index, the address of one, of a folder, of models on hubs.

const folder = temporaryFolder();
const model = join(folder, "model");
const INDEX = "model.safetensors.index.json";
const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
let server: Server;
let base: string;
/** By path. */
const contents = new Map<string, Uint8Array>();
/** Whether ranges are answered. */
let hasRanges = true;

beforeAll(async () => {
  mkdirSync(model);
  const weightMap: { [name: string]: string } = {};
  for (const [i, shard] of shards.entries()) {
    const tensors = layer(i, 128);
    await writeFileWith(join(model, shard), tensors);
    for (const { name } of tensors) weightMap[name] = shard;
    contents.set(`/m/${shard}`, new Uint8Array(await fileWith(tensors).arrayBuffer()));
  }
  const text = JSON.stringify({ metadata: {}, weight_map: weightMap });
  for (const [name, bytes] of [
    [INDEX, text],
    ["config.json", '{"model_type":"x"}'],
    ["tokenizer.json", "{}"],
  ] as const) {
    writeFileSync(join(model, name), bytes);
    contents.set(`/m/${name}`, new TextEncoder().encode(bytes));
  }
  // Another model beside it, with an index of its own.
  await writeFileWith(join(model, "other.safetensors"), layer(7, 128));
  const others = layer(7, 128).map(({ name }) => [name, "other.safetensors"]);
  writeFileSync(
    join(model, "other.safetensors.index.json"),
    JSON.stringify({ weight_map: Object.fromEntries(others) }),
  );
  contents.set("/single/model.safetensors", contents.get(`/m/${shards[0]}`)!);
  server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, "http://x");
    const listed = listing(request.url!);
    if (listed !== null) return void response.end(JSON.stringify(listed));
    const name = fileOfHub(request.url!) ?? pathname;
    const file = contents.get(name);
    if (file === undefined) return void response.writeHead(404).end();
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "");
    if (range === null || !hasRanges) return void response.end(file);
    const [start, end] = [Number(range[1]), Math.min(Number(range[2]) + 1, file.length)];
    response.writeHead(206, { "content-range": `bytes ${start}-${end - 1}/${file.length}` });
    response.end(file.subarray(start, end));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());
afterEach(() => {
  hasRanges = true;
  delete process.env.MODELSCOPE_DOMAIN;
  delete process.env.MODELSCOPE_CACHE;
});

/** The list of a model's files, as ModelScope answers. */
function listing(url: string): unknown {
  if (!url.startsWith("/api/v1/models/some/model/repo/files?Revision=master&Recursive=true")) return null;
  const files = [...contents.keys()].filter((path) => path.startsWith("/m/"));
  return {
    Code: 200,
    Data: {
      Files: [
        { Path: "sub", Type: "tree", Size: 0 },
        ...files.map((path) => ({ Path: path.slice(3), Type: "blob", Size: contents.get(path)!.length })),
      ],
    },
  };
}

function fileOfHub(url: string): string | null {
  const { pathname, searchParams } = new URL(url, "http://x");
  return pathname === "/api/v1/models/some/model/repo" ? `/m/${searchParams.get("FilePath")}` : null;
}

async function tensorsOf(place: string): Promise<number> {
  const { code, out, err } = await blockscale("inspect", place, "--json");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  return JSON.parse(out).tensors.length;
}

test("the path of an index opens the shards beside it, and of several the one that is meant", async () => {
  expect(await tensorsOf(join(model, INDEX))).toBe(8);
  expect(await tensorsOf(join(model, "other.safetensors.index.json"))).toBe(4);
  const output = join(folder, "from-index");
  expect(await blockscale("quantize", join(model, INDEX), output)).toMatchObject({ code: 0, err: "" });
  expect([...snapshot(output).keys()]).toEqual(expect.arrayContaining([...shards, INDEX, "config.json"]));
});

test.each([true, false])(
  "the address of an index, and of its folder, where ranges are answered: %s",
  async (ranges) => {
    hasRanges = ranges;
    for (const place of [`${base}/m/${INDEX}`, `${base}/m/`, `${base}/m`, `${base}/m?key=1`])
      expect(await tensorsOf(place)).toBe(8);
    expect(await tensorsOf(`${base}/single`)).toBe(4);
    const output = join(folder, `from-web-${ranges}`);
    expect(await blockscale("quantize", `${base}/m`, output)).toMatchObject({ code: 0, err: "" });
    const names = [...shards, INDEX, "config.json", "tokenizer.json"];
    expect([...snapshot(output).keys()].sort()).toEqual(names.sort());
  },
);

test("an address where there is neither index nor weights, and an index that is missing", async () => {
  expect(await blockscale("inspect", `${base}/nothing`)).toMatchObject({
    code: 1,
    err: expect.stringContaining("status 404"),
  });
  expect(await blockscale("inspect", `${base}/single/${INDEX}`)).toMatchObject({
    code: 1,
    err: expect.stringContaining("the index of a checkpoint, got status 404"),
  });
});

test("a model of ModelScope, from its server and from the cache of its own package", async () => {
  process.env.MODELSCOPE_DOMAIN = base;
  process.env.MODELSCOPE_CACHE = join(folder, "no-cache");
  const output = join(folder, "from-modelscope");
  expect(await blockscale("quantize", "ms:some/model", output)).toMatchObject({ code: 0, err: "" });
  expect([...snapshot(output).keys()]).toContain("tokenizer.json");
  expect(await blockscale("inspect", "ms:some/other")).toMatchObject({
    code: 1,
    err: expect.stringMatching(/the model some\/other on .*status 404.*MODELSCOPE_API_TOKEN/),
  });
  expect(await blockscale("inspect", "ms:model")).toMatchObject({
    code: 2,
    err: expect.stringContaining("ms:OWNER/NAME"),
  });
  const cache = join(folder, "cache");
  const kept = join(cache, "models", "some", "model-1___5");
  mkdirSync(kept, { recursive: true });
  writeFileSync(join(kept, "config.json"), "{}");
  await writeFileWith(join(kept, "model.safetensors"), layer(0, 128));
  process.env.MODELSCOPE_CACHE = cache;
  expect(await tensorsOf("ms:some/model-1.5")).toBe(4);
});
