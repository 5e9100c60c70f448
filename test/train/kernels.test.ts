import { describe, expect, test } from "vitest";
import { FORMAT_ID, ROUNDING_ID } from "../../src/tensor/formats.ts";
import type { TrainKernels } from "../../src/train/kernels.ts";
import { type Bench, benchOf, MODEL_BUILDS } from "../support/model-instances.ts";
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
  let bench: Bench | undefined;
  const fresh = async (): Promise<Bench & { readonly train: TrainKernels }> => {
    bench ??= await benchOf(build);
    bench.clear();
    return Object.assign(bench, { train: bench.kernels as TrainKernels });
  };

  test("transpose, of some columns", async () => {
    const at = await fresh();
    const x = randomNormal(1, 9 * 20);
    const dst = at.room(4 * 9 * 7);
    at.train.transpose(dst, at.put(x) + 4 * 5, 9, 7, 20);
    const expected = Float32Array.from({ length: 63 }, (_, i) => x[(i % 9) * 20 + 5 + Math.floor(i / 9)]!);
    expect(at.floats(dst, 63)).toEqual(expected);
  });

  test.each([
    ["e4m3", 5, 300, [1, 128]],
    ["e4m3", 200, 70, [128, 128]],
    ["e5m2", 70, 96, [1, 32]],
    ["e4m3", 1, 9000, [1, 32]],
    ["e2m1", 7, 50, [1, 32]],
  ] as const)("round to %s, %i x %i", async (format, rows, cols, [height, width]) => {
    const at = await fresh();
    const n = rows * cols;
    const x = randomNormal(7, n).map((value, i) => (i % 50 === 0 ? 0 : value * 10 ** ((i % 7) - 3)));
    const grid = Math.ceil(rows / height) * Math.ceil(cols / width);
    const work = at.room(at.train.roundWorkspace(cols, height));
    const [src, dst, apart] = [at.put(x), at.room(4 * n), at.room(4 * n)];
    const [sums, expectedSums] = [at.put(new Uint8Array(72)), at.put(new Uint8Array(72))];
    const [codes, scales] = [at.room(n + 16), at.room(grid)];
    const [id, floor] = [FORMAT_ID[format], ROUNDING_ID.floor];
    at.train.round(id, dst, src, rows, cols, height, width, floor, sums, work);
    at.train.quantize(id, 0, 0, codes, scales, src, rows, cols, height, width, floor, 0, 127);
    const found = at.floats(dst, n);
    if (format === "e2m1") {
      const [bytes, exponents] = [at.bytes(codes, n), at.bytes(scales, grid)];
      const values = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
      const blocks = Math.ceil(cols / width);
      const expected = x.map((_, i) => {
        const exponent = exponents[Math.floor(i / cols) * blocks + Math.floor((i % cols) / width)]!;
        return (bytes[i]! & 128 ? -1 : 1) * values[bytes[i]! & 7]! * 2 ** (exponent - 127);
      });
      expect(found).toEqual(expected);
    } else {
      at.train.dequantize(id, 0, 0, apart, codes, scales, rows, cols, height, width);
      expect(found).toEqual(at.floats(apart, n));
    }
    // The largest magnitude, and how many were flushed to 0 and cut to the largest code.
    const counted = at.doubles(sums, 9);
    expect(counted[4]).toBe(x.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
    expect(counted[7]).toBe(x.filter((value, i) => value !== 0 && found[i] === 0).length);
    if (format !== "e2m1") {
      at.train.compare(id, 0, expectedSums, src, dst, codes, n);
      expect(counted[8]).toBe(at.doubles(expectedSums, 9)[8]);
    } else expect(counted[8]).toBeGreaterThan(0);
    at.train.round(id, src, src, rows, cols, height, width, floor, 0, work);
    expect(at.floats(src, n)).toEqual(found);
  });

  test("transpose, of all sizes around a tile", async () => {
    for (const rows of [1, 3, 4, 5, 8, 13, 16, 20, 35]) {
      for (const cols of [1, 2, 4, 7, 8, 17]) {
        const at = await fresh();
        const x = randomNormal(rows, rows * cols);
        const [src, dst] = [at.put(x), at.room(4 * rows * cols)];
        at.train.transpose(dst, src, rows, cols, cols);
        const expected = Float32Array.from(x, (_, i) => x[(i % rows) * cols + Math.floor(i / rows)]!);
        expect(at.floats(dst, rows * cols)).toEqual(expected);
      }
    }
  });

  test.each([1, 3, 4, 9, 32])("rows of %i columns are taken, and added", async (cols) => {
    const at = await fresh();
    const [rows, stride] = [5, cols + 3];
    const x = randomNormal(1, rows * stride);
    const [src, dst] = [at.put(x), at.room(4 * rows * cols)];
    at.train.copyRows(dst, 4 * cols, src, 4 * stride, rows, 4 * cols);
    const taken = at.floats(dst, rows * cols).slice();
    const inside = (i: number) => i % stride < cols;
    expect([...taken]).toEqual([...x].filter((_, i) => inside(i)));
    at.train.addRows(src, dst, rows, cols, stride);
    const sums = x.map((value, i) => (inside(i) ? Math.fround(value + value) : value));
    expect(at.floats(src, rows * stride)).toEqual(sums);
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
    const [g, u, d, act] = [at.put(gate), at.put(up), at.put(dact), at.room(4 * n)];
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
    at.train.adamw(0, ...places, n, 0.5, 0.01, 0.9, 0.95, 1e-8, 1.5, 0.001);
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
    at.train.adamw(1, ...coarse, n, 0.5, 0.01, 0.9, 0.95, 1e-8, 1.5, 0.001);
    at.train.adamw(0, ...fine, n, 0.5, 0.01, 0.9, 0.95, 1e-8, 1.5, 0.001);
    expect(at.floats(coarse[0], n)).toEqual(at.floats(fine[0], n));
    for (const i of [2, 3] as const) {
      const found = held(new Uint16Array(at.bytes(coarse[i], 2 * n).buffer));
      at.floats(fine[i], n).forEach((exact, k) => {
        expect(Math.abs(found[k]! - exact)).toBeLessThanOrEqual(Math.abs(exact) * 2 ** -8);
      });
    }
  });
});
