import { describe, expect, test } from "vitest";
import { load } from "../../src/plain-js.ts";
import { type Scheme, schemes } from "../../src/tensor/schemes.ts";
import type { BlockScaled } from "../../src/tensor/tensor.ts";
import { reference } from "../reference/engine.ts";
import { calcDiff, multiply } from "../reference/gemm.ts";
import { expectSameBits } from "../support/bits.ts";
import { ENGINES } from "../support/engines.ts";
import { once } from "../support/once.ts";
import { exact, expectWithinBound, extraRoundings } from "../support/products.ts";
import { randomNormal } from "../support/random.ts";
import { makeCase } from "./random-cases.ts";

/** Makes what all engines share: weights have the same bits from each of them. */
const plain = await load();

const SWEEP = once(() => Array.from({ length: 2000 }, (_, seed) => makeCase(seed)));

/** Products that take more than one step, in one direction or another, and their operands in several schemes. */
const STEPS = (
  [
    [1, 3, 65_536],
    [9, 8, 65_536],
    [1, 1, 1],
    [1, 1100, 2000],
    [200, 300, 1030],
    [391, 17, 515],
  ] as const
).map(([m, n, k]) => {
  const operands = once(() => {
    const x = { values: randomNormal(1, m * k), shape: [m, k] };
    return [schemes.mxfp8, schemes.deepseekWeight, schemes.deepseekV3Weight].map((scheme) => {
      const w = plain.quantize(randomNormal(2, n * k), [n, k], scheme);
      return { x, w, product: exact(x, w) };
    });
  });
  return [[m, n, k], operands] as const;
});

/** Weights [44000, 4]: with more than 192 rows of x, their product is larger than what is in memory at a time. */
const MANY_WEIGHTS = once(() =>
  plain.quantize(randomNormal(5, 44_000 * 4), [44_000, 4], schemes.deepseekWeight),
);

/** The bits of bfloat16 that finite float32 values round to. */
function toBfloat16(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const bits = new Uint16Array(words.length);
  for (let i = 0; i < bits.length; i++) {
    const word = words[i] as number;
    bits[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return bits;
}

describe.each(ENGINES)("%s", async (_, make) => {
  const fp8 = await make();

  test("2,000 shapes and schemes are within gamma_K of the exact product, element by element", () => {
    for (const { name, x, w, sizes, product } of SWEEP()) {
      try {
        expectWithinBound(fp8.gemm(x, w), product(), sizes, extraRoundings(x, w));
      } catch (error) {
        throw new Error(`${name}: ${(error as Error).message}`, { cause: error });
      }
    }
  });

  test("to bfloat16, and packed", () => {
    for (const { name, x, w, sizes, product } of SWEEP().slice(0, 300)) {
      const packed = fp8.pack(w);
      try {
        expectWithinBound(fp8.gemm(x, packed, { type: "bf16" }), product(), sizes, extraRoundings(x, w));
        expect(fp8.gemm(x, packed)).toEqual(fp8.gemm(x, w));
      } catch (error) {
        throw new Error(`${name}: ${(error as Error).message}`, { cause: error });
      } finally {
        packed.free();
      }
    }
  });

  test.each(STEPS)("%j: more than one step in each direction", (sizes, operands) => {
    for (const { x, w, product } of operands())
      expectWithinBound(fp8.gemm(x, w), product, sizes, extraRoundings(x, w));
  });

  test.each([0, 1, 5, 20])("K = 0 with %i rows is zero, also where the output was not", (m) => {
    const w = {
      format: "e4m3",
      shape: [3, 0],
      block: [1, 32],
      codes: new Uint8Array(),
      scales: new Uint8Array(),
    } as const;
    const out = new Float32Array(3 * m).fill(7);
    expect(fp8.gemm({ values: new Float32Array(), shape: [m, 0] }, w, { out })).toEqual(
      new Float32Array(3 * m),
    );
  });

  // A large x that meets a zero leaves the sum to small ones, which a common factor for the row could push out of range.
  test.each([
    [2 ** 100, 1.2345678 * 2 ** -40, 127],
    [2 ** 60, 1.2345678 * 2 ** -20, 30],
    [2 ** 127, 1.2345678 * 2 ** 20, 0],
    [300, 1.2345678 * 2 ** -110, 127],
    [2 ** 125, 1.2345678 * 2 ** -100, 190],
    [2 ** 127, 1.2345678 * 2 ** -122, 226],
    [Infinity, 1.2345678 * 2 ** -40, 127],
  ])("x of %d beside %d, scale byte %i", (large, small, byte) => {
    const [m, n, k] = [3, 4, 32];
    const row = Float32Array.from({ length: k }, (_, i) => (i === 5 ? large : small));
    const x = { values: Float32Array.from({ length: m * k }, (_, i) => row[i % k] as number), shape: [m, k] };
    const codes = Uint8Array.from({ length: n * k }, (_, i) =>
      i % k === 5 && large < Infinity ? 0 : 1 + (i % 0x70),
    );
    for (const block of [
      [1, 32],
      [64, 32],
    ] as const) {
      const scales = new Uint8Array(n / Math.min(n, block[0])).fill(byte);
      const w: BlockScaled = { format: "e4m3", shape: [n, k], block, codes, scales };
      expectWithinBound(fp8.gemm(x, w), exact(x, w), [m, n, k]);
    }
  });

  test.each([
    ["e4m3", 200],
    ["e4m3", 245],
    ["e5m2", 143],
    ["e5m2", 238],
  ] as const)("%s: a block of zeros under the scale byte %i adds nothing", (format, byte) => {
    for (const m of [1, 9]) {
      const w: BlockScaled = {
        format,
        shape: [1, 70],
        block: [1, 32],
        codes: new Uint8Array(70).fill(format === "e4m3" ? 0x38 : 0x3c, 32),
        scales: Uint8Array.of(byte, 127, 127),
      };
      const x = { values: new Float32Array(70 * m).fill(1), shape: [m, 70] };
      expect(fp8.gemm(x, w)).toEqual(new Float32Array(m).fill(38));
    }
  });

  test("what lies behind the last row does no harm under the largest scales", () => {
    for (const scale of [2 ** 111, 1.99 * 2 ** 111, 2 ** 112]) {
      const w: BlockScaled = {
        format: "e5m2",
        shape: [2, 17],
        block: [1, 17],
        codes: new Uint8Array(34).fill(0x3c, 0, 17).fill(0x7b, 18),
        scales: Float32Array.of(scale, 1),
      };
      const x = { values: new Float32Array(9 * 17).fill(2 ** -100), shape: [9, 17] };
      expectWithinBound(fp8.gemm(x, w), exact(x, w), [9, 2, 17], [0, 1]);
    }
  });

  // Tall blocks let the kernels scale x instead of sums, wherever that is exact.
  test.each([1, 2, 3, 7])("blocks of 64 rows, %i rows of x: scales and x from one end to the other", (m) => {
    const [n, k] = [70, 64];
    const bytes = [0, 1, 7, 60, 127, 134, 135, 200, 245];
    const sizes = [2 ** -149, 2 ** -126, 2 ** -60, 1, 2 ** 60, 2 ** 119];
    const codes = Uint8Array.from({ length: n * k }, (_, i) => ((i * 37) % 0x7f) | ((i % 3) << 7));
    const noise = randomNormal(7, m * k);
    for (const low of bytes) {
      for (const high of bytes) {
        const size = sizes[(low + high) % sizes.length] as number;
        const scales = Uint8Array.of(low, high, high, low);
        const w: BlockScaled = { format: "e4m3", shape: [n, k], block: [64, 32], codes, scales };
        const asFloat: BlockScaled = {
          ...w,
          scales: Float32Array.from(scales, (byte) => 1.3 * 2 ** (byte - 127)),
        };
        const x = { values: noise.map((value) => value * size), shape: [m, k] };
        for (const right of [w, asFloat]) {
          expectWithinBound(fp8.gemm(x, right), exact(x, right), [m, n, k], extraRoundings(x, right));
        }
      }
    }
  });

  test.each([2 ** -145, 2 ** -149, 1.2345678 * 2 ** -120])("x of %d under a large scale", (value) => {
    for (const m of [1, 4, 9]) {
      const w: BlockScaled = {
        format: "e4m3",
        shape: [1, 1],
        block: [1, 32],
        codes: Uint8Array.of(1),
        scales: Uint8Array.of(227),
      };
      const x = { values: new Float32Array(m).fill(value), shape: [m, 1] };
      const want = new Float32Array(m).fill(Math.fround(value) * 2 ** (227 - 127 - 9));
      expect(fp8.gemm(x, w)).toEqual(want);
    }
  });

  test.each([193, 200])("%i rows to bfloat16 against many weights, in two passes", (m) => {
    const w = MANY_WEIGHTS();
    const x = { values: randomNormal(6, m * 4), shape: [m, 4] };
    const want = toBfloat16(fp8.gemm(x, w));
    const packed = fp8.pack(w);
    for (const right of [w, packed]) expectSameBits(fp8.gemm(x, right, { type: "bf16" }), want);
    packed.free();
  });

  test("the same operands give the same bits, whatever is beside them", () => {
    const { x, w } = makeCase(12345);
    expect(fp8.gemm(x, w)).toEqual(fp8.gemm(x, w));
  });

  test.each([
    ["mxfp8", schemes.mxfp8, schemes.mxfp8],
    ["DeepSeek-V3.1", schemes.deepseekActivation, schemes.deepseekWeight],
    ["DeepSeek-V3", schemes.deepseekV3Activation, schemes.deepseekV3Weight],
  ])("both operands in %s, K = 4096: calc_diff under 1e-3", (_, ofX: Scheme, ofW: Scheme) => {
    const [m, n, k] = [24, 32, 4096];
    const a = randomNormal(3, m * k);
    const b = randomNormal(4, n * k);
    const c = fp8.gemm(reference.quantize(a, [m, k], ofX), reference.quantize(b, [n, k], ofW));
    const diff = calcDiff(c, multiply(a, b, m, n, k).sums);
    expect(diff).toBeLessThan(1e-3);
    expect(diff).toBeGreaterThan(1e-4); // or nothing was quantised
  });
});
