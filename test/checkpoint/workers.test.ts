import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import { load } from "../../src/load.ts";
import { checkpointOf, fileWith, run } from "../support/checkpoint-files.ts";
import { layer } from "../support/cli-runner.ts";

const example: string = "../examples/worker.mjs";
const file = fileWith(layer(0, 300));
let server: Server;
let from: string;

beforeAll(async () => {
  const bytes = new Uint8Array(await file.arrayBuffer());
  server = createServer((request, response) => {
    const [, start, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range!)!.map(Number) as [
      number,
      number,
      number,
    ];
    const end = Math.min(bytes.length, last + 1);
    response.writeHead(206, { "content-range": `bytes ${start}-${end - 1}/${bytes.length}` });
    response.end(bytes.subarray(start, end));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  from = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.safetensors`;
});
afterAll(() => server.close());

async function ask(to: string, headers: Record<string, string> = {}): Promise<Response> {
  const { default: worker } = await import(example);
  return worker.fetch(new Request(`http://edge/?${new URLSearchParams({ from, to })}`, { headers }));
}

test("the example worker answers with a stream of the length it told", async () => {
  const engine = await load();
  const checkpoint = await checkpointOf({ m: file });
  for (const to of ["mxfp8", "bf16"] as const) {
    const plan = to === "bf16" ? planDequantize(checkpoint, {}) : planQuantize(checkpoint, { to });
    const { files } = await run(plan, [file], engine);
    const response = await ask(to);
    expect(response.headers.get("content-length")).toBe(String(files[0]!.size));
    expect(await response.arrayBuffer()).toEqual(await files[0]!.arrayBuffer());
    const encoded = await ask(to, { "accept-encoding": "br, gzip;q=0.5" });
    expect(encoded.headers.get("content-encoding")).toBe("gzip");
    const bytes = new Uint8Array(await encoded.arrayBuffer());
    expect(bytes.length).toBeLessThan(0.9 * files[0]!.size);
    expect(gunzipSync(bytes)).toEqual(Buffer.from(await files[0]!.arrayBuffer()));
    const refused = await ask(to, { "accept-encoding": "br, gzip;q=0" });
    expect(refused.headers.get("content-encoding")).toBeNull();
    await refused.body!.cancel();
  }
});

test("the example worker tells what is wrong", async () => {
  const response = await ask("fp7");
  expect(response.status).toBe(422);
  expect(await response.text()).toMatch(/to: expected deepseek-v3.*"fp7"/);
});
