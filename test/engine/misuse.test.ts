import { describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import { reference } from "../reference/engine.ts";
import { randomNormal } from "../support/random.ts";

// biome-ignore lint/suspicious/noExplicitAny: arguments that the types forbid are what is tested
type Anything = any;

const values = randomNormal(9, 256);
const shape = [2, 128] as const;
const { mxfp8 } = schemes;
const tensor = Object.freeze(reference.quantize(values, shape, mxfp8));
const { codes } = tensor;

describe("what is easily mistaken", () => {
  test("a bare array, a plain one, a name, a misspelt field, and two ways to choose a build", async () => {
    const fp8 = await load();
    const w = fp8.quantize(new Float32Array(64), [2, 32], "mxfp8");
    expect(w).toEqual(fp8.quantize(new Float32Array(64), [2, 32], schemes.mxfp8));
    expect(() => fp8.gemm(new Float32Array(32) as never, w)).toThrow(
      "gemm: x: expected { values, shape } or a block-scaled record, got Float32Array. Wrap a Float32Array",
    );
    expect(() => fp8.gemm([1, 2] as never, w)).toThrow("gemm: x: expected { values, shape }");
    expect(() => fp8.gemm({ values: new Float32Array(32), shape: [1, 32] }, values as never)).toThrow(
      "gemm: w: tensor: expected a block-scaled record { format, shape, block, codes, scales }, got Float32Array.",
    );
    for (const weights of [undefined, values, [1], {}])
      expect(() => fp8.pack(weights as never)).toThrow("pack: w: expected a block-scaled record");
    expect(() => fp8.encode([1, 2] as never, "e4m3")).toThrow("got a plain array");
    expect(() => fp8.quantize(new Float32Array(64), [2, 32], "mxfp9" as never)).toThrow(
      /one of the names mxfp8,/,
    );
    expect(() =>
      fp8.quantize(new Float32Array(64), [2, 32], { ...schemes.mxfp8, scal: "f32" } as never),
    ).toThrow(/the fields format, .*got scal/);
    await expect(load({ wasm: new Uint8Array(8), variant: "baseline" })).rejects.toThrow(
      /either wasm or variant/,
    );
  });
});

describe("options by names that there are none of", () => {
  const x = { values: randomNormal(3, 128), shape: [1, 128] };

  test.each<[name: string, known: string, call: (fp8: Engine, wrong: Anything) => unknown]>([
    ["encode", "out", (fp8, wrong) => fp8.encode(values, "e4m3", wrong)],
    ["decode", "out", (fp8, wrong) => fp8.decode(codes, "e4m3", wrong)],
    ["decode", "out", (fp8, wrong) => fp8.decode(codes, "e2m1", wrong)],
    ["quantize", "out", (fp8, wrong) => fp8.quantize(values, shape, mxfp8, wrong)],
    ["dequantize", "out", (fp8, wrong) => fp8.dequantize(tensor, "f32", wrong)],
    ["gemm", "out, type, layout, experts, activations", (fp8, wrong) => fp8.gemm(x, tensor, wrong)],
    ["pack", "layout, weights, activations", (fp8, wrong) => fp8.pack(tensor, wrong)],
    ["activations", "block", (fp8, wrong) => fp8.activations(x, wrong)],
  ])("%s knows %s", async (name, known, call) => {
    const fp8 = await load();
    expect(() => call(fp8, { experst: 1 })).toThrow(
      `${name}: options: expected options named ${known}, got experst. Correct the name, or leave the option out.`,
    );
    expect(() => call(fp8, [])).toThrow(`${name}: options: expected an object such as {`);
  });

  test("load knows variant, wasm, threads and workers", async () => {
    await expect(load({ varian: "baseline" } as Anything)).rejects.toThrow(
      "load: options: expected options named variant, wasm, threads, workers, got varian.",
    );
    await expect(load(["baseline"] as Anything)).rejects.toThrow("got a plain array");
  });
});
