import { describe, expect, test } from "vitest";
import { ATTENTION_CALL, ROPE_CALL, ROUTING_CALL } from "../../src/model/calls.ts";
import { ACTIVATION_ID, ROUTING_ID } from "../../src/model/kernels.ts";
import { matrixOf } from "../../src/wasm/matrix.ts";
import { narrow } from "../reference/cast.ts";
import { type KernelMemory, MODEL_BUILDS, openKernels } from "../support/model-instances.ts";
import { randomNormal } from "../support/random.ts";

/** Lengths around a vector of four and around two turns of a loop of eight. */
const LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 67];

/** The largest difference, in units of the largest expected magnitude. */
function worst(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(found.length).toBe(expected.length);
  let most = 0;
  let size = 0;
  for (let i = 0; i < expected.length; i++) {
    most = Math.max(most, Math.abs(found[i]! - expected[i]!));
    size = Math.max(size, Math.abs(expected[i]!));
    if (Number.isNaN(found[i]!) !== Number.isNaN(expected[i]!)) return Infinity;
  }
  return most / (size || 1);
}

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
  let bench: KernelMemory | undefined;
  const fresh = async (): Promise<KernelMemory> => {
    bench ??= await openKernels(build);
    bench.clear();
    return bench;
  };

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
    expect(worst(at.floats(dst, rows * cols), rms)).toBeLessThan(1e-6);
    at.kernels.layerNorm(src, src, w, b, rows, cols, 1e-5);
    const layer = x.map((value, i) => {
      const row = x.subarray(Math.floor(i / cols) * cols, (Math.floor(i / cols) + 1) * cols);
      const mean = row.reduce((sum, v) => sum + v, 0) / cols;
      const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / cols;
      return ((value - mean) / Math.sqrt(variance + 1e-5)) * weight[i % cols]! + bias[i % cols]!;
    });
    expect(worst(at.floats(src, rows * cols), layer)).toBeLessThan(3e-6);
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
      worst(
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
    expect(worst(at.floats(p, n), expected)).toBeLessThan(1e-6);
  });

  test.each(LENGTHS)("addScaled, addToRows and softmax of %i", async (n) => {
    const at = await fresh();
    const [a, b] = [randomNormal(n, 3 * n), randomNormal(n + 1, n)];
    const [x, y] = [at.put(a), at.put(b)];
    at.kernels.addScaled(x, y, n, 0.5);
    expect(
      worst(
        at.floats(x, n),
        a.subarray(0, n).map((v, i) => v + b[i]! / 2),
      ),
    ).toBeLessThan(1e-6);
    at.kernels.addToRows(x, 4 * n, y, 3, n);
    const sums = a.map((v, i) => v + b[i % n]! * (i < n ? 1.5 : 1));
    expect(worst(at.floats(x, 3 * n), sums)).toBeLessThan(1e-6);
    const largest = at.kernels.softmax(x, y, n, 2);
    expect(largest).toBe(Math.max(...b));
    const weights = b.map((v) => Math.exp(2 * (v - largest)));
    const total = weights.reduce((sum, v) => sum + v, 0);
    expect(
      worst(
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
      expect(worst(at.floats(place, x.length), expected)).toBeLessThan(1e-6);
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
      expect(worst(w, randomNormal(n + k, n * k))).toBeLessThan(type === "f32" ? 1e-12 : 1 / 200);
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

  interface Case {
    readonly tokens: number;
    readonly group: number;
    readonly count: number;
    readonly dim: number;
    readonly valueDim: number;
    readonly isCausal: boolean;
    readonly window: number;
    readonly hasSinks: boolean;
  }
  const CASES: readonly Case[] = [
    { tokens: 1, group: 1, count: 1, dim: 4, valueDim: 4, isCausal: true, window: 0, hasSinks: false },
    { tokens: 1, group: 3, count: 31, dim: 12, valueDim: 8, isCausal: true, window: 0, hasSinks: true },
    { tokens: 1, group: 4, count: 32, dim: 16, valueDim: 20, isCausal: true, window: 0, hasSinks: false },
    { tokens: 1, group: 5, count: 33, dim: 16, valueDim: 16, isCausal: true, window: 5, hasSinks: false },
    { tokens: 1, group: 2, count: 34, dim: 12, valueDim: 36, isCausal: true, window: 0, hasSinks: false },
    { tokens: 2, group: 1, count: 67, dim: 8, valueDim: 20, isCausal: true, window: 3, hasSinks: true },
    { tokens: 3, group: 2, count: 39, dim: 8, valueDim: 80, isCausal: true, window: 0, hasSinks: false },
    { tokens: 7, group: 2, count: 7, dim: 8, valueDim: 8, isCausal: true, window: 0, hasSinks: false },
    { tokens: 9, group: 3, count: 70, dim: 24, valueDim: 12, isCausal: true, window: 33, hasSinks: true },
    { tokens: 40, group: 1, count: 100, dim: 32, valueDim: 36, isCausal: true, window: 8, hasSinks: false },
    { tokens: 35, group: 1, count: 35, dim: 8, valueDim: 8, isCausal: false, window: 0, hasSinks: false },
    { tokens: 66, group: 2, count: 66, dim: 4, valueDim: 4, isCausal: true, window: 1, hasSinks: true },
  ];

  test.each(CASES)("attention: %o", async (given) => {
    const { tokens, group, count, dim, valueDim, isCausal, window, hasSinks } = given;
    const at = await fresh();
    const q = randomNormal(1, tokens * group * dim);
    const keys = randomNormal(2, count * dim);
    const values = randomNormal(3, count * valueDim);
    const sinks = randomNormal(4, group);
    const scale = 1.3 * dim ** -0.5;
    const out = at.allocate(4 * tokens * group * valueDim);
    const work = at.allocate(at.kernels.attentionWorkspace(tokens * group, dim, valueDim));
    const place = [at.put(q), at.put(keys), at.put(values), hasSinks ? at.put(sinks) : 0] as const;
    const attend = (k: number, v: number, scales: readonly [number, number], width: number): Float32Array => {
      // biome-ignore format: a table of arguments
      at.kernels.attend(at.putRecord(ATTENTION_CALL, {
        out, outTokenStride: 4 * group * valueDim, outHeadStride: 4 * valueDim,
        q: place[0], qTokenStride: 4 * group * dim, qHeadStride: 4 * dim, tokens, group,
        keys: k, keyStride: width * dim, keyScales: scales[0],
        values: v, valueStride: width * valueDim, valueScales: scales[1], scaleStride: 4,
        count, dim, valueDim, isCausal: isCausal ? 1 : 0, window, scale, sinks: place[3], work,
      }));
      return at.floats(out, tokens * group * valueDim);
    };
    const expected = (k: Float32Array, v: Float32Array): Float32Array => {
      const result = new Float32Array(tokens * group * valueDim);
      for (let row = 0; row < tokens * group; row++) {
        const end = isCausal ? count - tokens + Math.floor(row / group) + 1 : count;
        const begin = window > 0 ? Math.max(0, end - window) : 0;
        const scores = Array.from({ length: end - begin }, (_, i) => {
          let sum = 0;
          for (let d = 0; d < dim; d++) sum += q[row * dim + d]! * k[(begin + i) * dim + d]!;
          return sum * scale;
        });
        const all = hasSinks ? [...scores, sinks[row % group]!] : scores;
        const most = Math.max(...all);
        const total = all.reduce((sum, s) => sum + Math.exp(s - most), 0);
        for (let d = 0; d < valueDim; d++)
          result[row * valueDim + d] = scores.reduce(
            (sum, s, i) => sum + (Math.exp(s - most) / total) * v[(begin + i) * valueDim + d]!,
            0,
          );
      }
      return result;
    };
    expect(worst(attend(place[1], place[2], [0, 0], 4), expected(keys, values))).toBeLessThan(3e-6);
    // The same from codes with a scale for each key and value.
    const coded = (x: Float32Array, width: number): [codes: number, scales: number, values: Float32Array] => {
      const [codes, scales, back] = [
        at.allocate(x.length),
        at.allocate(4 * count),
        at.allocate(4 * x.length),
      ];
      const src = at.put(x);
      const places = { codes, scales, rows: count, cols: width, blockCols: width };
      const matrix = at.putMatrix(matrixOf({ format: 0, scaleType: 1, ...places }));
      at.kernels.quantize(matrix, 0, src, 1, 0, 127);
      at.kernels.dequantize(matrix, 0, back);
      return [codes, scales, at.floats(back, x.length)];
    };
    const [k, kScales, kValues] = coded(keys, dim);
    const [v, vScales, vValues] = coded(values, valueDim);
    expect(worst(attend(k, v, [kScales, vScales], 1), expected(kValues, vValues))).toBeLessThan(3e-6);
  });

  test("attention far out: scores of any size, and none that is not a number", async () => {
    const at = await fresh();
    const q = Float32Array.of(300, 0, 0, 0);
    const keys = Float32Array.of(1, 0, 0, 0, -1, 0, 0, 0, 1, 0, 0, 0);
    const values = Float32Array.of(1, 2, 3, 4, 9, 9, 9, 9, 3, 4, 5, 6);
    const [out, work] = [at.allocate(16), at.allocate(at.kernels.attentionWorkspace(1, 4, 4))];
    const [a, b, c] = [at.put(q), at.put(keys), at.put(values)];
    const queries = { out, outTokenStride: 16, outHeadStride: 16, q: a, qTokenStride: 16, qHeadStride: 16 };
    const plain = { keyScales: 0, valueScales: 0, scaleStride: 0, window: 0, sinks: 0 };
    const cached = { keys: b, keyStride: 16, values: c, valueStride: 16, count: 3, dim: 4, valueDim: 4 };
    const call = { ...queries, ...plain, ...cached, tokens: 1, group: 1, isCausal: 1, scale: 1, work };
    at.kernels.attend(at.putRecord(ATTENTION_CALL, call));
    expect([...at.floats(out, 4)]).toEqual([2, 3, 4, 5]);
  });

  test("routing: softmax of all, of the chosen, and sigmoid with groups and a correction", async () => {
    const at = await fresh();
    const [tokens, experts, chosen] = [5, 12, 3];
    const logits = randomNormal(1, tokens * experts).map((x) => 2 * x);
    const bias = randomNormal(2, experts).map((x) => x / 4);
    const [l, b] = [at.put(logits), at.put(bias)];
    const [indices, weights] = [at.allocate(4 * tokens * chosen), at.allocate(4 * tokens * chosen)];
    const work = at.allocate(8 * experts + 64);
    for (const kind of ["softmax", "softmaxOfChosen", "sigmoid"] as const) {
      const groups = kind === "sigmoid" ? 4 : 1;
      const isNormalized = kind === "softmaxOfChosen" ? 0 : 1;
      // biome-ignore format: a table of arguments
      at.kernels.route(at.putRecord(ROUTING_CALL, {
        kind: ROUTING_ID[kind], indices, weights, logits: l, tokens, experts, chosen,
        bias: kind === "sigmoid" ? b : 0, groups, chosenGroups: 2, isNormalized, factor: 2.5, work,
      }));
      for (let token = 0; token < tokens; token++) {
        const row = Array.from(logits.subarray(token * experts, (token + 1) * experts));
        const total = row.reduce((sum, x) => sum + Math.exp(x), 0);
        const scores = row.map((x) =>
          kind === "softmax" ? Math.exp(x) / total : kind === "sigmoid" ? 1 / (1 + Math.exp(-x)) : x,
        );
        let choice = scores.map((x, e) => x + (kind === "sigmoid" ? bias[e]! : 0));
        if (groups > 1) {
          const size = experts / groups;
          const sums = Array.from({ length: groups }, (_, g) =>
            choice
              .slice(g * size, (g + 1) * size)
              .sort((x, y) => y - x)
              .slice(0, 2)
              .reduce((x, y) => x + y),
          );
          const kept = sums
            .map((_, g) => g)
            .sort((x, y) => sums[y]! - sums[x]!)
            .slice(0, 2);
          choice = choice.map((x, e) => (kept.includes(Math.floor(e / size)) ? x : 0));
        }
        const order = choice
          .map((_, e) => e)
          .sort((x, y) => choice[y]! - choice[x]!)
          .slice(0, chosen);
        expect([...at.ints(indices + 4 * token * chosen, chosen)]).toEqual(order);
        const raw = order.map((e) => (kind === "softmaxOfChosen" ? Math.exp(scores[e]!) : scores[e]!));
        const sum = raw.reduce((x, y) => x + y);
        const found = at.floats(weights + 4 * token * chosen, chosen);
        expect(
          worst(
            found,
            raw.map((x) => (2.5 * x) / sum),
          ),
        ).toBeLessThan(1e-6);
      }
    }
  });
});
