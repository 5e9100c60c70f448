import { describe, expect, test } from "vitest";
import { FORMAT_ID, ROUNDING_ID, valueOfCode } from "../../src/tensor/formats.ts";
import { ADAMW_CALL, PRODUCT_CALL, ROUNDING_CALL } from "../../src/train/calls.ts";
import type { TrainKernels } from "../../src/train/kernels.ts";
import { matrixOf } from "../../src/wasm/matrix.ts";
import { type KernelMemory, MODEL_BUILDS, openKernels } from "../support/model-instances.ts";
import { randomNormal } from "../support/random.ts";

function worst(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  let most = 0;
  let size = 0;
  for (let i = 0; i < expected.length; i++) {
    most = Math.max(most, Math.abs(found[i]! - expected[i]!));
    size = Math.max(size, Math.abs(expected[i]!));
  }
  return found.length === expected.length ? most / (size || 1) : Infinity;
}

/** The bits of float32 values; those of NaN are all the same. */
function bytesOf(values: Float32Array): Buffer {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Buffer.from(words.map((word, i) => (Number.isNaN(values[i]) ? 0x7fc00000 : word)).buffer);
}

/** The gradient of sum(weights * f(x)) by central differences in float64. */
function slopes(x: ArrayLike<number>, weights: ArrayLike<number>, f: (x: number[]) => number[]): number[] {
  const values = Array.from(x);
  const total = () => f(values).reduce((sum, y, i) => sum + y * weights[i]!, 0);
  return values.map((value, i) => {
    const step = 1e-5 * Math.max(1, Math.abs(value));
    values[i] = value + step;
    const above = total();
    values[i] = value - step;
    const below = total();
    values[i] = value;
    return (above - below) / (2 * step);
  });
}

describe.each(MODEL_BUILDS)("%s", (build) => {
  let bench: KernelMemory | undefined;
  const fresh = async (): Promise<KernelMemory & { readonly train: TrainKernels }> => {
    bench ??= await openKernels(build);
    bench.clear();
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
      expect(worst(at.floats(dst, m * (n + 2)), sums)).toBeLessThan(1e-6);
      run(1);
      expect(
        worst(
          at.floats(dst, m * (n + 2)),
          sums.map((v, i) => v + (i % (n + 2) < n ? stored[i]! : 0)),
        ),
      ).toBeLessThan(1e-6);
    },
  );

  /** What quantize and dequantize make of src[rows, cols]: the definition of `round`. */
  const quantised = (
    at: KernelMemory,
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
    const matrix = at.putMatrix(matrixOf({ format: id, scaleType: 0, codes, scales, ...size }));
    at.kernels.quantize(matrix, 0, src, mode, 0, 127);
    if (format !== "e2m1") {
      at.kernels.dequantize(matrix, 0, dst);
      return { values: at.floats(dst, n), codes, dst };
    }
    const bytes = at.bytes(codes, n);
    const exponents = at.bytes(scales, Math.ceil(rows / height) * blocks);
    const values = Float32Array.from(bytes, (code, i) => {
      const block = Math.floor(Math.floor(i / cols) / height) * blocks + Math.floor((i % cols) / width);
      const scale = exponents[block] === 255 ? NaN : 2 ** (exponents[block]! - 127);
      return valueOfCode(format, code) * scale;
    });
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
    at.floats(to, rows * (cols + 3)).forEach((value, i) => {
      const [row, col] = [Math.floor(i / (cols + 3)), i % (cols + 3)];
      expect(value).toBe(col < cols ? values[row * cols + col] : 7);
    });
    round(src, cols, src, cols);
    expect(at.floats(src, n)).toEqual(found);
  });

  test.each(["e4m3", "e5m2", "e2m1"] as const)(
    "round to %s agrees with codes at every exponent of a block, and its ties",
    async (format) => {
      // A row for each exponent: the largest value first, then magnitudes below it down to 2^-30 of it, with
      // significands on both sides of every tie, of the largest codes, and of powers of two.
      const mantissas = [0, 1, 7, 14].flatMap((i) => {
        const tie = i * 0x80000 + 0x40000;
        return [i * 0x80000, tie - 1, tie, tie + 1];
      });
      const more = [0x200000, 0x3fffff, 0x400000, 0x400001, 0x5fffff, 0x600000, 0x600001, 0x700000, 0x7fffff];
      const all = [...mantissas, ...more];
      const cols = 512;
      for (const top of all) {
        const at = await fresh();
        const bits = new Uint32Array(256 * cols);
        for (let e = 0; e < 256; e++) {
          const most = (e << 23) | top;
          for (let i = 0; i < cols; i++) {
            const exponent = e - (i % 31);
            const value = exponent < 0 ? 0 : (exponent << 23) | all[(i * 7) % all.length]!;
            bits[e * cols + i] = (i === 0 ? most : Math.min(value, most)) + (i % 3 === 1 ? 2 ** 31 : 0);
          }
        }
        const x = new Float32Array(bits.buffer);
        const across = new Float32Array(x.length).map((_, i) => x[(i % 256) * cols + Math.floor(i / 256)]!);
        const work = at.allocate(at.train.roundWorkspace(cols, cols));
        const [src, transposed, dst] = [at.put(x), at.put(across), at.allocate(4 * x.length)];
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
          expect(Buffer.compare(bytesOf(at.floats(dst, x.length)), bytesOf(values))).toBe(0);
          const turned = { dstStride: 256, src: transposed, srcStride: 256, rows: cols, cols: 256 };
          at.train.round(at.putRecord(ROUNDING_CALL, { ...how, ...turned, blockRows: cols, blockCols: 1 }));
          const columns = at.floats(dst, x.length);
          const expected = columns.map((_, i) => values[(i % 256) * cols + Math.floor(i / 256)]!);
          expect(Buffer.compare(bytesOf(columns), bytesOf(expected))).toBe(0);
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

  test.each([1, 3, 4, 9, 32])("rmsNormBackward of %i columns, by differences", async (cols) => {
    const at = await fresh();
    const rows = 2;
    const [x, w, dy] = [randomNormal(1, rows * cols), randomNormal(2, cols), randomNormal(3, rows * cols)];
    const norm = (values: number[], weight: ArrayLike<number>) =>
      values.map((value, i) => {
        const row = values.slice(Math.floor(i / cols) * cols, (Math.floor(i / cols) + 1) * cols);
        return (value / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / cols + 1e-3)) * weight[i % cols]!;
      });
    const [dx, dw] = [at.put(new Float32Array(rows * cols).fill(1)), at.put(new Float32Array(cols).fill(2))];
    at.train.rmsNormBackward(dx, dw, at.put(dy), at.put(x), at.put(w), rows, cols, 1e-3);
    const ofX = slopes(x, dy, (values) => norm(values, w)).map((g) => g + 1);
    const ofW = slopes(w, dy, (weight) => norm(Array.from(x), weight)).map((g) => g + 2);
    expect(worst(at.floats(dx, rows * cols), ofX)).toBeLessThan(1e-5);
    expect(worst(at.floats(dw, cols), ofW)).toBeLessThan(1e-5);
  });

  test("swiglu and its gradients, by differences", async () => {
    const at = await fresh();
    const n = 36;
    const [gate, up, dact] = [1, 2, 3].map((seed) => randomNormal(seed, n).map((v) => 3 * v)) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const [g, u, d, act] = [at.put(gate), at.put(up), at.put(dact), at.allocate(4 * n)];
    const f = (x: ArrayLike<number>, y: ArrayLike<number>) =>
      Array.from(x, (v, i) => (v / (1 + Math.exp(-v))) * y[i]!);
    at.train.swiglu(act, g, u, n);
    expect(worst(at.floats(act, n), f(gate, up))).toBeLessThan(1e-6);
    at.train.swigluBackward(g, u, d, g, u, n);
    expect(
      worst(
        at.floats(g, n),
        slopes(gate, dact, (x) => f(x, up)),
      ),
    ).toBeLessThan(1e-5);
    expect(
      worst(
        at.floats(u, n),
        slopes(up, dact, (y) => f(gate, y)),
      ),
    ).toBeLessThan(1e-5);
  });

  test.each([1, 2, 3, 4, 5, 11, 16])("causal softmax of %i and its gradient, by differences", async (n) => {
    const at = await fresh();
    const [x, dp] = [randomNormal(1, n * n), randomNormal(2, n * n)];
    const softmax = (values: number[]) => {
      const out = new Array<number>(n * n).fill(0);
      for (let i = 0; i < n; i++) {
        const row = values.slice(i * n, i * n + i + 1).map((v) => Math.exp(0.7 * v));
        const total = row.reduce((a, b) => a + b);
        row.forEach((v, j) => {
          out[i * n + j] = v / total;
        });
      }
      return out;
    };
    const [p, d] = [at.put(x), at.put(dp)];
    at.train.causalSoftmax(p, n, 0.7);
    expect(worst(at.floats(p, n * n), softmax(Array.from(x)))).toBeLessThan(1e-6);
    at.train.softmaxBackward(d, d, p, n, 0.7);
    expect(worst(at.floats(d, n * n), slopes(x, dp, softmax))).toBeLessThan(1e-5);
  });

  test.each([2, 4, 7, 33])("cross-entropy over %i tokens and its gradient, by differences", async (n) => {
    const at = await fresh();
    const rows = 3;
    const x = randomNormal(n, rows * n).map((v) => 4 * v);
    const targets = Int32Array.from({ length: rows }, (_, i) => (i * 5 + 1) % n);
    const loss = (values: number[]) =>
      Array.from({ length: rows }, (_, i) => {
        const row = values.slice(i * n, (i + 1) * n);
        return Math.log(row.reduce((sum, v) => sum + Math.exp(v), 0)) - row[targets[i]!]!;
      });
    const logits = at.put(x);
    const found = at.train.crossEntropy(logits, at.put(targets), rows, n, 0.25);
    expect(found).toBeCloseTo(
      loss(Array.from(x)).reduce((a, b) => a + b),
      5,
    );
    expect(worst(at.floats(logits, rows * n), slopes(x, [0.25, 0.25, 0.25], loss))).toBeLessThan(1e-5);
  });

  test.each([1, 3, 4, 5, 67, 1001])("AdamW and sums of squares of %i", async (n) => {
    const at = await fresh();
    const [w, g] = [randomNormal(1, n), randomNormal(2, n)];
    const [m, v] = [randomNormal(3, n), randomNormal(4, n).map((x) => x * x)];
    const places = [w, g, m, v].map((x) => at.put(x)) as [number, number, number, number];
    const numbers = { factor: 0.5, rate: 0.01, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, correction: 1.5 };
    const step = (type: 0 | 1, [weights, gradient, m, v]: typeof places) => {
      const call = { type, weights, gradient, m, v, count: n, ...numbers, decay: 0.001 };
      at.train.adamw(at.putRecord(ADAMW_CALL, call));
    };
    step(0, places);
    const squares = g.reduce((sum, x) => sum + x * x, 0);
    expect(Math.abs(at.train.sumOfSquares(places[1], n) / squares - 1)).toBeLessThan(1e-6);
    const mean = m.map((x, i) => 0.9 * x + 0.1 * 0.5 * g[i]!);
    const square = v.map((x, i) => 0.95 * x + 0.05 * (0.5 * g[i]!) ** 2);
    expect(worst(at.floats(places[2], n), mean)).toBeLessThan(1e-6);
    expect(worst(at.floats(places[3], n), square)).toBeLessThan(1e-6);
    const moved = w.map((x, i) => x * (1 - 0.001) - (0.01 * mean[i]!) / (Math.sqrt(1.5 * square[i]!) + 1e-8));
    expect(worst(at.floats(places[0], n), moved)).toBeLessThan(1e-6);
    // Means in bfloat16: the same of what they hold, and rounded to nearest.
    const bits = (x: Float32Array) => Uint16Array.from(new Uint32Array(x.buffer), (word) => word >>> 16);
    const held = (x: ArrayLike<number>) => new Float32Array(Uint32Array.from(x, (word) => word << 16).buffer);
    const [m16, v16] = [bits(m), bits(v)];
    const coarse = [w, g, m16, v16].map((x) => at.put(x)) as [number, number, number, number];
    const fine = [w, g, held(m16), held(v16)].map((x) => at.put(x)) as [number, number, number, number];
    step(1, coarse);
    step(0, fine);
    expect(at.floats(coarse[0], n)).toEqual(at.floats(fine[0], n));
    for (const i of [2, 3] as const) {
      const found = held(new Uint16Array(at.bytes(coarse[i], 2 * n).buffer));
      at.floats(fine[i], n).forEach((exact, k) => {
        expect(Math.abs(found[k]! - exact)).toBeLessThanOrEqual(Math.abs(exact) * 2 ** -8);
      });
    }
  });
});
