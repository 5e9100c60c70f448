import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pipeline, Readable } from "node:stream";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { convertCheckpoint } from "../../src/checkpoint/convert.ts";
import type { DialectName } from "../../src/checkpoint/dialects/index.ts";
import { compareCheckpoints } from "../../src/checkpoint/measure/compare.ts";
import { inspect } from "../../src/checkpoint/measure/inspect.ts";
import { openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { openUrl } from "../../src/io/http.ts";
import type { Source } from "../../src/io/source.ts";
import { load } from "../../src/load.ts";
import { BlockscaleError } from "../../src/tensor/errors.ts";
import { fileWith, tensor, valuesAs } from "../support/checkpoint-files.ts";
import { blockscale, layer, snapshot, temporaryFolder } from "../support/cli-runner.ts";

type Answer = (request: IncomingMessage, response: ServerResponse, range: [number, number]) => void;

const bytes = Uint8Array.from({ length: 5000 }, (_, i) => (i * 31) & 255);
let server: Server;
let base: string;
let requests: { url: string; range: string | undefined; authorization: string | undefined }[];
let answer: Answer;

/** What a good server answers. */
function well(file: Uint8Array): Answer {
  return (_, response, [start, end]) => {
    const stop = Math.min(end, file.length);
    response.writeHead(206, { "content-range": `bytes ${start}-${stop - 1}/${file.length}`, etag: '"1"' });
    response.end(file.subarray(start, stop));
  };
}

beforeAll(async () => {
  server = createServer((request, response) => {
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "");
    const { authorization } = request.headers;
    requests.push({ url: request.url!, range: request.headers.range, authorization });
    answer(request, response, range === null ? [0, Infinity] : [Number(range[1]), Number(range[2]) + 1]);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());
beforeEach(() => {
  requests = [];
  answer = well(bytes);
});

const quick = { tries: 3, wait: 1 };
const read = async (start = 10, end = 20) =>
  (await openUrl(`${base}/f`, quick)).slice(start, end).arrayBuffer();

test("reads ranges, and only those", async () => {
  expect(new Uint8Array(await read())).toEqual(bytes.slice(10, 20));
  expect(requests.map(({ range }) => range)).toEqual(["bytes=0-0", "bytes=10-19"]);
});

test("an empty range asks for nothing", async () => {
  expect((await read(7, 7)).byteLength).toBe(0);
  expect(requests).toHaveLength(1);
});

/** Misbehaves in the given way on every request after the probe. */
function afterProbe(wrong: Answer): Answer {
  let n = 0;
  return (...args) => (n++ === 0 ? well(bytes) : wrong)(...args);
}

const passing: readonly (readonly [what: string, wrong: Answer])[] = [
  ["status 500", (_, response) => void response.writeHead(500).end()],
  ["status 503", (_, response) => void response.writeHead(503).end()],
  ["status 429", (_, response) => void response.writeHead(429).end()],
  ["a connection that breaks", (request) => void request.socket.destroy()],
  [
    "a body that breaks off",
    (request, response) => {
      response.writeHead(206, { "content-range": "bytes 10-19/5000", "content-length": "10" });
      response.write(bytes.subarray(10, 15));
      setTimeout(() => request.socket.destroy(), 5);
    },
  ],
  [
    "a short body",
    (_, response) =>
      void response.writeHead(206, { "content-range": "bytes 10-19/5000" }).end(bytes.subarray(10, 15)),
  ],
  [
    "a long body",
    (_, response) =>
      void response.writeHead(206, { "content-range": "bytes 10-19/5000" }).end(bytes.subarray(10, 25)),
  ],
  [
    "another range",
    (_, response) =>
      void response.writeHead(206, { "content-range": "bytes 0-9/5000" }).end(bytes.subarray(0, 10)),
  ],
  ["no Content-Range", (_, response) => void response.writeHead(206).end(bytes.subarray(10, 20))],
  [
    "a Content-Range of an unknown size",
    (_, response) =>
      void response.writeHead(206, { "content-range": "bytes 10-19/*" }).end(bytes.subarray(10, 20)),
  ],
];

describe.each(passing)("%s", (_, wrong) => {
  test("is tried again", async () => {
    let n = 0;
    answer = afterProbe((...args) => (n++ < 2 ? wrong : well(bytes))(...args));
    expect(new Uint8Array(await read())).toEqual(bytes.slice(10, 20));
    expect(requests).toHaveLength(4);
  });
  test("fails after some tries, with the address", async () => {
    answer = afterProbe(wrong);
    const error = await read().catch((e) => e);
    expect(error).toBeInstanceOf(BlockscaleError);
    expect(error).toMatchObject({ code: "io", message: expect.stringMatching(/\/f: .*3 times/) });
    expect(requests).toHaveLength(4);
  });
});

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
    answer = well(await bytesOf(file));
    requests = [];
    const made = await convert(await openUrl(`${base}/f`, quick), to);
    expect(Buffer.from(await bytesOf(made)).equals(await bytesOf(await convert(file, to)))).toBe(true);
    // The probe, the header, and all tensors: not a request for each of 120.
    expect(requests).toHaveLength(3);
    const a = await openCheckpoint(new Map([["m.safetensors", file]]));
    answer = well(await bytesOf(made));
    for (const look of ["inspect", "compare"] as const) {
      requests = [];
      const source = await openUrl(`${base}/f`, quick);
      const b = await openCheckpoint(new Map([["m.safetensors", source]]));
      if (look === "inspect") await inspect(b.checkpoint, b.sources);
      else expect(await compareCheckpoints(a, b, engine)).toHaveLength(120);
      expect(requests, look).toHaveLength(3);
    }
  }
  // A grid of scales is asked for once, and not for each strip of its weight.
  const codes = tensor("a.weight", "F8_E4M3", [1280, 4096], new Uint8Array(1280 * 4096).fill(0x38));
  const scales = tensor("a.weight_scale_inv", "F32", [10, 32], new Float32Array(320).fill(1));
  answer = well(await bytesOf(fileWith([codes, scales])));
  requests = [];
  const source = await openUrl(`${base}/f`, quick);
  await convertCheckpoint(new Map([["m.safetensors", source]]), { engine, dtype: "bf16" });
  expect(requests).toHaveLength(2 + 1 + 5);
});

describe("a server that knows no ranges", () => {
  test("sends a small file once, and it is kept", async () => {
    answer = (_, response) => void response.writeHead(200).end(bytes);
    const source = await openUrl(`${base}/f`, quick);
    expect(source.size).toBe(5000);
    expect(new Uint8Array(await source.slice(10, 20).arrayBuffer())).toEqual(bytes.slice(10, 20));
    expect(requests).toHaveLength(1);
  });
  test("is asked again where a body breaks off", async () => {
    let n = 0;
    answer = (request, response) => {
      response.writeHead(200, { "content-length": "5000" });
      if (n++ > 0) response.end(bytes);
      else {
        response.write(bytes.subarray(0, 10));
        setTimeout(() => request.socket.destroy(), 5);
      }
    };
    expect(new Uint8Array(await read())).toEqual(bytes.slice(10, 20));
  });
  test("is refused for a large file, as it says or as it comes", async () => {
    answer = (_, response) =>
      void response.writeHead(200, { "content-length": String(2 ** 40) }).flushHeaders();
    await expect(read()).rejects.toThrow(/range requests, or a file of at most 67108864 bytes/);
    let sent = 0;
    const piece = new Uint8Array(1 << 20);
    answer = (_, response) => {
      response.writeHead(200);
      const body = Readable.from(
        (function* () {
          for (; sent < 2 ** 28; sent += piece.length) yield piece;
        })(),
      );
      pipeline(body, response, () => {});
    };
    await expect(read()).rejects.toThrow(/range requests/);
    expect(sent).toBeLessThan(2 ** 27);
  });
});

describe("not tried again", () => {
  test.each([
    ["status 404", 404, /status 404/],
    ["status 401", 401, /token/],
    ["status 416", 416, /status 416/],
  ] as const)("%s", async (_, status, message) => {
    answer = (_request, response) => void response.writeHead(status).end(bytes);
    await expect(read()).rejects.toThrow(message);
    expect(requests).toHaveLength(1);
  });
  test("a file that changed", async () => {
    answer = afterProbe(
      (_, response) =>
        void response.writeHead(206, { "content-range": "bytes 10-19/5001" }).end(bytes.subarray(10, 20)),
    );
    await expect(read()).rejects.toThrow(/stays as it is/);
    answer = afterProbe(
      (_, response) =>
        void response
          .writeHead(206, { "content-range": "bytes 10-19/5000", etag: '"2"' })
          .end(bytes.subarray(10, 20)),
    );
    await expect(read()).rejects.toThrow(/stays as it is/);
  });
});

describe("a body without an end", () => {
  const LENGTH = 1 << 26;
  let sent: number;
  const endless =
    (range: string): Answer =>
    (_, response) => {
      response.writeHead(206, { "content-range": range, etag: '"1"' });
      const body = Readable.from(
        (function* () {
          for (let n = 0; n < LENGTH; n += 1 << 16) {
            sent += 1 << 16;
            yield new Uint8Array(1 << 16);
          }
        })(),
      );
      pipeline(body, response, () => {});
    };

  test.each([
    ["to the first request", () => endless("bytes 0-0/5000")],
    ["to a range", () => afterProbe(endless("bytes 10-19/5000"))],
  ])("%s is not read on", async (_, wrong) => {
    sent = 0;
    answer = wrong();
    const error = await read().catch((e) => e);
    // What fits into the buffers of three connections.
    expect(sent).toBeLessThan(LENGTH);
    expect(error).toMatchObject({
      code: "io",
      message: expect.stringMatching(/more than 10? bytes, 3 times/),
    });
  });
});

test("a server that never answers is given up", async () => {
  answer = () => {};
  await expect(openUrl(`${base}/f`, { ...quick, timeout: 30 })).rejects.toMatchObject({ code: "io" });
});

test("an abort ends the waiting at once, with its reason", async () => {
  answer = (_, response) => void response.writeHead(500).end();
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error("enough")), 20);
  const opened = openUrl(`${base}/f`, { tries: 100, wait: 10, signal: controller.signal });
  await expect(opened).rejects.toThrow("enough");
});

test("redirects are followed, and a token does not go to another host", async () => {
  const other = createServer((request, response) => {
    requests.push({
      url: `other${request.url}`,
      range: request.headers.range,
      authorization: request.headers.authorization,
    });
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range!)!;
    well(bytes)(request, response, [Number(range[1]), Number(range[2]) + 1]);
  });
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as AddressInfo;
  answer = (_, response) => void response.writeHead(302, { location: `http://localhost:${port}/g` }).end();
  const headers = { Authorization: "Bearer secret" };
  const source = await openUrl(`${base}/moved`, { ...quick, headers }).catch(
    () =>
      // localhost may mean IPv6 alone.
      null,
  );
  other.close();
  if (source !== null) expect(source.size).toBe(5000);
  const mine = requests.filter(({ url }) => url === "/moved" || url.startsWith("other"));
  expect(mine.length).toBeGreaterThan(0);
  for (const { url, authorization } of mine) {
    expect(authorization).toBe(url.startsWith("other") ? undefined : "Bearer secret");
  }
});

describe("the command line", () => {
  const folder = temporaryFolder();

  test("inspects and quantises a URL; inspection reads the header and no weights", async () => {
    const file = new Uint8Array(await fileWith(layer(0, 256)).arrayBuffer());
    answer = well(file);
    const { code, out, err } = await blockscale("inspect", `${base}/model.safetensors`, "--json");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(JSON.parse(out).tensors).toHaveLength(4);
    // The size of the file, and its header with what comes behind in the first 64 KiB.
    expect(requests.map(({ range }) => range)).toEqual(["bytes=0-0", "bytes=0-65535"]);
    const output = join(folder, "from-url.safetensors");
    expect(await blockscale("quantize", `${base}/model.safetensors`, output)).toMatchObject({ code: 0 });
    answer = (_, response) => void response.writeHead(404).end();
    const missing = await blockscale("quantize", `${base}/model.safetensors`, output);
    expect(missing).toMatchObject({ code: 1, err: expect.stringContaining("status 404") });
  });

  test("reads a repository of the hub, and carries its other files over", async () => {
    const contents: { [path: string]: Uint8Array } = {
      "model.safetensors": new Uint8Array(await fileWith(layer(0, 128)).arrayBuffer()),
      "config.json": new TextEncoder().encode('{"model_type": "x"}'),
      "tokenizer.json": new TextEncoder().encode("{}"),
    };
    answer = (request, response, range) => {
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
    process.env.HF_ENDPOINT = base;
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
