import { describe, expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { BlockscaleError, type ErrorCode } from "../../src/tensor/errors.ts";
import { reference } from "../reference/engine.ts";
import { expectSameTensor } from "../support/agreement.ts";
import { expectSameBits, expectSameValues } from "../support/bits.ts";
import { INSTANCES } from "../support/engines.ts";
import { type Anything, mxfp8, shape, shared, tensor, values, WRONG_CALLS } from "./wrong-calls.ts";

function fail(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("expected an error, and the call succeeded");
}

function expectFault(error: unknown, code: ErrorCode): void {
  if (!(error instanceof BlockscaleError)) throw error;
  expect(error.code).toBe(code);
  expect(error.name).toBe("BlockscaleError");
  for (const part of ["where", "expected", "got", "fix"] as const) {
    expect(error.fault[part]).toMatch(/\S/);
    expect(error.message).toContain(error.fault[part]);
  }
}

describe.each(INSTANCES)("%s", async (_, make) => {
  const instance = await make();
  const fp8 = new Engine(instance, "custom");
  fp8.encode(values, "e4m3"); // memory is what it will be

  describe.each(WRONG_CALLS)("%s", (_, wrong) => {
    test.each(wrong)("%s: %s", (_, code, call) => {
      const before = Buffer.from(instance.memory.buffer.slice(0));
      const error = fail(() => call(fp8));
      expectFault(error, code);
      // Memory has not been touched, and the next call works.
      expect(before.equals(new Uint8Array(instance.memory.buffer))).toBe(true);
      expect(new Uint8Array(shared).every((byte) => byte === 0)).toBe(true);
      expectSameTensor(fp8.quantize(values, shape, mxfp8), tensor);
      expectSameValues(fp8.dequantize(tensor), reference.dequantize(tensor));
      expectSameBits(fp8.encode(values, "e4m3"), reference.encode(values, "e4m3"));
    });
  });

  test("an array that is refused as `out` is left as it is", () => {
    const out = new Uint8Array(255).fill(0xa5);
    fail(() => fp8.encode(values, "e4m3", { out }));
    fail(() => fp8.quantize(values, shape, mxfp8, { out: { codes: out, scales: new Uint8Array(8) } }));
    const codesOut = new Uint8Array(256).fill(0xa5);
    fail(() => fp8.quantize(values, shape, mxfp8, { out: { codes: codesOut, scales: out } }));
    expect([...out, ...codesOut].every((byte) => byte === 0xa5)).toBe(true);
  });
});

describe("load", () => {
  // A valid module of somebody else: nothing but the header.
  const empty = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

  test.each([
    ["an unknown build", "option", { variant: "fast" }],
    ["the debug build, which does not ship", "option", { variant: "debug" }],
    ["bytes that are no module", "wasm", { wasm: new Uint8Array(8) }],
    ["no bytes", "wasm", { wasm: new Uint8Array(0) }],
    ["another module", "wasm", { wasm: empty }],
    ["another module, compiled", "wasm", { wasm: new WebAssembly.Module(empty) }],
    ["the name of a file", "wasm", { wasm: "baseline.wasm" }],
    ["null", "wasm", { wasm: null }],
    ["a response that failed", "wasm", { wasm: new Response("not found", { status: 404 }) }],
    ["null for options", "option", null],
  ] as const)("%s: %s", async (_, code, options) => {
    const error = await load(options as Anything).then(
      () => new Error("expected an error, and load succeeded"),
      (reason: unknown) => reason,
    );
    expectFault(error, code);
  });

  test("a host without WebAssembly is told so", async () => {
    const original = globalThis.WebAssembly;
    Reflect.deleteProperty(globalThis, "WebAssembly");
    try {
      expectFault(await load().catch((reason: unknown) => reason), "wasm");
    } finally {
      globalThis.WebAssembly = original;
    }
  });
});
