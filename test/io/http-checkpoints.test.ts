import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { convertCheckpoint } from "../../src/checkpoint/convert.ts";
import type { DialectName } from "../../src/checkpoint/dialects/index.ts";
import { compareCheckpoints } from "../../src/checkpoint/measure/compare.ts";
import { inspect } from "../../src/checkpoint/measure/inspect.ts";
import { openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { openUrl } from "../../src/io/http.ts";
import type { Source } from "../../src/io/source.ts";
import { load } from "../../src/load.ts";
import { fileWith, tensor, valuesAs } from "../support/checkpoint-files.ts";
import { blockscale, layer, snapshot, temporaryFolder } from "../support/cli-runner.ts";
import { rangeServer, well } from "../support/range-server.ts";

const server = rangeServer(new Uint8Array(0));
const quick = { tries: 3, wait: 1 };

test("a model of many small tensors is converted in few requests", async () => {
  const layers = Array.from({ length: 60 }, (_, i) => i);
  const shapes = layers.flatMap((i): [string, number[]][] => [
    [`model.layers.${i}.self_attn.q_proj.weight`, [32, 64]],
    [`model.layers.${i}.input_layernorm.weight`, [64]],
  ]);
  const tensors = shapes.map(([name, shape], i) =>
    valuesAs(
      name,
      "BF16",
      shape,
      Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, j) => i + j),
    ),
  );
  const engine = await load();
  const file = fileWith(tensors);
  const convert = async (source: Source, to: DialectName) => {
    const { files } = await convertCheckpoint(new Map([["m.safetensors", source]]), { engine, to });
    return files.get("m.safetensors")!;
  };
  const bytesOf = async (blob: Blob) => new Uint8Array(await blob.arrayBuffer());
  for (const to of ["deepseek-v3.1", "modelopt-nvfp4"] as const) {
    server.answer = well(await bytesOf(file));
    server.requests = [];
    const made = await convert(await openUrl(`${server.base}/f`, quick), to);
    expect(Buffer.from(await bytesOf(made)).equals(await bytesOf(await convert(file, to)))).toBe(true);
    // The probe, the header, and all tensors: not a request for each of 120.
    expect(server.requests).toHaveLength(3);
    const a = await openCheckpoint(new Map([["m.safetensors", file]]));
    server.answer = well(await bytesOf(made));
    for (const look of ["inspect", "compare"] as const) {
      server.requests = [];
      const source = await openUrl(`${server.base}/f`, quick);
      const b = await openCheckpoint(new Map([["m.safetensors", source]]));
      if (look === "inspect") await inspect(b.checkpoint, b.sources);
      else expect(await compareCheckpoints(a, b, engine)).toHaveLength(120);
      expect(server.requests, look).toHaveLength(3);
    }
  }
  // A grid of scales is asked for once, and not for each strip of its weight.
  const codes = tensor("a.weight", "F8_E4M3", [1280, 4096], new Uint8Array(1280 * 4096).fill(0x38));
  const scales = tensor("a.weight_scale_inv", "F32", [10, 32], new Float32Array(320).fill(1));
  server.answer = well(await bytesOf(fileWith([codes, scales])));
  server.requests = [];
  const source = await openUrl(`${server.base}/f`, quick);
  await convertCheckpoint(new Map([["m.safetensors", source]]), { engine, dtype: "bf16" });
  expect(server.requests).toHaveLength(2 + 1 + 5);
});

describe("the command line", () => {
  const folder = temporaryFolder();

  test("inspects and quantises a URL; inspection reads the header and no weights", async () => {
    const file = new Uint8Array(await fileWith(layer(0, 256)).arrayBuffer());
    server.answer = well(file);
    const { code, out, err } = await blockscale("inspect", `${server.base}/model.safetensors`, "--json");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(JSON.parse(out).tensors).toHaveLength(4);
    // The size of the file, and its header with what comes behind in the first 64 KiB.
    expect(server.requests.map(({ range }) => range)).toEqual(["bytes=0-0", "bytes=0-65535"]);
    const output = join(folder, "from-url.safetensors");
    expect(await blockscale("quantize", `${server.base}/model.safetensors`, output)).toMatchObject({
      code: 0,
    });
    server.answer = (_, response) => void response.writeHead(404).end();
    const missing = await blockscale("quantize", `${server.base}/model.safetensors`, output);
    expect(missing).toMatchObject({ code: 1, err: expect.stringContaining("status 404") });
  });

  test("reads a repository of the hub, and carries its other files over", async () => {
    const contents: { [path: string]: Uint8Array } = {
      "model.safetensors": new Uint8Array(await fileWith(layer(0, 128)).arrayBuffer()),
      "config.json": new TextEncoder().encode('{"model_type": "x"}'),
      "tokenizer.json": new TextEncoder().encode("{}"),
    };
    server.answer = (request, response, range) => {
      const path = request.url!;
      if (path.startsWith("/api/models/some/model/tree/main")) {
        const list = Object.entries(contents).map(([name, { length }]) => ({
          type: "file",
          path: name,
          size: length,
          oid: "0",
        }));
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(list));
      } else if (path.startsWith("/some/model/resolve/main/"))
        well(contents[path.split("/").at(-1)!]!)(request, response, range);
      else response.writeHead(404).end();
    };
    process.env.HF_ENDPOINT = server.base;
    const output = join(folder, "from-hub");
    const result = await blockscale("quantize", "hf:some/model", output);
    const nothing = await blockscale("inspect", "hf:some/nothing");
    process.env.HF_ENDPOINT = undefined;
    delete process.env.HF_ENDPOINT;
    expect(result).toMatchObject({ code: 0, err: "" });
    expect([...snapshot(output).keys()]).toEqual(Object.keys(contents).sort());
    expect(nothing).toMatchObject({ code: 1, err: expect.stringContaining("hf:some/nothing") });
  });
});
