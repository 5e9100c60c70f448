import { describe, expect, test } from "vitest";
import { FORMAT_ID, SCALE_TYPE_ID } from "../../src/tensor/formats.ts";
import { MATRIX, matrixRecord, readMatrix } from "../../src/wasm/matrix.ts";
import { INSTANCES } from "../support/engines.ts";
import { codesWith, countsOf, isSubnormal, most, SIZES } from "./subnormal-codes.ts";

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
        const float64Row = 8;
        const codes = codesWith(format, rows, cols, counts);
        codes[float64Row * cols + 5] = 0x7f; // NaN: the row is computed from its codes
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
        const limits = found.map((_, row) => (row === float64Row ? 0 : most(cols)));
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
