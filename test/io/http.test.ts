import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline, Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openUrl } from "../../src/io/http.ts";
import { BlockscaleError } from "../../src/tensor/errors.ts";
import { type Answer, rangeServer, well } from "../support/range-server.ts";

const bytes = Uint8Array.from({ length: 5000 }, (_, i) => (i * 31) & 255);
const server = rangeServer(bytes);

const quick = { tries: 3, wait: 1 };
const read = async (start = 10, end = 20) =>
  (await openUrl(`${server.base}/f`, quick)).slice(start, end).arrayBuffer();

test("reads ranges, and only those", async () => {
  expect(new Uint8Array(await read())).toEqual(bytes.slice(10, 20));
  expect(server.requests.map(({ range }) => range)).toEqual(["bytes=0-0", "bytes=10-19"]);
});

test("an empty range asks for nothing", async () => {
  expect((await read(7, 7)).byteLength).toBe(0);
  expect(server.requests).toHaveLength(1);
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
    server.answer = afterProbe((...args) => (n++ < 2 ? wrong : well(bytes))(...args));
    expect(new Uint8Array(await read())).toEqual(bytes.slice(10, 20));
    expect(server.requests).toHaveLength(4);
  });
  test("fails after some tries, with the address", async () => {
    server.answer = afterProbe(wrong);
    const error = await read().catch((e) => e);
    expect(error).toBeInstanceOf(BlockscaleError);
    expect(error).toMatchObject({ code: "io", message: expect.stringMatching(/\/f: .*3 times/) });
    expect(server.requests).toHaveLength(4);
  });
});

describe("a server that knows no ranges", () => {
  test("sends a small file once, and it is kept", async () => {
    server.answer = (_, response) => void response.writeHead(200).end(bytes);
    const source = await openUrl(`${server.base}/f`, quick);
    expect(source.size).toBe(5000);
    expect(new Uint8Array(await source.slice(10, 20).arrayBuffer())).toEqual(bytes.slice(10, 20));
    expect(server.requests).toHaveLength(1);
  });
  test("is asked again where a body breaks off", async () => {
    let n = 0;
    server.answer = (request, response) => {
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
    server.answer = (_, response) =>
      void response.writeHead(200, { "content-length": String(2 ** 40) }).flushHeaders();
    await expect(read()).rejects.toThrow(/range requests, or a file of at most 67108864 bytes/);
    let sent = 0;
    const piece = new Uint8Array(1 << 20);
    server.answer = (_, response) => {
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
    server.answer = (_request, response) => void response.writeHead(status).end(bytes);
    await expect(read()).rejects.toThrow(message);
    expect(server.requests).toHaveLength(1);
  });
  test("a file that changed", async () => {
    server.answer = afterProbe(
      (_, response) =>
        void response.writeHead(206, { "content-range": "bytes 10-19/5001" }).end(bytes.subarray(10, 20)),
    );
    await expect(read()).rejects.toThrow(/stays as it is/);
    server.answer = afterProbe(
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
    server.answer = wrong();
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
  server.answer = () => {};
  await expect(openUrl(`${server.base}/f`, { ...quick, timeout: 30 })).rejects.toMatchObject({ code: "io" });
});

test("an abort ends the waiting at once, with its reason", async () => {
  server.answer = (_, response) => void response.writeHead(500).end();
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error("enough")), 20);
  const opened = openUrl(`${server.base}/f`, { tries: 100, wait: 10, signal: controller.signal });
  await expect(opened).rejects.toThrow("enough");
});

describe("redirects", () => {
  /** Headers of all requests to the other host. */
  const received: IncomingHttpHeaders[] = [];
  const other = createServer((request, response) => {
    received.push(request.headers);
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range!)!;
    well(bytes)(request, response, [Number(range[1]), Number(range[2]) + 1]);
  });
  beforeAll(() => new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve)));
  afterAll(() => other.close());
  const headers = { Authorization: "Bearer secret", "X-Api-Key": "secret" };

  test("to another host are followed without the headers", async () => {
    const { port } = other.address() as AddressInfo;
    server.answer = (_, response) =>
      void response.writeHead(302, { location: `http://127.0.0.1:${port}/g` }).end();
    const source = await openUrl(`${server.base}/moved`, { ...quick, headers });
    expect(new Uint8Array(await source.slice(10, 20).arrayBuffer())).toEqual(bytes.slice(10, 20));
    expect(server.requests.map(({ authorization }) => authorization)).toEqual(Array(2).fill("Bearer secret"));
    expect(received).toHaveLength(2);
    for (const { authorization, "x-api-key": key } of received)
      expect([authorization, key]).toEqual([undefined, undefined]);
  });

  test("to the same host keep them", async () => {
    server.answer = (request, ...rest) =>
      request.url === "/g"
        ? well(bytes)(request, ...rest)
        : void rest[0].writeHead(307, { location: "/g" }).end();
    expect((await openUrl(`${server.base}/f`, { ...quick, headers })).size).toBe(5000);
    expect(server.requests).toMatchObject([
      { url: "/f", authorization: "Bearer secret" },
      { url: "/g", authorization: "Bearer secret" },
    ]);
  });

  test("without an end are given up", async () => {
    server.answer = (_, response) => void response.writeHead(302, { location: "/f" }).end();
    await expect(openUrl(`${server.base}/f`, { ...quick, headers })).rejects.toThrow("status 302");
    expect(server.requests).toHaveLength(21);
  });

  test("to anything but a web server are refused", async () => {
    for (const location of ["file:///etc/hostname", "data:text/plain,0123456789", "blob:nodedata:1"]) {
      server.answer = (_, response) => void response.writeHead(302, { location }).end();
      await expect(openUrl(`${server.base}/f`, { ...quick, headers })).rejects.toThrow(
        `a redirect to ${location.split(":")[0]}:`,
      );
    }
    expect(server.requests).toHaveLength(3);
  });

  test("that a browser does not tell of are followed by its fetch", async () => {
    const asked: (RequestRedirect | undefined)[] = [];
    const browser: typeof fetch = async (url, init) => {
      asked.push(init?.redirect);
      const hidden = Object.defineProperty(Response.error(), "type", { value: "opaqueredirect" });
      return init?.redirect === "manual" ? hidden : fetch(url, init);
    };
    const source = await openUrl(`${server.base}/f`, { ...quick, headers, fetch: browser });
    expect([source.size, ...asked]).toEqual([5000, "manual", "follow"]);
    await source.slice(10, 20).arrayBuffer();
    expect(asked.slice(2)).toEqual(["follow"]);
  });
});
