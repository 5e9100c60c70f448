import { describe, expect, test } from "vitest";
import { ATTENTION_CALL, ROUTING_CALL } from "../../src/model/calls.ts";
import { ROUTING_ID } from "../../src/model/kernels.ts";
import { matrixRecord } from "../../src/wasm/matrix.ts";
import { largestDifference } from "../support/differences.ts";
import { emptyKernels, MODEL_BUILDS } from "../support/model-instances.ts";
import { randomNormal } from "../support/random.ts";

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

describe.each(MODEL_BUILDS)("%s", (build) => {
  const fresh = emptyKernels(build);

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
    expect(largestDifference(attend(place[1], place[2], [0, 0], 4), expected(keys, values))).toBeLessThan(
      3e-6,
    );
    // The same from codes with a scale for each key and value.
    const coded = (x: Float32Array, width: number): [codes: number, scales: number, values: Float32Array] => {
      const [codes, scales, back] = [
        at.allocate(x.length),
        at.allocate(4 * count),
        at.allocate(4 * x.length),
      ];
      const src = at.put(x);
      const places = { codes, scales, rows: count, cols: width, blockCols: width };
      const matrix = at.putMatrix(matrixRecord({ format: 0, scaleType: 1, ...places }));
      at.kernels.quantize(matrix, 0, src, 1, 0, 127);
      at.kernels.dequantize(matrix, 0, back);
      return [codes, scales, at.floats(back, x.length)];
    };
    const [k, kScales, kValues] = coded(keys, dim);
    const [v, vScales, vValues] = coded(values, valueDim);
    expect(largestDifference(attend(k, v, [kScales, vScales], 1), expected(kValues, vValues))).toBeLessThan(
      3e-6,
    );
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
          largestDifference(
            found,
            raw.map((x) => (2.5 * x) / sum),
          ),
        ).toBeLessThan(1e-6);
      }
    }
  });
});
