import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import * as external from "../../src/external.ts";
import * as blockscale from "../../src/index.ts";
import * as js from "../../src/plain-js.ts";

const bytes = (await readFile(new URL("../../build/baseline.wasm", import.meta.url))) as Buffer<ArrayBuffer>;
const { buffer, byteOffset, byteLength } = bytes;

describe("blockscale/external loads", () => {
  test.each([
    ["bytes", () => bytes],
    ["an ArrayBuffer", () => buffer.slice(byteOffset, byteOffset + byteLength)],
    ["a module", () => new WebAssembly.Module(bytes)],
    ["a response", () => new Response(bytes)],
    ["a promise of a response", () => Promise.resolve(new Response(bytes))],
  ] as const)("%s", async (_, wasm) => {
    const fp8 = await external.load({ wasm: wasm() });
    expect(fp8.variant).toBe("custom");
    expect([...fp8.encode(Float32Array.of(448, -0), "e4m3")]).toEqual([0x7e, 0x80]);
  });

  test.each([
    ["nothing", () => undefined, /got Undefined/],
    ["no wasm", () => ({}), /got Undefined/],
    ["a failed fetch", () => ({ wasm: Promise.reject(new TypeError("fetch failed")) }), /got fetch failed/],
    ["a page that is not there", () => ({ wasm: new Response("", { status: 404 }) }), /got HTTP status 404/],
  ])("not %s, and says so", async (_, options, words) => {
    const error = await external.load(options() as never).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(external.BlockscaleError);
    expect(error).toMatchObject({ code: "wasm", message: expect.stringMatching(words) });
  });
});

test("all entry points have the same names", () => {
  // Threads are of the first alone.
  const names = Object.keys(blockscale).filter((name) => name !== "lendEngineWorkers");
  expect(Object.keys(external)).toEqual(names);
  expect(Object.keys(js)).toEqual(names);
});
