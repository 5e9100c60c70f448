import { createServer, request as forward, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import S3rver from "s3rver";
import { afterAll, beforeAll } from "vitest";
import { temporaryFolder } from "./cli-runner.ts";

/** The fault of a request; `null` for none. */
export type FaultKind = "500" | "503" | "reset" | "reset after" | "short" | "stall" | null;

/** Decides by the method, the path with its query, and how many requests there were before. */
export type Faults = (method: string, url: string, n: number) => FaultKind;

export interface S3Server {
  faults: Faults;
  /** Requests so far: method and path. */
  readonly requests: string[];
}

/**
 * An S3 server on this machine with a bucket `models`, and a proxy in front of it that can make requests
 * fail. This process and those that it starts find it by their environment.
 */
export function s3Server(): S3Server {
  const folder = temporaryFolder();
  const rver = new S3rver({
    port: 0,
    address: "127.0.0.1",
    silent: true,
    directory: folder,
    configureBuckets: [{ name: "models", configs: [] }],
  });
  const env = {
    AWS_ACCESS_KEY_ID: "S3RVER",
    AWS_SECRET_ACCESS_KEY: "S3RVER",
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_CONFIG_FILE: `${folder}/no-config`,
    AWS_SHARED_CREDENTIALS_FILE: `${folder}/no-credentials`,
  };
  const server: S3Server = { faults: () => null, requests: [] };
  let port = 0;
  const proxy = createServer((request, response) => {
    const { method = "", url = "" } = request;
    const fault = server.faults(method, url, server.requests.length);
    server.requests.push(`${method} ${url}`);
    if (fault === "reset") return void request.socket.destroy();
    if (fault === "500" || fault === "503") return refuse(request, response, Number(fault));
    relay(port, request, response, fault);
  });
  beforeAll(async () => {
    port = ((await rver.run()) as AddressInfo).port;
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    Object.assign(process.env, env);
    process.env.AWS_ENDPOINT_URL = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    proxy.closeAllConnections();
    proxy.close();
    await rver.close();
  });
  return server;
}

function refuse(request: IncomingMessage, response: ServerResponse, status: number): void {
  const code = status === 503 ? "SlowDown" : "InternalError";
  request.resume().on("end", () => {
    response.writeHead(status, { "content-type": "application/xml" });
    response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`);
  });
}

/** Passes a request on, with the host it was signed for, and the answer back, or less of it. */
function relay(
  port: number,
  request: IncomingMessage,
  response: ServerResponse,
  fault: "reset after" | "short" | "stall" | null,
): void {
  const { method, url, headers } = request;
  const passed = forward({ host: "127.0.0.1", port, method, path: url, headers }, (answer) => {
    const chunks: Buffer[] = [];
    answer.on("data", (chunk) => chunks.push(chunk));
    answer.on("end", () => {
      const body = Buffer.concat(chunks);
      if (fault === "reset after") return request.socket.destroy();
      response.writeHead(answer.statusCode!, answer.headers);
      if (fault === null) return response.end(body);
      response.write(body.subarray(0, body.length >> 1), () => {
        if (fault === "short") response.socket?.destroy();
      });
    });
  });
  passed.on("error", () => request.socket.destroy());
  request.pipe(passed);
}
