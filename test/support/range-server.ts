import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach } from "vitest";

export type Answer = (request: IncomingMessage, response: ServerResponse, range: [number, number]) => void;

/** A web server of a test file. Before each test it forgets the requests, and answers well again. */
export interface RangeServer {
  /** Its address, without a slash at the end. */
  base: string;
  requests: { url: string; range: string | undefined; authorization: string | undefined }[];
  answer: Answer;
}

/** What a good server answers. */
export function well(file: Uint8Array): Answer {
  return (_, response, [start, end]) => {
    const stop = Math.min(end, file.length);
    response.writeHead(206, { "content-range": `bytes ${start}-${stop - 1}/${file.length}`, etag: '"1"' });
    response.end(file.subarray(start, stop));
  };
}

/** Starts a server before the tests of a file, and ends it after them. @param file what it has to give */
export function rangeServer(file: Uint8Array): RangeServer {
  const state: RangeServer = { base: "", requests: [], answer: well(file) };
  const server = createServer((request, response) => {
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "");
    const { authorization } = request.headers;
    state.requests.push({ url: request.url!, range: request.headers.range, authorization });
    state.answer(
      request,
      response,
      range === null ? [0, Infinity] : [Number(range[1]), Number(range[2]) + 1],
    );
  });
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    state.base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());
  beforeEach(() => {
    state.requests = [];
    state.answer = well(file);
  });
  return state;
}
