import { describe, expect, test } from "vitest";
import { load } from "../../src/load.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import type { BlockScaled } from "../../src/tensor/tensor.ts";
import { Arena } from "../../src/wasm/arena.ts";
import { ENGINES } from "../support/engines.ts";
import { randomNormal } from "../support/random.ts";

const K = 64;
const x = { values: randomNormal(1, K), shape: [K] };

describe.each(ENGINES)("%s", async (_, make) => {
  const fp8 = await make();
  const weights = (rows: number, seed: number): BlockScaled =>
    fp8.quantize(randomNormal(seed, rows * K), [rows, K], schemes.mxfp8);

  test("weights beside each other and in gaps are the ones that were packed", () => {
    const records = Array.from({ length: 12 }, (_, i) => weights(5 + 17 * i, i));
    const packed = records.map((w) => fp8.pack(w));
    // Every third one makes room for others of all sizes.
    for (let i = 0; i < packed.length; i += 3) packed[i]!.free();
    for (let i = 0; i < packed.length; i += 3) packed[i] = fp8.pack(records[i]!);
    for (const [i, w] of records.entries()) expect(fp8.gemm(x, packed[i]!)).toEqual(fp8.gemm(x, w));
    for (const p of packed) p.free();
  });

  test("a byte per weight and the scales: no more than 1.1", () => {
    const packed = fp8.pack(weights(100, 1));
    expect(packed.bytes).toBeLessThanOrEqual(1.1 * 100 * K);
    expect(packed).toMatchObject({ format: "e4m3", shape: [100, K], block: [1, 32] });
    packed.free();
  });

  test("use after free says so; freeing twice does nothing", () => {
    const [a, b] = [fp8.pack(weights(3, 1)), fp8.pack(weights(3, 2))];
    const before = fp8.gemm(x, b);
    a.free();
    a.free();
    expect(() => fp8.gemm(x, a)).toThrow(/weights that were freed/);
    expect(fp8.gemm(x, b)).toEqual(before);
    b.free();
  });

  test("the end of a `using` block frees", () => {
    const packed = fp8.pack(weights(3, 1));
    packed[Symbol.dispose]();
    expect(() => fp8.gemm(x, packed)).toThrow(/freed/);
  });

  test("weights of another engine are refused", async () => {
    const packed = (await make()).pack(weights(3, 1));
    expect(() => fp8.gemm(x, packed)).toThrow(/another engine/);
  });
});

/** Linear memory that counts what it has, and has no bytes. */
function countingMemory(limit: number): { buffer: ArrayBuffer; grow: (pages: number) => number } {
  let byteLength = 65536;
  return {
    get buffer() {
      return { byteLength } as ArrayBuffer;
    },
    grow(pages: number) {
      if (byteLength + 65536 * pages > limit) throw new RangeError("Maximum memory size exceeded");
      byteLength += 65536 * pages;
      return 0;
    },
  };
}

describe("memory", () => {
  test("10,000 times packed and freed takes no more than once", async () => {
    const memory = countingMemory(2 ** 32);
    const arena = new Arena(memory, 1000);
    const sizes = Array.from({ length: 10_000 }, (_, i) => 1 + ((i * 7919) % 500_000));
    const held = [arena.allocate(300_000), arena.allocate(700_000)];
    for (const size of sizes) {
      held.push(arena.allocate(size));
      arena.frame([100_000], () => 0);
      arena.release(held.shift()!);
    }
    expect(memory.buffer.byteLength).toBeLessThan(8e6);
  });

  test("frames nest, beside what is kept meanwhile, and end when their body throws", () => {
    const arena = new Arena(countingMemory(2 ** 32), 1000);
    const outer = arena.frame([10, 100], (a, b) => {
      expect(b).toBeGreaterThanOrEqual(a + 10);
      const kept = arena.allocate(50);
      const inner = arena.frame([10], (c) => c);
      expect(() =>
        arena.frame([10], (c) => {
          expect(c).toBe(inner);
          throw new Error("inside");
        }),
      ).toThrow("inside");
      expect(kept.start).toBeGreaterThanOrEqual(b + 100);
      expect(inner).toBeGreaterThanOrEqual(kept.end);
      arena.release(kept);
      return a;
    });
    expect(arena.frame([], () => arena.allocate(1).start)).toBe(outer);
  });

  test("10,000 times through the engine", async () => {
    const fp8 = await load();
    const w = fp8.quantize(randomNormal(1, 100 * K), [100, K], schemes.mxfp8);
    const want = fp8.gemm(x, w);
    for (let i = 0; i < 10_000; i++) fp8.pack(w).free();
    const packed = fp8.pack(w);
    expect(fp8.gemm(x, packed)).toEqual(want);
  });
});
