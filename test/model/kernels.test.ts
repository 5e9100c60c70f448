import { describe, expect, test } from "vitest";
import { ROPE_CALL } from "../../src/model/calls.ts";
import { ACTIVATION_ID } from "../../src/model/kernels.ts";
import { narrow } from "../reference/cast.ts";
import { largestDifference } from "../support/differences.ts";
import { emptyKernels, MODEL_BUILDS } from "../support/model-instances.ts";
import { randomNormal } from "../support/random.ts";

/** Lengths around a vector of four and around two turns of a loop of eight. */
const LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 67];

/** The error function in float64, by its series; beyond 4.5 it is 1 but for 2e-10. */
function erf(x: number): number {
  if (Math.abs(x) > 4.5) return Math.sign(x);
  let sum = x;
  let term = x;
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

const silu = (x: number): number => x / (1 + Math.exp(-x));
const ACTIVATIONS = {
  silu,
  gelu: (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  geluTanh: (x: number): number =>
    0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

describe.each(MODEL_BUILDS)("%s", (build) => {
  const fresh = emptyKernels(build);

  test.each(LENGTHS)("rmsNorm and layerNorm of %i columns", async (cols) => {
    const at = await fresh();
    const rows = 3;
    const x = randomNormal(cols, rows * cols);
    const weight = randomNormal(cols + 1, cols);
    const bias = randomNormal(cols + 2, cols);
    const [src, w, b] = [at.put(x), at.put(weight), at.put(bias)];
    const dst = at.allocate(4 * rows * cols);
    at.kernels.rmsNorm(dst, 4 * cols, src, 4 * cols, w, rows, cols, 1e-5);
    const rms = x.map((value, i) => {
      const row = x.subarray(Math.floor(i / cols) * cols, (Math.floor(i / cols) + 1) * cols);
      const mean = row.reduce((sum, v) => sum + v * v, 0) / cols;
      return (value / Math.sqrt(mean + 1e-5)) * weight[i % cols]!;
    });
    expect(largestDifference(at.floats(dst, rows * cols), rms)).toBeLessThan(1e-6);
    at.kernels.layerNorm(src, src, w, b, rows, cols, 1e-5);
    const layer = x.map((value, i) => {
      const row = x.subarray(Math.floor(i / cols) * cols, (Math.floor(i / cols) + 1) * cols);
      const mean = row.reduce((sum, v) => sum + v, 0) / cols;
      const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / cols;
      return ((value - mean) / Math.sqrt(variance + 1e-5)) * weight[i % cols]! + bias[i % cols]!;
    });
    expect(largestDifference(at.floats(src, rows * cols), layer)).toBeLessThan(3e-6);
  });

  test("rmsNorm of a part of each row leaves the rest alone", async () => {
    const at = await fresh();
    const x = randomNormal(1, 2 * 12);
    const [src, w] = [at.put(x), at.put(new Float32Array(8).fill(1))];
    at.kernels.rmsNorm(src, 48, src, 48, w, 2, 8, 1e-6);
    const found = at.floats(src, 24);
    expect(found.subarray(8, 12)).toEqual(x.subarray(8, 12));
    expect(found.subarray(20)).toEqual(x.subarray(20));
    expect(found.subarray(0, 8)).not.toEqual(x.subarray(0, 8));
  });

  test.each(["silu", "gelu", "geluTanh"] as const)("%s, over its whole range", async (name) => {
    const values = Float32Array.from({ length: 4003 }, (_, i) => (i - 2001) / 100);
    values.set([-Infinity, -1e30, -104, -88, -87.4, -1e-30, -0, 0, 1e-30, 88, 104, 1e30], 5);
    const at = await fresh();
    for (const n of [...LENGTHS, values.length]) {
      at.clear();
      const x = at.put(values.subarray(0, n));
      at.kernels.activate(ACTIVATION_ID[name], x, n);
      const found = at.floats(x, n);
      for (let i = 0; i < n; i++) {
        const expected = values[i] === -Infinity ? Number.NaN : ACTIVATIONS[name](values[i]!);
        // -Infinity times 0 is no number, in the definition too.
        if (Number.isNaN(expected)) continue;
        const size = Math.max(1e-6, Math.abs(values[i]!));
        expect(Math.abs(found[i]! - expected) / size, `${name}(${values[i]})`).toBeLessThan(1e-6);
      }
    }
    at.clear();
    const bad = at.put(Float32Array.of(1, Number.NaN, 2));
    at.kernels.activate(ACTIVATION_ID[name], bad, 3);
    expect(Array.from(at.floats(bad, 3), Number.isNaN)).toEqual([false, true, false]);
  });

  test.each(LENGTHS)("gated and paired activations of %i", async (n) => {
    const at = await fresh();
    const [gate, up] = [randomNormal(n, n), randomNormal(n + 1, n)].map((v) => v.map((x) => 4 * x));
    const [g, u] = [at.put(gate!), at.put(up!)];
    at.kernels.activateGated(0, g, u, n);
    expect(
      largestDifference(
        at.floats(g, n),
        gate!.map((x, i) => silu(x) * up![i]!),
      ),
    ).toBeLessThan(1e-6);
    const pairs = Float32Array.from({ length: 2 * n }, (_, i) => 5 * (i & 1 ? up! : gate!)[i >> 1]!);
    const p = at.put(pairs);
    at.kernels.activatePairs(p, p, n, 7);
    const expected = Float32Array.from({ length: n }, (_, i) => {
      const x = Math.min(pairs[2 * i]!, 7);
      const y = Math.max(-7, Math.min(pairs[2 * i + 1]!, 7));
      return ((y + 1) * x) / (1 + Math.exp(-1.702 * x));
    });
    expect(largestDifference(at.floats(p, n), expected)).toBeLessThan(1e-6);
  });

  test.each(LENGTHS)("addScaled, addToRows and softmax of %i", async (n) => {
    const at = await fresh();
    const [a, b] = [randomNormal(n, 3 * n), randomNormal(n + 1, n)];
    const [x, y] = [at.put(a), at.put(b)];
    at.kernels.addScaled(x, y, n, 0.5);
    expect(
      largestDifference(
        at.floats(x, n),
        a.subarray(0, n).map((v, i) => v + b[i]! / 2),
      ),
    ).toBeLessThan(1e-6);
    at.kernels.addToRows(x, 4 * n, y, 3, n);
    const sums = a.map((v, i) => v + b[i % n]! * (i < n ? 1.5 : 1));
    expect(largestDifference(at.floats(x, 3 * n), sums)).toBeLessThan(1e-6);
    const largest = at.kernels.softmax(x, y, n, 2);
    expect(largest).toBe(Math.max(...b));
    const weights = b.map((v) => Math.exp(2 * (v - largest)));
    const total = weights.reduce((sum, v) => sum + v, 0);
    expect(
      largestDifference(
        at.floats(x, n),
        weights.map((v) => v / total),
      ),
    ).toBeLessThan(1e-6);
  });

  test("rope by halves and by neighbours, of all heads and a part of each", async () => {
    const at = await fresh();
    const [tokens, heads, width, dim] = [3, 2, 24, 16];
    const x = randomNormal(1, tokens * heads * width);
    const angles = randomNormal(2, (tokens * dim) / 2);
    const [c, s] = [at.put(angles.map(Math.cos)), at.put(angles.map(Math.sin))];
    for (const isInterleaved of [0, 1]) {
      const place = at.put(x);
      const strides = { tokenStride: 4 * heads * width, headStride: 4 * width };
      const call = { x: place, tokens, heads, ...strides, dim, cos: c, sin: s, isInterleaved };
      at.kernels.rope(at.putRecord(ROPE_CALL, call));
      const expected = x.slice();
      for (let row = 0; row < tokens * heads; row++) {
        for (let i = 0; i < dim / 2; i++) {
          const angle = angles[(Math.floor(row / heads) * dim) / 2 + i]!;
          const [p, q] = isInterleaved ? [2 * i, 2 * i + 1] : [i, i + dim / 2];
          const [a, b] = [x[row * width + p]!, x[row * width + q]!];
          expected[row * width + p] = a * Math.cos(angle) - b * Math.sin(angle);
          expected[row * width + q] = b * Math.cos(angle) + a * Math.sin(angle);
        }
      }
      expect(largestDifference(at.floats(place, x.length), expected)).toBeLessThan(1e-6);
    }
  });

  const SHAPES = [
    [1, 1, 1],
    [1, 5, 1],
    [3, 4, 8],
    [4, 3, 9],
    [5, 8, 16],
    [6, 17, 31],
    [7, 9, 40],
    [13, 33, 130],
    [20, 12, 600],
  ] as const;

  test.each(["f32", "bf16", "f16"] as const)("products with %s weights", async (type) => {
    const at = await fresh();
    for (const [rows, n, k] of SHAPES) {
      at.clear();
      const x = randomNormal(rows, rows * k);
      const stored = narrow(type, randomNormal(n + k, n * k));
      const [px, pw, dst] = [at.put(x), at.put(stored), at.allocate(4 * rows * n)];
      const id = { f32: 0, bf16: 1, f16: 2 }[type] as 0 | 1 | 2;
      const work = at.allocate(at.kernels.plainWorkspace(rows, k) >>> 0);
      at.kernels.gemmPlain(id, dst, px, rows, pw, n, k, work);
      const wide = at.allocate(4 * n * k);
      at.kernels.widen(id, wide, pw, n * k);
      const w = at.floats(wide, n * k);
      expect(largestDifference(w, randomNormal(n + k, n * k))).toBeLessThan(type === "f32" ? 1e-12 : 1 / 200);
      const found = at.floats(dst, rows * n);
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          let size = 0;
          for (let c = 0; c < k; c++) {
            sum += x[i * k + c]! * w[j * k + c]!;
            size += Math.abs(x[i * k + c]! * w[j * k + c]!);
          }
          // gamma_k of the sum of magnitudes.
          const bound = (k + 2) * 2 ** -24 * size;
          expect(Math.abs(found[i * n + j]! - sum), `${rows} ${n} ${k}`).toBeLessThanOrEqual(bound);
        }
      }
    }
  });

  test("copyRows moves rows from one distance to another, and nothing between them", async () => {
    const at = await fresh();
    for (const [rows, length] of [
      [0, 5],
      [1, 0],
      [3, 5],
    ] as const) {
      const values = randomNormal(1, 21);
      const [src, dst] = [at.put(values), at.put(new Float32Array(33).fill(9))];
      at.kernels.copyRows(dst, 44, src, 28, rows, 4 * length);
      const expected = Float32Array.from({ length: 33 }, (_, i) =>
        i / 11 < rows && i % 11 < length ? values[7 * Math.floor(i / 11) + (i % 11)]! : 9,
      );
      expect(at.floats(dst, 33)).toEqual(expected);
    }
  });
});
