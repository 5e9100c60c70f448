import { describe, expect, test } from "vitest";
import { ADAMW_CALL } from "../../src/train/calls.ts";
import type { TrainKernels } from "../../src/train/kernels.ts";
import { largestDifference } from "../support/differences.ts";
import { emptyKernels, MODEL_BUILDS } from "../support/model-instances.ts";
import { randomNormal } from "../support/random.ts";

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
  const empty = emptyKernels(build);
  const fresh = async () => {
    const bench = await empty();
    return Object.assign(bench, { train: bench.kernels as TrainKernels });
  };

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
    expect(largestDifference(at.floats(dx, rows * cols), ofX)).toBeLessThan(1e-5);
    expect(largestDifference(at.floats(dw, cols), ofW)).toBeLessThan(1e-5);
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
    expect(largestDifference(at.floats(act, n), f(gate, up))).toBeLessThan(1e-6);
    at.train.swigluBackward(g, u, d, g, u, n);
    expect(
      largestDifference(
        at.floats(g, n),
        slopes(gate, dact, (x) => f(x, up)),
      ),
    ).toBeLessThan(1e-5);
    expect(
      largestDifference(
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
    expect(largestDifference(at.floats(p, n * n), softmax(Array.from(x)))).toBeLessThan(1e-6);
    at.train.softmaxBackward(d, d, p, n, 0.7);
    expect(largestDifference(at.floats(d, n * n), slopes(x, dp, softmax))).toBeLessThan(1e-5);
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
    expect(largestDifference(at.floats(logits, rows * n), slopes(x, [0.25, 0.25, 0.25], loss))).toBeLessThan(
      1e-5,
    );
  });

  test.each([1, 3, 4, 5, 67, 1001])("AdamW and sums of squares of %i", async (n) => {
    const at = await fresh();
    const [w, g] = [randomNormal(1, n), randomNormal(2, n)];
    const [m, v] = [randomNormal(3, n), randomNormal(4, n).map((x) => x * x)];
    const places = [w, g, m, v].map((x) => at.put(x)) as [number, number, number, number];
    const numbers = {
      factor: 0.5,
      correctedRate: 0.01,
      beta1: 0.9,
      beta2: 0.95,
      epsilon: 1e-8,
      correction: 1.5,
    };
    const step = (type: 0 | 1, [weights, gradient, m, v]: typeof places) => {
      const call = { type, weights, gradient, m, v, count: n, ...numbers, decay: 0.001 };
      at.train.adamw(at.putRecord(ADAMW_CALL, call));
    };
    step(0, places);
    const squares = g.reduce((sum, x) => sum + x * x, 0);
    expect(Math.abs(at.train.sumOfSquares(places[1], n) / squares - 1)).toBeLessThan(1e-6);
    const mean = m.map((x, i) => 0.9 * x + 0.1 * 0.5 * g[i]!);
    const square = v.map((x, i) => 0.95 * x + 0.05 * (0.5 * g[i]!) ** 2);
    expect(largestDifference(at.floats(places[2], n), mean)).toBeLessThan(1e-6);
    expect(largestDifference(at.floats(places[3], n), square)).toBeLessThan(1e-6);
    const moved = w.map((x, i) => x * (1 - 0.001) - (0.01 * mean[i]!) / (Math.sqrt(1.5 * square[i]!) + 1e-8));
    expect(largestDifference(at.floats(places[0], n), moved)).toBeLessThan(1e-6);
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
