import { describe, expect, test } from "vitest";
import {
  fromMnMajor,
  packScales,
  swizzleScales,
  toMnMajor,
  unpackScales,
  unswizzleScales,
} from "../../src/tensor/scale-layouts.ts";
import { type Scheme, schemes } from "../../src/tensor/schemes.ts";
import { ENGINES } from "../support/engines.ts";
import { exact, expectWithinBound, extraRoundings } from "../support/products.ts";
import { randomNormal, randomWords } from "../support/random.ts";

function transposed(values: Float32Array, rows: number, cols: number): Float32Array {
  return Float32Array.from(values, (_, i) => values[(i % rows) * cols + Math.floor(i / rows)] as number);
}

describe.each(ENGINES)("%s", async (_, make) => {
  const fp8 = await make();

  describe.each([
    ["1x32", schemes.mxfp8],
    ["128x128", schemes.deepseekWeight],
    ["3x5, f32", { ...schemes.deepseekV3Weight, block: [3, 5] }],
  ] as [string, Scheme][])("weights in %s", (_, scheme) => {
    const [m, n, k] = [7, 141, 150];
    const x = randomNormal(1, m * k);
    const w = randomNormal(2, n * k);
    const straight = fp8.quantize(w, [n, k], scheme);
    const across = fp8.quantize(transposed(w, n, k), [k, n], scheme);

    test.each([
      ["nt", [m, k], x, straight],
      ["nn", [m, k], x, across],
      ["tn", [k, m], transposed(x, m, k), across],
      ["tt", [k, m], transposed(x, m, k), straight],
    ] as const)("%s", (layout, shape, values, weights) => {
      const got = fp8.gemm({ values, shape }, weights, { layout });
      // Blocks of [k, n] lie the other way round: the definition is that of the values.
      const dense = fp8.dequantize(weights);
      const isAcross = layout[1] === "n";
      const right = {
        format: "e5m2" as const,
        shape: [n, k],
        block: [1, 1] as [number, number],
        // One (0x3C) times a multiplier per element.
        codes: new Uint8Array(n * k).fill(0x3c),
        scales: isAcross ? transposed(dense, k, n) : dense,
      };
      const product = exact({ values: x, shape: [m, k] }, right);
      expectWithinBound(got, product, [m, n, k], extraRoundings({ values, shape }, weights));
    });

    test("packed across", () => {
      const left = { values: x, shape: [m, k] };
      const packed = fp8.pack(across, { layout: "n" });
      expect(packed.shape).toEqual([n, k]);
      expect(fp8.gemm(left, packed)).toEqual(fp8.gemm(left, across, { layout: "nn" }));
      expect(() => fp8.gemm(left, packed, { layout: "nn" })).toThrow(/layout/);
      packed.free();
    });

    test("both operands quantised, x [K, M]", () => {
      const quantised = fp8.quantize(transposed(x, m, k), [k, m], schemes.mxfp8);
      const left = { values: transposed(fp8.dequantize(quantised), k, m), shape: [m, k] };
      expect(fp8.gemm(quantised, straight, { layout: "tt" })).toEqual(fp8.gemm(left, straight));
    });
  });

  describe("experts", () => {
    const [experts, n, k] = [4, 33, 130];
    const scheme: Scheme = { ...schemes.deepseekWeight, block: [16, 32] };
    const stack = fp8.quantize(randomNormal(3, experts * n * k), [experts, n, k], scheme);
    const blocks = stack.scales.length / experts;
    const slice = (e: number) => ({
      ...stack,
      shape: [n, k],
      codes: stack.codes.subarray(e * n * k, (e + 1) * n * k),
      scales: stack.scales.subarray(e * blocks, (e + 1) * blocks),
    });
    const ids = Int32Array.from([2, 2, 2, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, -1, 1, 1]);
    const m = ids.length;
    const values = randomNormal(4, m * k);

    test.each(["record", "packed"])("each row meets its own, -1 is left alone: %s", (kind) => {
      const out = new Float32Array(m * n).fill(99);
      const w = kind === "packed" ? fp8.pack(stack) : stack;
      fp8.gemm({ values, shape: [m, k] }, w, { experts: ids, out });
      for (const [row, e] of ids.entries()) {
        const got = out.subarray(row * n, (row + 1) * n);
        if (e < 0) {
          expect(got.every((y) => y === 99)).toBe(true);
          continue;
        }
        const left = { values: values.subarray(row * k, (row + 1) * k), shape: [1, k] };
        expectWithinBound(got, exact(left, slice(e)), [1, n, k]);
      }
    });

    test("wrong numbers, and stacks without any, are refused", () => {
      const left = { values, shape: [m, k] };
      expect(() => fp8.gemm(left, stack)).toThrow(/experts/);
      expect(() => fp8.gemm(left, stack, { experts: ids.map(() => 4) })).toThrow(/from 0 to 3/);
      expect(() => fp8.gemm(left, stack, { experts: ids.map(() => -2) })).toThrow(/from 0 to 3/);
      expect(() => fp8.gemm(left, stack, { experts: ids.subarray(1) })).toThrow(/21 elements/);
    });
  });
});

/** Exponents of scales as UE8M0 bytes. */
const bytes = (...exponents: number[]): Uint8Array => Uint8Array.from(exponents, (e) => e + 127);

describe("layouts of scales", () => {
  // From DeepGEMM's own functions, run on a CPU.
  test("four bytes in an int32: pack_ue8m0_to_int", () => {
    expect([...packScales(bytes(-7, 0, 3, -22), [1, 4])]).toEqual([0x69827f78]);
  });

  test("MN-major and packed: get_mn_major_tma_aligned_packed_ue8m0_tensor", () => {
    const scales = bytes(0, 1, 2, 3, 4, -1, -2, 0, 0, 0, 0, 0, 0, 0, 0);
    const packed = packScales(scales, [3, 5]);
    const stored = toMnMajor(packed, [3, 2]);
    expect([...stored].map((word) => (word >>> 0).toString(16))).toEqual([
      "8281807f",
      "7f7f7d7e",
      "7f7f7f7f",
      "0",
      "83",
      "7f",
      "7f",
      "0",
    ]);
    expect(unpackScales(fromMnMajor(stored, [3, 2]), [3, 5])).toEqual(scales);
  });

  test("float32 MN-major: columns of a multiple of four rows", () => {
    const scales = Float32Array.of(1, 2, 3, 4, 5, 6);
    expect([...toMnMajor(scales, [3, 2])]).toEqual([1, 3, 5, 0, 2, 4, 6, 0]);
    expect(fromMnMajor(toMnMajor(scales, [3, 2]), [3, 2])).toEqual(scales);
  });

  /** torchao's to_blocked in its own steps: pad, view as tiles, then [4, 32, 4] to [32, 4, 4] in each. */
  function toBlocked(scales: Uint8Array, rows: number, cols: number): number[] {
    const out: number[] = [];
    for (let top = 0; top < rows; top += 128) {
      for (let left = 0; left < cols; left += 4) {
        for (let r = 0; r < 32; r++) {
          for (let quarter = 0; quarter < 4; quarter++) {
            for (let c = 0; c < 4; c++) {
              const row = top + quarter * 32 + r;
              out.push(row < rows && left + c < cols ? (scales[row * cols + left + c] as number) : 0);
            }
          }
        }
      }
    }
    return out;
  }

  test.each([
    [1, 1],
    [128, 4],
    [130, 5],
    [300, 17],
    [0, 4],
    [4, 0],
  ])("the 128x4 swizzle of [%i, %i], and back", (rows, cols) => {
    const scales = Uint8Array.from(randomWords(5, rows * cols));
    const swizzled = swizzleScales(scales, [rows, cols]);
    expect([...swizzled]).toEqual(toBlocked(scales, rows, cols));
    expect(unswizzleScales(swizzled, [rows, cols])).toEqual(scales);
    expect(unpackScales(packScales(scales, [rows, cols]), [rows, cols])).toEqual(scales);
  });

  test("sizes that do not fit are refused", () => {
    expect(() => packScales(new Uint8Array(5), [2, 3])).toThrow(/6 elements/);
    expect(() => swizzleScales(new Uint8Array(5), [5, 1.5])).toThrow(/rows, cols/);
    expect(() => unswizzleScales(new Uint8Array(5), [5, 1])).toThrow(/512 elements/);
    expect(() => fromMnMajor(new Float32Array(6), [3, 2])).toThrow(/8 elements/);
  });
});
