import { describe, expect, test } from "vitest";
import { FORMAT_ID, ROUNDING_ID, scaleValues, valueOfCode } from "../../src/tensor/formats.ts";
import { transposed } from "../../src/tensor/transpose.ts";
import { PRODUCT_CALL, ROUNDING_CALL } from "../../src/train/calls.ts";
import type { TrainKernels } from "../../src/train/kernels.ts";
import { matrixRecord } from "../../src/wasm/matrix.ts";
import { expectSameValues } from "../support/bits.ts";
import { largestDifference } from "../support/differences.ts";
import { emptyKernels, MODEL_BUILDS } from "../support/model-instances.ts";
import { once } from "../support/once.ts";
import { randomNormal } from "../support/random.ts";

const TIE_COLUMNS = 512;

/**
 * Matrices [256, 512], and their transposes. A row for each exponent: the largest value first, then magnitudes below it
 * down to 2^-30 of it, with significands on both sides of every tie, of the largest codes, and of powers of two.
 */
const tiesOfBlocks = once(() => {
  const mantissas = [0, 1, 7, 14].flatMap((i) => {
    const tie = i * 0x80000 + 0x40000;
    return [i * 0x80000, tie - 1, tie, tie + 1];
  });
  const more = [0x200000, 0x3fffff, 0x400000, 0x400001, 0x5fffff, 0x600000, 0x600001, 0x700000, 0x7fffff];
  const all = [...mantissas, ...more];
  return all.map((top) => {
    const bits = new Uint32Array(256 * TIE_COLUMNS);
    for (let e = 0; e < 256; e++) {
      const most = (e << 23) | top;
      for (let i = 0; i < TIE_COLUMNS; i++) {
        const exponent = e - (i % 31);
        const value = exponent < 0 ? 0 : (exponent << 23) | all[(i * 7) % all.length]!;
        bits[e * TIE_COLUMNS + i] = (i === 0 ? most : Math.min(value, most)) + (i % 3 === 1 ? 2 ** 31 : 0);
      }
    }
    const x = new Float32Array(bits.buffer);
    return { x, across: transposed(x, 256, TIE_COLUMNS) };
  });
});

describe.each(MODEL_BUILDS)("%s", (build) => {
  const empty = emptyKernels(build);
  const fresh = async () => {
    const bench = await empty();
    return Object.assign(bench, { train: bench.kernels as TrainKernels });
  };

  test("transpose, of some columns to some", async () => {
    const at = await fresh();
    const x = randomNormal(1, 9 * 20);
    const dst = at.put(new Float32Array(7 * 11));
    at.train.transpose(dst, 11, at.put(x) + 4 * 5, 20, 9, 7);
    const expected = Float32Array.from({ length: 7 * 11 }, (_, i) =>
      i % 11 < 9 ? x[(i % 11) * 20 + 5 + Math.floor(i / 11)]! : 0,
    );
    expect(at.floats(dst, 7 * 11)).toEqual(expected);
  });

  const turns = [
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ] as const;
  test.each([
    ...turns.map((turn) => [7, 9, 13, ...turn] as const),
    ...turns.map((turn) => [200, 140, 33, ...turn] as const),
    ...turns.map((turn) => [6, 8, 1030, ...turn] as const),
    ...turns.map((turn) => [1, 1, 1, ...turn] as const),
    [4, 129, 512, true, true],
    [193, 8, 5, true, false],
    [3, 4, 0, false, true],
    [0, 4, 3, true, true],
    [3, 0, 4, false, false],
  ] as const)(
    "multiply %i x %i x %i, transposed %s and %s",
    async (m, n, k, isXTransposed, isWTransposed) => {
      const at = await fresh();
      const [x, w] = [randomNormal(1, m * k), randomNormal(2, n * k)];
      /** rows x cols, laid down as it is or transposed, in rows that are three values longer than needed. */
      const lay = (values: Float32Array, rows: number, cols: number, isTransposed: boolean) => {
        const [height, width] = isTransposed ? [cols, rows] : [rows, cols];
        const laid = new Float32Array(height * (width + 3)).fill(NaN);
        for (let i = 0; i < rows; i++)
          for (let j = 0; j < cols; j++)
            laid[isTransposed ? j * (width + 3) + i : i * (width + 3) + j] = values[i * cols + j]!;
        return [at.put(laid), width + 3] as const;
      };
      const [px, xStride] = lay(x, m, k, isXTransposed);
      const [pw, wStride] = lay(w, n, k, isWTransposed);
      const before = randomNormal(3, m * (n + 2));
      const [dst, plain] = [at.put(before), at.allocate(4 * (m + 5) * n)];
      const work = at.allocate(at.kernels.plainWorkspace(m + 5, k) >>> 0);
      const operands = {
        ...{ dst, dstStride: n + 2, x: px, xStride, isXTransposed: Number(isXTransposed) },
        ...{ w: pw, wStride, isWTransposed: Number(isWTransposed) },
      };
      const run = (factor: number) =>
        at.train.multiply(at.putRecord(PRODUCT_CALL, { ...operands, m, n, k, factor, work }));
      run(0);
      // The same as the product of models, which sums in this order from five rows on.
      const padded = new Float32Array((m + 5) * k);
      padded.set(x);
      at.kernels.gemmPlain(0, plain, at.put(padded), m + 5, at.put(w), n, k, work);
      const product = at.floats(plain, m * n);
      const stored = at.floats(dst, m * (n + 2));
      const expected = before.map((value, i) =>
        i % (n + 2) < n ? product[Math.floor(i / (n + 2)) * n + (i % (n + 2))]! : value,
      );
      expect(stored).toEqual(expected);
      run(0.75);
      const sums = stored.map((value, i) => (i % (n + 2) < n ? value + 0.75 * value : value));
      expect(largestDifference(at.floats(dst, m * (n + 2)), sums)).toBeLessThan(1e-6);
      run(1);
      expect(
        largestDifference(
          at.floats(dst, m * (n + 2)),
          sums.map((v, i) => v + (i % (n + 2) < n ? stored[i]! : 0)),
        ),
      ).toBeLessThan(1e-6);
    },
  );

  /** What quantize and dequantize make of src[rows, cols]: the definition of `round`. */
  const quantised = (
    at: Awaited<ReturnType<typeof fresh>>,
    format: "e4m3" | "e5m2" | "e2m1",
    rounding: "floor" | "rceil",
    src: number,
    [rows, cols]: readonly [number, number],
    [height, width]: readonly [number, number],
  ) => {
    const n = rows * cols;
    const blocks = Math.ceil(cols / width);
    const [codes, scales, dst] = [
      at.allocate(n + 16),
      at.allocate(Math.ceil(rows / height) * blocks),
      at.allocate(4 * n),
    ];
    const [id, mode] = [FORMAT_ID[format], ROUNDING_ID[rounding]];
    const size = { rows, cols, blockRows: height, blockCols: width };
    const matrix = at.putMatrix(matrixRecord({ format: id, scaleType: 0, codes, scales, ...size }));
    at.kernels.quantize(matrix, 0, src, mode, 0, 127);
    if (format !== "e2m1") {
      at.kernels.dequantize(matrix, 0, dst);
      return { values: at.floats(dst, n), codes, dst };
    }
    const bytes = at.bytes(codes, n);
    const exponents = at.bytes(scales, Math.ceil(rows / height) * blocks);
    const ofCode = Float32Array.from({ length: 256 }, (_, code) => valueOfCode(format, code));
    const multipliers = scaleValues(exponents);
    const values = new Float32Array(n);
    for (let i = 0; i < n; i++) {
      const block = Math.floor(Math.floor(i / cols) / height) * blocks + Math.floor((i % cols) / width);
      values[i] = ofCode[bytes[i]!]! * multipliers[block]!;
    }
    return { values, codes, dst };
  };

  test.each([
    ["e4m3", 5, 300, [1, 128]],
    ["e4m3", 200, 70, [128, 128]],
    ["e4m3", 300, 39, [128, 1]],
    ["e4m3", 33, 20, [2, 3]],
    ["e5m2", 70, 96, [1, 32]],
    ["e4m3", 1, 9000, [1, 32]],
    ["e2m1", 7, 50, [1, 32]],
    ["e2m1", 70, 5, [32, 1]],
    ["e4m3", 1, 1, [1, 128]],
    ["e4m3", 0, 8, [1, 128]],
  ] as const)("round to %s, %i x %i, counted and with strides", async (format, rows, cols, block) => {
    const at = await fresh();
    const n = rows * cols;
    const [height, width] = block;
    const x = randomNormal(7, n).map((value, i) => (i % 50 === 0 ? 0 : value * 10 ** ((i % 7) - 3)));
    const work = at.allocate(at.train.roundWorkspace(cols, height));
    const [src, dst] = [at.put(x), at.allocate(4 * n)];
    const [sums, expectedSums] = [at.put(new Uint8Array(72)), at.put(new Uint8Array(72))];
    const [id, floor] = [FORMAT_ID[format], ROUNDING_ID.floor];
    const how = { format: id, rows, cols, blockRows: height, blockCols: width, rounding: floor, work };
    const round = (to: number, dstStride: number, from: number, srcStride: number, sums = 0) =>
      at.train.round(at.putRecord(ROUNDING_CALL, { ...how, dst: to, dstStride, src: from, srcStride, sums }));
    round(dst, cols, src, cols, sums);
    const { values, codes, dst: apart } = quantised(at, format, "floor", src, [rows, cols], block);
    const found = at.floats(dst, n);
    expect(found).toEqual(values);
    // The largest magnitude, and how many were flushed to 0 and cut to the largest code.
    const counted = at.doubles(sums, 9);
    expect(counted[4]).toBe(x.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
    expect(counted[7]).toBe(x.filter((value, i) => value !== 0 && found[i] === 0).length);
    if (format !== "e2m1") {
      at.train.compare(id, 0, expectedSums, src, apart, codes, 0, n);
      expect(counted[8]).toBe(at.doubles(expectedSums, 9)[8]);
    } else expect(counted[8]).toBeGreaterThan(0);
    // From rows that are apart to rows that are apart otherwise.
    const wide = new Float32Array(rows * (cols + 5)).map((_, i) =>
      i % (cols + 5) < cols ? x[Math.floor(i / (cols + 5)) * cols + (i % (cols + 5))]! : NaN,
    );
    const to = at.put(new Float32Array(rows * (cols + 3)).fill(7));
    round(to, cols + 3, at.put(wide), cols + 5);
    const spaced = Float32Array.from({ length: rows * (cols + 3) }, (_, i) => {
      const [row, col] = [Math.floor(i / (cols + 3)), i % (cols + 3)];
      return col < cols ? values[row * cols + col]! : 7;
    });
    expect(at.floats(to, spaced.length)).toEqual(spaced);
    round(src, cols, src, cols);
    expect(at.floats(src, n)).toEqual(found);
  });

  test.each(["e4m3", "e5m2", "e2m1"] as const)(
    "round to %s agrees with codes at every exponent of a block, and its ties",
    async (format) => {
      const cols = TIE_COLUMNS;
      for (const { x, across } of tiesOfBlocks()) {
        const at = await fresh();
        const work = at.allocate(at.train.roundWorkspace(cols, cols));
        const [src, acrossAt, dst] = [at.put(x), at.put(across), at.allocate(4 * x.length)];
        for (const rounding of ["rceil", "floor"] as const) {
          const mode = ROUNDING_ID[rounding];
          const { values } = quantised(at, format, rounding, src, [256, cols], [1, cols]);
          const how = { format: FORMAT_ID[format], dst, rounding: mode, sums: 0, work };
          const rows = {
            dstStride: cols,
            src,
            srcStride: cols,
            rows: 256,
            cols,
            blockRows: 1,
            blockCols: cols,
          };
          at.train.round(at.putRecord(ROUNDING_CALL, { ...how, ...rows }));
          expectSameValues(at.floats(dst, x.length), values);
          const columns = { dstStride: 256, src: acrossAt, srcStride: 256, rows: cols, cols: 256 };
          at.train.round(at.putRecord(ROUNDING_CALL, { ...how, ...columns, blockRows: cols, blockCols: 1 }));
          expectSameValues(at.floats(dst, x.length), transposed(values, 256, cols));
        }
      }
    },
  );

  test("transpose, of all sizes around a tile", async () => {
    for (const rows of [1, 3, 4, 5, 8, 13, 16, 20, 35]) {
      for (const cols of [1, 2, 4, 7, 8, 17]) {
        const at = await fresh();
        const x = randomNormal(rows, rows * cols);
        const [src, dst] = [at.put(x), at.allocate(4 * rows * cols)];
        at.train.transpose(dst, rows, src, cols, rows, cols);
        const expected = Float32Array.from(x, (_, i) => x[(i % rows) * cols + Math.floor(i / rows)]!);
        expect(at.floats(dst, rows * cols)).toEqual(expected);
      }
    }
  });
});
