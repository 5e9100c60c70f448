import { describe, expect, test } from "vitest";
import type { BlockScaled } from "../../src/tensor/tensor.ts";
import { ENGINES } from "../support/engines.ts";
import { exact, expectWithinBound, extraRoundings } from "../support/products.ts";
import { randomNormal } from "../support/random.ts";
import { codesWith, countsOf, isSubnormal, most, SIZES } from "./subnormal-codes.ts";

describe.each(ENGINES)("%s: products of weights with subnormal codes", async (_, make) => {
  const fp8 = await make();
  const BLOCKS = [
    [1, 32],
    [1, 128],
    [128, 128],
    [64, 16],
    [3, 5],
    [2 ** 20, 2 ** 20],
  ] as const;

  test.each(BLOCKS)("in blocks of %ix%i", (...block) => {
    for (const format of ["e4m3", "e5m2"] as const) {
      for (const cols of SIZES) {
        const rows = 23;
        const codes = codesWith(format, rows, cols, countsOf(cols));
        const blocks = Math.ceil(rows / block[0]) * Math.ceil(cols / block[1]);
        const scales = Uint8Array.from({ length: blocks }, (_, i) => 120 + (i % 13));
        const w: BlockScaled = { format, shape: [rows, cols], block, codes, scales };
        const multipliers = Float32Array.from(scales, (byte) => -1.3 * 2 ** (byte - 127));
        for (const right of [w, { ...w, scales: multipliers }]) {
          const packed = fp8.pack(right);
          for (const m of [1, 2, 3, 8, 9, 14]) {
            const x = { values: randomNormal(m, m * cols), shape: [m, cols] };
            // Nothing but what meets the subnormal codes counts in the first row.
            for (let i = 0; i < cols; i++) if (!isSubnormal(format, codes[cols + i]!)) x.values[i] = 0;
            const got = fp8.gemm(x, right);
            expectWithinBound(got, exact(x, right), [m, rows, cols], extraRoundings(x, right));
            expect(fp8.gemm(x, packed)).toEqual(got);
            const half = fp8.gemm(x, packed, { type: "bf16" });
            expectWithinBound(half, exact(x, right), [m, rows, cols], extraRoundings(x, right));
          }
          packed.free();
        }
      }
    }
  });

  test.each([Infinity, -Infinity, NaN, 2 ** 127, 2 ** -149])("x of %d that meets one", (value) => {
    const cols = 256;
    const codes = codesWith("e4m3", 5, cols, [2]);
    const w: BlockScaled = {
      format: "e4m3",
      shape: [5, cols],
      block: [1, 32],
      codes,
      scales: new Uint8Array(5 * 8).fill(120),
    };
    for (const m of [1, 3, 9]) {
      const values = randomNormal(3, m * cols);
      values[cols - 1] = value;
      values[0] = value;
      const x = { values, shape: [m, cols] };
      expectWithinBound(fp8.gemm(x, w), exact(x, w), [m, 5, cols]);
    }
  });

  test.each([1, 2, 8, 9, 20])("%i rows of x, where every row of w has many", (m) => {
    for (const [format, cols] of [
      ["e4m3", 520],
      ["e5m2", 1100],
    ] as const) {
      for (const block of [
        [1, 32],
        [128, 128],
        [2, 7],
      ] as const) {
        const rows = 11;
        const codes = codesWith(format, rows, cols, [cols >> 2]);
        const blocks = Math.ceil(rows / block[0]) * Math.ceil(cols / block[1]);
        const scales = Uint8Array.from({ length: blocks }, (_, i) => 120 + (i % 13));
        const w: BlockScaled = { format, shape: [rows, cols], block, codes, scales };
        const x = { values: randomNormal(m, m * cols), shape: [m, cols] };
        expectWithinBound(fp8.gemm(x, w), exact(x, w), [m, rows, cols]);
      }
    }
  });

  test.each([1, 9])("%i rows of x beyond float32, with Inf and without", (m) => {
    const [rows, cols] = [6, 256];
    const codes = codesWith("e4m3", rows, cols, [2, 0, 100]);
    const w: BlockScaled = {
      format: "e4m3",
      shape: [rows, cols],
      block: [1, 32],
      codes,
      scales: new Uint8Array(rows * (cols / 32)).fill(120),
    };
    // The first and the last column of row 0 are in the list, and x has nothing but them.
    expect([codes[0], codes[cols - 1]].every((code) => isSubnormal("e4m3", code!))).toBe(true);
    const packed = fp8.pack(w);
    for (const special of [0x38, 0x7c, 0xfc]) {
      for (const byte of [239, 250]) {
        const x: BlockScaled = {
          format: "e5m2",
          shape: [m, cols],
          block: [1, cols],
          codes: new Uint8Array(m * cols),
          scales: new Uint8Array(m).fill(byte),
        };
        for (let row = 0; row < m; row++) x.codes.set([special, 0x3c], (row + 1) * cols - 2);
        x.codes.copyWithin(0, cols - 2, cols - 1);
        x.codes[cols - 2] = 0;
        const want = Float32Array.from(exact(x, w).sums);
        expect(Math.abs(want[0]!) > 0).toBe(true);
        expect(fp8.gemm(x, w)).toEqual(want);
        expect(fp8.gemm(x, packed)).toEqual(want);
      }
    }
    packed.free();
  });

  test.each([1, 9])("%i rows of x: what underflows is 0, never -0, in rows of every kind", (m) => {
    const [rows, cols] = [4, 128];
    const codes = new Uint8Array(rows * cols);
    // A normal code, one in the list, a row with many subnormal codes, and one whose second block has a scale near the end.
    for (const [row, code] of [0x89, 0x81, 0x81, 0x81].entries()) codes[row * cols] = code;
    codes.fill(1, 2 * cols + 1, 2 * cols + 9);
    const scales = Uint8Array.of(20, 127, 20, 127, 20, 127, 20, 250);
    const w: BlockScaled = { format: "e4m3", shape: [rows, cols], block: [1, 64], codes, scales };
    const values = new Float32Array(m * cols);
    for (let row = 0; row < m; row++) values[row * cols] = 2 ** -140;
    const x = { values, shape: [m, cols] };
    expect(fp8.gemm(x, w)).toEqual(new Float32Array(m * rows));
    expect(fp8.gemm(x, w, { type: "bf16" })).toEqual(new Uint16Array(m * rows));
  });

  test("of experts: each has a list of its own, or none", () => {
    const [experts, rows, cols] = [4, 6, 192];
    const slices = [[0], [1, 2], [0], [2, 0, 1]].map((counts) => codesWith("e4m3", rows, cols, counts));
    const codes = Uint8Array.from(slices.flatMap((slice) => [...slice]));
    const scales = new Uint8Array(experts * rows * (cols / 32)).fill(125);
    const w: BlockScaled = { format: "e4m3", shape: [experts, rows, cols], block: [1, 32], codes, scales };
    const x = { values: randomNormal(5, experts * cols), shape: [experts, cols] };
    const packed = fp8.pack(w);
    const got = fp8.gemm(x, packed, { experts: Int32Array.of(0, 1, 2, 3) });
    slices.forEach((slice, expert) => {
      const one = { ...w, shape: [rows, cols], codes: slice, scales: scales.subarray(0, rows * (cols / 32)) };
      const row = { values: x.values.subarray(expert * cols, (expert + 1) * cols), shape: [1, cols] };
      expectWithinBound(got.subarray(expert * rows, (expert + 1) * rows) as Float32Array, exact(row, one), [
        1,
        rows,
        cols,
      ]);
    });
    packed.free();
  });

  test.each([64, 128, 1000, 7168])("packed they take no more than 1.1 bytes, %i columns", (cols) => {
    const rows = 256;
    const codes = codesWith("e4m3", rows, cols, [most(cols)]);
    for (const block of [
      [1, 32],
      [128, 128],
    ] as const) {
      const blocks = Math.ceil(rows / block[0]) * Math.ceil(cols / block[1]);
      const scales = new Uint8Array(blocks).fill(127);
      const packed = fp8.pack({ format: "e4m3", shape: [rows, cols], block, codes, scales });
      expect(packed.bytes / (rows * cols)).toBeLessThanOrEqual(1.1);
      packed.free();
    }
  });

  test("bits do not depend on which rows are together: records come in chunks, packed weights whole", () => {
    const [rows, cols] = [512, 4096];
    const codes = new Uint8Array(rows * cols).fill(3);
    codes.set(codesWith("e4m3", 256, cols, [1, 60]));
    // A row that is not finite is no substitute for others.
    codes[300 * cols + 7] = 0x7f;
    const w: BlockScaled = {
      format: "e4m3",
      shape: [rows, cols],
      block: [1, 128],
      codes,
      scales: new Uint8Array(rows * 32).fill(125),
    };
    const packed = fp8.pack(w);
    for (const m of [1, 2, 8, 9]) {
      const x = { values: randomNormal(m, m * cols), shape: [m, cols] };
      const got = fp8.gemm(x, w);
      expect(fp8.gemm(x, packed)).toEqual(got);
      const nans = [...got].flatMap((y, i) => (Number.isNaN(y) ? [i % rows] : []));
      expect(nans).toEqual(Array(m).fill(300));
    }
    packed.free();
  });

  test("what was packed is not changed", () => {
    const cols = 640;
    const codes = codesWith("e4m3", 9, cols, [3]);
    const w: BlockScaled = {
      format: "e4m3",
      shape: [9, cols],
      block: [9, cols],
      codes,
      scales: Uint8Array.of(127),
    };
    const before = codes.slice();
    fp8.pack(w).free();
    fp8.gemm({ values: new Float32Array(cols), shape: [1, cols] }, w);
    expect(codes).toEqual(before);
  });
});
