import { describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import type { BlockScaled } from "../../src/tensor/tensor.ts";
import { ENGINES } from "../support/engines.ts";
import { randomNormal } from "../support/random.ts";

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

describe.each(ENGINES)("%s", (_, make) => {
  function weightsOf(fp8: Engine, n: number, k: number, seed: number): BlockScaled {
    return fp8.quantize(randomNormal(seed, n * k), [n, k], schemes.deepseekWeight);
  }

  test.each([
    [0, 8, 16],
    [1, 1, 1],
    [1, 40, 131],
    [3, 33, 128],
    [8, 130, 64],
    [9, 16, 257],
    [200, 24, 48],
  ])("x [%i, K], w [%i, %i]: the bits of a product of arrays", async (m, n, k) => {
    const fp8 = await make();
    const values = randomNormal(1, m * k);
    const w = weightsOf(fp8, n, k, 2);
    const expected = bitsOf(fp8.gemm({ values, shape: [m, k] }, w));
    const packed = fp8.pack(w);
    const x = fp8.resident({ values, shape: [m, k] });
    const out = fp8.resident([m, n]);
    expect(fp8.gemm(x, packed, { out })).toBe(out);
    expect(bitsOf(out.read())).toEqual(expected);
    expect(bitsOf(fp8.gemm(x, w))).toEqual(expected);
    out.write(new Float32Array(m * n).fill(7));
    fp8.gemm({ values, shape: [m, k] }, w, { out });
    expect(bitsOf(out.read())).toEqual(expected);
    const turned = fp8.resident({ values: transposed(values, m, k), shape: [k, m] });
    expect(bitsOf(fp8.gemm(turned, packed, { layout: "tt" }))).toEqual(expected);
  });

  test("a weight that float32 cannot sum reaches a resident result too", async () => {
    const fp8 = await make();
    const w = weightsOf(fp8, 8, 32, 3);
    w.codes[5 * 32] = 0x7f;
    const x = fp8.resident({ values: randomNormal(4, 2 * 32), shape: [2, 32] });
    const out = fp8.gemm(x, fp8.pack(w), { out: fp8.resident([2, 8]) }).read();
    const expected = fp8.gemm({ values: x.read(), shape: [2, 32] }, w);
    expect([...out].map(Number.isNaN)).toEqual([...expected].map(Number.isNaN));
    expect(Number.isNaN(out[5]!)).toBe(true);
  });

  test("a chain of three products, while the memory grows between them", async () => {
    const fp8 = await make();
    const [a, b, c] = [weightsOf(fp8, 96, 64, 5), weightsOf(fp8, 64, 96, 6), weightsOf(fp8, 32, 64, 7)];
    const values = randomNormal(8, 4 * 64);
    const arrays = [a, b, c].reduce<Float32Array>(
      (x, w) => fp8.gemm({ values: x, shape: [4, w.shape[1]!] }, w),
      values,
    );
    const [pa, pb, pc] = [fp8.pack(a), fp8.pack(b), fp8.pack(c)];
    const x = fp8.resident({ values, shape: [4, 64] });
    const y = fp8.gemm(x, pa, { out: fp8.resident([4, 96]) });
    fp8.resident([4096, 256]);
    const z = fp8.gemm(y, pb, { out: x });
    fp8.resident([4096, 256]);
    expect(bitsOf(fp8.gemm(z, pc, { out: fp8.resident([4, 32]) }).read())).toEqual(bitsOf(arrays));
  });

  test.each([
    [[5, 40], "mxfp8"],
    [[3, 130, 257], "deepseekWeight"],
    [[3, 64], "nvfp4"],
    [[0, 32], "mxfp8"],
  ] as const)("dequantises %j of %s into it, to the bits of an array", async (shape, scheme) => {
    const fp8 = await make();
    const n = shape.reduce((product, size) => product * size, 1);
    const w = fp8.quantize(randomNormal(10, n), shape, scheme);
    const cols = shape.at(-1)!;
    const out = fp8.resident([n / cols, cols]);
    expect(fp8.dequantize(w, "f32", { out })).toBe(out);
    expect(bitsOf(out.read())).toEqual(bitsOf(fp8.dequantize(w)));
    expect(() => fp8.dequantize(w, "bf16", { out } as never)).toThrow(/resident results are float32/);
    expect(() => fp8.dequantize(w, "f32", { out: fp8.resident([1, 3]) })).toThrow(/dequantize: out/);
    out.free();
    expect(() => fp8.dequantize(w, "f32", { out })).toThrow(/one that was freed/);
  });

  test("what is freed, foreign, of another shape or both x and out is refused", async () => {
    const fp8 = await make();
    const other = await make();
    const w = fp8.pack(weightsOf(fp8, 32, 32, 9));
    const x = fp8.resident([2, 32]);
    const out = fp8.resident([2, 32]);
    expect(() => fp8.gemm(x, w, { out: x })).toThrow(/expected another matrix than x/);
    expect(() => fp8.gemm(other.resident([2, 32]), w)).toThrow(/in this engine's memory/);
    expect(() => fp8.gemm(x, w, { out: other.resident([2, 32]) })).toThrow(/in this engine's memory/);
    expect(() => fp8.gemm(x, w, { out: fp8.resident([2, 31]) })).toThrow(/a float32 matrix \[2, 32\]/);
    expect(() => fp8.gemm(x, w, { out, type: "bf16" as "f32" })).toThrow(/resident results are float32/);
    expect(() => fp8.resident([2, 32, 1] as never)).not.toThrow(TypeError);
    expect(() => fp8.resident({ values: new Float32Array(3), shape: [2, 2] })).toThrow(/4 elements/);
    expect(() => x.write(new Float32Array(3))).toThrow(/64 elements/);
    x.free();
    x.free();
    expect(() => fp8.gemm(x, w)).toThrow(/one that was freed/);
    expect(() => x.read()).toThrow(/one that was freed/);
    out.free();
    expect(() => fp8.gemm(fp8.resident([2, 32]), w, { out })).toThrow(/one that was freed/);
  });
});

function transposed(values: Float32Array, rows: number, cols: number): Float32Array {
  return Float32Array.from(
    { length: values.length },
    (_, i) => values[(i % rows) * cols + Math.floor(i / rows)]!,
  );
}

test("a row of blocks that passes through memory in parts is dequantised in place", async () => {
  const fp8 = await load({ variant: "baseline" });
  const shape = [130, 33000] as const;
  const codes = Uint8Array.from({ length: shape[0] * shape[1] }, (_, i) => i % 127);
  const scales = new Uint8Array(2 * 258).fill(120);
  const w = { format: "e4m3", shape, block: [128, 128], codes, scales } as const;
  const out = fp8.dequantize(w, "f32", { out: fp8.resident(shape) });
  expect(Buffer.compare(Buffer.from(out.read().buffer), Buffer.from(fp8.dequantize(w).buffer))).toBe(0);
});
