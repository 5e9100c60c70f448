import { beforeAll, describe, expect, test } from "vitest";
import { load } from "../../src/load.ts";
import type { Format } from "../../src/tensor/tensor.ts";
import { RANDOM_STREAM } from "../../src/train/calls.ts";
import type { TrainKernels } from "../../src/train/kernels.ts";
import { stochasticCast } from "../../src/train/stochastic-cast.ts";
import { matrixRecord } from "../../src/wasm/matrix.ts";
import { MODEL_BUILDS, openKernels } from "../support/model-instances.ts";
import { randomNormal } from "../support/random.ts";

/** Philox 4x32-10, from its paper. */
function philox(counter: readonly number[], key: readonly number[]): number[] {
  let [c0, c1, c2, c3] = counter as [number, number, number, number];
  let [k0, k1] = key as [number, number];
  for (let round = 0; round < 10; round++) {
    const a = BigInt(c0) * 0xd2511f53n;
    const b = BigInt(c2) * 0xcd9e8d57n;
    const [aHigh, aLow, bHigh, bLow] = [a >> 32n, a & 0xffffffffn, b >> 32n, b & 0xffffffffn].map(Number) as [
      number,
      number,
      number,
      number,
    ];
    [c0, c1, c2, c3] = [(bHigh ^ c1 ^ k0) >>> 0, bLow, (aHigh ^ c3 ^ k1) >>> 0, aLow];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

test("the definition gives the published answers", () => {
  // kat_vectors of Random123.
  expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  const ones = 0xffffffff;
  expect(philox([ones, ones, ones, ones], [ones, ones])).toEqual([
    0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
  ]);
  expect(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toEqual([
    0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
  ]);
});

/** The finite magnitudes of a format, by code. */
const magnitudes = new Map<Format, number[]>();
beforeAll(async () => {
  const fp8 = await load();
  const codes = Uint8Array.from({ length: 128 }, (_, i) => i);
  for (const format of ["e4m3", "e5m2"] as const)
    magnitudes.set(format, [...fp8.decode(codes, format)].filter(Number.isFinite));
  magnitudes.set("e2m1", [0, 0.5, 1, 1.5, 2, 3, 4, 6]);
});

/** The code of x that a random word leads to. */
function byChance(format: Format, x: number, word: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 128 : 0;
  const values = magnitudes.get(format)!;
  const size = Math.abs(x);
  const above = values.findIndex((value) => value >= size);
  if (above < 0) return sign + values.length - 1;
  if (values[above] === size) return sign + above;
  const low = values[above - 1]!;
  const way = (size - low) / (values[above]! - low);
  return sign + (way + word / 2 ** 32 >= 1 ? above : above - 1);
}

describe.each(["e4m3", "e5m2", "e2m1"] as const)("to %s", (format) => {
  test("each value goes where its word says", () => {
    const largest = magnitudes.get(format)!.at(-1)!;
    const x = Float32Array.from(randomNormal(3, 5003), (value, i) =>
      i % 100 === 0 ? value * largest * 2 : value * largest * 2 ** -(i % 24),
    );
    x.set([0, -0, largest, -largest, Infinity, -Infinity, 2 ** -40, -(2 ** -149)]);
    const codes = stochasticCast()(x, format, { seed: 7, stream: 4000000000, step: 9 });
    const expected = Uint8Array.from(x, (value, i) => {
      const words = philox([i >> 2, 4000000000, 9, 0], [7, 0]);
      return byChance(format, value, words[i & 3]!);
    });
    expect(codes).toEqual(expected);
  });

  test("codes stay what they are, and NaN stays", () => {
    const values = magnitudes.get(format)!;
    const x = Float32Array.from([...values, ...values.map((value) => -value)]);
    const codes = values.map((_, i) => i);
    expect([...stochasticCast()(x, format)]).toEqual([...codes, ...codes.map((code) => code + 128)]);
    if (format !== "e2m1") expect(stochasticCast()(Float32Array.of(Number.NaN), format)[0]! & 127).toBe(127);
  });

  test("a value is what is expected of it", () => {
    const values = magnitudes.get(format)!;
    const n = 2 ** 16;
    for (const [at, way] of [
      [0, 0.25],
      [1, 0.5],
      [values.length - 2, 0.9],
    ] as const) {
      const [low, high] = [values[at]!, values[at + 1]!];
      const x = Math.fround(low + way * (high - low));
      const codes = stochasticCast()(new Float32Array(n).fill(x), format, { seed: at });
      const up = codes.filter((code) => code === at + 1).length;
      expect(codes.every((code) => code === at || code === at + 1)).toBe(true);
      const chance = (x - low) / (high - low);
      expect(Math.abs(up - n * chance)).toBeLessThan(4 * Math.sqrt(n * chance * (1 - chance)));
    }
  });
});

test("other seeds, streams and steps round otherwise, the same ones alike", () => {
  const x = randomNormal(1, 1000);
  const cast = stochasticCast();
  const first = cast(x, "e4m3", { seed: 1 });
  expect(cast(x, "e4m3", { seed: 1 })).toEqual(first);
  for (const words of [{ seed: 2 }, { seed: 1, stream: 1 }, { seed: 1, step: 1 }])
    expect(cast(x, "e4m3", words)).not.toEqual(first);
  expect(() => cast(x, "e4m3", { seed: -1 })).toThrow(/stochasticCast: seed/);
  expect(() => cast(x, "fp8" as never)).toThrow(/e4m3/);
  expect(() => cast([1] as never, "e4m3")).toThrow(/Float32Array/);
});

describe.each(MODEL_BUILDS)("%s", (build) => {
  test("blocks are rounded by chance alike from any row on", async () => {
    const bench = await openKernels(build);
    const kernels = bench.kernels as TrainKernels;
    const [rows, cols] = [6, 70];
    const x = randomNormal(5, rows * cols).map((value) => value * 1e-3);
    const [src, dst, part] = [bench.put(x), bench.allocate(4 * rows * cols), bench.allocate(4 * 2 * cols)];
    const work = bench.allocate(kernels.roundWorkspace(cols, 1));
    const [codes, scales, one] = [bench.allocate(rows * cols), bench.allocate(rows * 3), bench.allocate(4)];
    for (const format of [0, 1, 2] as const) {
      const draws = bench.putRecord(RANDOM_STREAM, { seed: 1, stream: 2, step: 3, microBatch: 4 });
      const fields = { format, scaleType: 0, codes, scales, cols, blockCols: 32 } as const;
      const whole = bench.putMatrix(matrixRecord({ ...fields, rows }));
      kernels.roundBlocksStochastic(whole, dst, src, 1, 0, draws, work);
      const rowsOfPart = bench.putMatrix(matrixRecord({ ...fields, rows: 2 }));
      kernels.roundBlocksStochastic(rowsOfPart, part, src + 4 * 3 * cols, 1, 3, draws, work);
      const found = bench.floats(dst, rows * cols);
      expect(bench.floats(part, 2 * cols)).toEqual(found.subarray(3 * cols, 5 * cols));
      kernels.quantize(whole, 0, src, 1, 0, 127);
      const exponents = bench.bytes(scales, rows * 3);
      for (let i = 0; i < found.length; i++) {
        const byte = exponents[Math.floor(i / cols) * 3 + Math.floor((i % cols) / 32)]!;
        kernels.roundStochastic(format, one, src + 4 * i, 1, byte - 127, i, draws);
        expect(found[i]).toBe(bench.floats(one, 1)[0]);
      }
    }
  });

  test("NVFP4 with a float32 for each row", async () => {
    const fp8 = await load();
    const bench = await openKernels(build);
    const kernels = bench.kernels as TrainKernels;
    const [rows, cols] = [3, 40];
    const x = randomNormal(6, rows * cols).map((value, i) => value * 10 ** -(i % 5));
    x.fill(0, 2 * cols);
    const [src, dst, work] = [
      bench.put(x),
      bench.allocate(4 * rows * cols),
      bench.allocate(kernels.roundWorkspace(cols, 1)),
    ];
    kernels.roundNvfp4(dst, src, rows, cols, 0, 0, work);
    const f = Math.fround;
    const amaxOf = (values: Float32Array) =>
      values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const expected = Float32Array.from(x, (value, i) => {
      const row = x.subarray(i - (i % cols), i - (i % cols) + cols);
      const outer = f(amaxOf(row) / (448 * 6));
      const from = (i % cols) - ((i % cols) % 16);
      const amax = amaxOf(row.subarray(from, from + 16));
      const ratio = Float32Array.of(outer === 0 ? 0 : f(f(amax / 6) / outer));
      const scale = f(fp8.decode(fp8.encode(ratio, "e4m3"), "e4m3")[0]! * outer);
      if (scale === 0) return 0;
      const code = fp8.encode(Float32Array.of(f(value / scale)), "e2m1")[0]!;
      const magnitude = [0, 0.5, 1, 1.5, 2, 3, 4, 6][code & 7]!;
      return f((code & 8 || code & 128 ? -magnitude : magnitude) * scale);
    });
    expect(bench.floats(dst, rows * cols).map((value) => value + 0)).toEqual(
      expected.map((value) => value + 0),
    );
    // By chance: one of the two neighbours, which are no further apart than 2 of the scale.
    const draws = bench.putRecord(RANDOM_STREAM, { seed: 1, stream: 2, step: 3, microBatch: 0 });
    kernels.roundNvfp4(dst, src, rows, cols, 0, draws, work);
    const chance = bench.floats(dst, rows * cols);
    expect(chance).not.toEqual(expected);
    for (const [i, value] of chance.entries()) {
      const row = amaxOf(x.subarray(i - (i % cols), i - (i % cols) + cols));
      expect(Math.abs(value - x[i]!)).toBeLessThanOrEqual(row / 2);
    }
  });

  test("a Hadamard matrix leaves products what they are", async () => {
    const bench = await openKernels(build);
    const kernels = bench.kernels as TrainKernels;
    const [a, b] = [randomNormal(1, 2 * 40), randomNormal(2, 2 * 40)];
    const places = [bench.put(a), bench.put(b)] as const;
    const draws = bench.putRecord(RANDOM_STREAM, { seed: 5, stream: 6, step: 7, microBatch: 0 });
    for (const place of places) kernels.hadamard(place, 2, 40, draws);
    const [x, y] = places.map((place) => bench.floats(place, 80)) as [Float32Array, Float32Array];
    const dot = (p: Float32Array, q: Float32Array, from: number, to: number) =>
      p.subarray(from, to).reduce((sum, value, i) => sum + value * q[from + i]!, 0);
    for (const from of [0, 16, 40, 56])
      expect(dot(x, y, from, from + 16)).toBeCloseTo(dot(a, b, from, from + 16), 4);
    expect(x.subarray(32, 40)).toEqual(a.subarray(32, 40));
    expect(x.subarray(0, 16)).not.toEqual(a.subarray(0, 16));
  });
});
