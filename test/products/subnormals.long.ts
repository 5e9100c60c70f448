import { describe, expect, test } from "vitest";
import { FORMAT_ID, SCALE_TYPE_ID } from "../../src/tensor/formats.ts";
import type { BlockScaled, Fp8Format as Format } from "../../src/tensor/tensor.ts";
import { MATRIX, matrixRecord, readMatrix } from "../../src/wasm/matrix.ts";
import { ENGINES, INSTANCES } from "../support/engines.ts";
import { exact, expectWithinBound, extraRoundings } from "../support/products.ts";
import { randomNormal, randomWords } from "../support/random.ts";

const LARGEST_SUBNORMAL = { e4m3: 7, e5m2: 3 } as const;

function isSubnormal(format: Format, code: number): boolean {
  return (code & 0x7f) > 0 && (code & 0x7f) <= LARGEST_SUBNORMAL[format];
}

/** How many of a row are listed at most: the list takes a sixteenth of what the codes do. */
const most = (cols: number): number => Math.max(0, Math.floor(cols / 64) - 1);

/** Normal and zero codes, and as many subnormal ones in each row as `counts` says, in turn. */
function codesWith(format: Format, rows: number, cols: number, counts: readonly number[]): Uint8Array {
  const words = randomWords(rows * cols + 7, rows * cols);
  const codes = Uint8Array.from(
    words,
    (word) => (word & 0x80) | (word >>> 28 === 0 ? 0 : 8 + ((word >>> 8) % 0x60)),
  );
  for (let row = 0; row < rows; row++) {
    let left = Math.min(cols, counts[row % counts.length]!);
    // From both ends, so that the first and the last column are among them.
    for (let i = 0; left > 0; i++) {
      const column = i % 2 ? cols - 1 - (i >> 1) : (i >> 1) * (left > 20 ? 1 : 3);
      const at = row * cols + (column % cols);
      if (isSubnormal(format, codes[at]!)) continue;
      codes[at] = (1 + (words[at]! % LARGEST_SUBNORMAL[format])) | (words[at]! & 0x80);
      left--;
    }
  }
  return codes;
}

const SIZES = [63, 64, 127, 128, 133, 640, 1030] as const;

/** None, one, some, the most, one more than that, and all. */
const countsOf = (cols: number): number[] => [0, 1, most(cols) >> 1, most(cols), most(cols) + 1, cols, 1];

describe.each(INSTANCES.filter(([name]) => name !== "js"))(
  "%s: codes that go to the list",
  async (_, make) => {
    const { kernels, memory } = await make();
    memory.grow(8);
    const [RECORD, LIST, CODES, SCALES] = [65536, 2 * 65536, 4 * 65536, 6 * 65536];
    const bytes = new Uint8Array(memory.buffer);

    test.each((["e4m3", "e5m2"] as const).flatMap((format) => SIZES.map((cols) => [format, cols] as const)))(
      "%s, %i columns: the list says what is missing, and nothing else is changed",
      (format, cols) => {
        const counts = countsOf(cols);
        const rows = 15;
        const far = 8;
        const codes = codesWith(format, rows, cols, counts);
        codes[far * cols + 5] = 0x7f; // NaN: the row is computed from its codes
        bytes.fill(0xa5, RECORD);
        bytes.set(codes, CODES);
        bytes.fill(127, SCALES, SCALES + rows);
        const id = FORMAT_ID[format];
        const matrix = matrixRecord({
          ...{ format: id, scaleType: SCALE_TYPE_ID.ue8m0, codes: CODES, scales: SCALES, rows, cols },
          blockCols: cols,
        });
        MATRIX.write(memory.buffer, RECORD, matrix);
        expect(kernels.analyse(RECORD, RECORD + MATRIX.bytes, LIST)).toBe(1);
        const words = new Uint32Array(memory.buffer, LIST, rows + 1);
        const starts = words.map((word) => word & 0x7fffffff);
        const numbers = Array.from({ length: rows }, (_, row) => starts[row + 1]! - starts[row]!);
        const found = numbers.map((_, row) => {
          if (most(cols) === 0) return 0;
          return codes.subarray(row * cols, (row + 1) * cols).filter((c) => isSubnormal(format, c)).length;
        });
        const limits = found.map((_, row) => (row === far ? 0 : most(cols)));
        expect(numbers).toEqual(found.map((count, row) => (count <= limits[row]! ? count : 0)));
        // The highest bit marks rows that have more, and rows that are computed from their codes.
        const marks = [...words].map((word) => word >>> 31);
        expect(marks).toEqual([...found.map((count, row) => (count > limits[row]! ? 1 : 0)), 0]);
        const { list } = readMatrix(memory.buffer, RECORD);
        expect(list).toBe(found.some((count) => count > 0) ? LIST : 0);
        expect(numbers.some((count) => count > 0)).toBe(most(cols) > 0);

        kernels.listSubnormals(RECORD);
        const entries = new Uint32Array(memory.buffer, LIST + 4 * (rows + 1), starts[rows]!);
        const after = bytes.slice(CODES, CODES + rows * cols);
        const restored = after.slice();
        for (let row = 0; row < rows; row++) {
          for (const entry of entries.subarray(starts[row], starts[row + 1])) {
            const at = row * cols + (entry >>> 8);
            expect(after[at]).toBe(0);
            restored[at] = entry & 0xff;
          }
          if (numbers[row]! > 0) {
            const left = after.subarray(row * cols, (row + 1) * cols);
            expect(left.some((code) => isSubnormal(format, code))).toBe(false);
          }
        }
        expect(restored).toEqual(codes);
        expect(bytes.subarray(LIST + 4 * (rows + 1 + starts[rows]!), CODES).every((b) => b === 0xa5)).toBe(
          true,
        );
        expect(bytes.subarray(CODES + rows * cols, SCALES).every((b) => b === 0xa5)).toBe(true);
      },
    );
  },
);

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
