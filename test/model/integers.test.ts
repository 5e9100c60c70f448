import { describe, expect, test } from "vitest";
import { openModel } from "../../src/model/open.ts";
import { int7Matrix } from "../../src/products/pack-integers.ts";
import { INT8_CODES, matrixRecord } from "../../src/wasm/matrix.ts";
import { integerProduct, roundedRow } from "../reference/integers.ts";
import { type KernelMemory, MODEL_BUILDS, openKernels } from "../support/model-instances.ts";
import { answersOf, DECODERS, decibels, ENCODERS, filesOf } from "../support/models.ts";
import { randomNormal } from "../support/random.ts";

const trueDots = await Promise.all(
  MODEL_BUILDS.map(async (build) => (await openKernels(build)).kernels.hasTrueDots() === 1),
);

const BLOCK = 32;
/** The product as it is defined: exact sums of blocks, unfused float32 after them. */
function product(
  x: Float32Array,
  w: Float32Array,
  [m, n, k]: readonly [number, number, number],
): Float32Array {
  const rows = (values: Float32Array, count: number, most: number) =>
    Array.from({ length: count }, (_, i) => roundedRow(values.subarray(i * k, (i + 1) * k), most, BLOCK));
  return integerProduct(rows(x, m, 127), rows(w, n, 63), BLOCK);
}

function multiply(
  at: KernelMemory,
  x: Float32Array,
  w: Float32Array,
  [m, n, k]: readonly [number, number, number],
): Float32Array {
  at.clear();
  const { kernels } = at;
  const packed = at.allocate(kernels.int7Bytes(n, k) >>> 0);
  const blocks = Math.ceil(k / BLOCK);
  const groups = Math.ceil(n / 12);
  const scales = packed + groups * 12 * BLOCK * blocks;
  for (let group = 0; group < groups; group++) {
    const rows = Math.min(12, n - 12 * group);
    const values = at.put(w.slice(12 * group * k, (12 * group + rows) * k));
    kernels.packInt7(packed + group * 12 * BLOCK * blocks, scales + 48 * group * blocks, values, rows, k);
  }
  const dst = at.allocate(4 * m * n);
  const codes = at.allocate(m * BLOCK * blocks + 16);
  const [xScales, offsets] = [at.allocate(4 * m * blocks), at.allocate(4 * m * blocks)];
  const work = at.allocate(kernels.integerWorkspace(m) >>> 0);
  const values = at.put(x);
  const rounded = { codes, scales: xScales, offsets, rows: m, cols: k, blockCols: BLOCK };
  const left = at.putMatrix(matrixRecord({ format: INT8_CODES, scaleType: 1, ...rounded }));
  const right = at.putMatrix(int7Matrix(packed, scales, n, k));
  kernels.quantizeInt8(left, 0, values, m);
  kernels.gemmIntegers(right, 0, dst, left, 0, m, work);
  return at.floats(dst, m * n);
}

/** Values with one outlier a block, all subnormal, zeros, and of every size. */
const KINDS: { readonly [name: string]: (seed: number, n: number) => Float32Array } = {
  normal: randomNormal,
  outliers: (seed, n) => randomNormal(seed, n).map((v, i) => (i % 32 === 7 ? 1000 * v : v)),
  subnormal: (seed, n) => randomNormal(seed, n).map((v) => v * 1e-40),
  zeros: (_, n) => new Float32Array(n),
  sizes: (seed, n) => randomNormal(seed, n).map((v, i) => v * 10 ** ((i % 60) - 30)),
  halves: (seed, n) => randomNormal(seed, n).map((v) => Math.round(4 * v) / 2),
};

/**
 * Builds whose integer products this engine computes as it should: V8 11 does not with
 * relaxed SIMD, which it hides behind a flag.
 */
const TRUE_BUILDS = MODEL_BUILDS.filter((_, i) => trueDots[i]);

test("the builds without relaxed SIMD compute integer products everywhere", () => {
  expect(TRUE_BUILDS).toEqual(expect.arrayContaining(["debug", "baseline"]));
  const [major] = process.versions.v8.split(".").map(Number);
  if (major! >= 12) expect(TRUE_BUILDS).toContain("relaxed");
});

describe.each(TRUE_BUILDS)("%s", (build) => {
  let bench: KernelMemory | undefined;
  const SHAPES = [
    [1, 1, 1],
    [1, 12, 32],
    [1, 13, 33],
    [2, 11, 31],
    [3, 24, 64],
    [4, 25, 95],
    [5, 36, 96],
    [7, 5, 257],
    [13, 40, 128],
  ] as const;

  test.each(Object.keys(KINDS))("products of %s values are the definition's, to the bit", async (kind) => {
    bench ??= await openKernels(build);
    for (const shape of SHAPES) {
      const [m, n, k] = shape;
      const x = KINDS[kind]!(m + k, m * k);
      const w = KINDS[kind === "outliers" ? "outliers" : "normal"]!(n, n * k);
      expect(multiply(bench, x, w, shape), `${shape}`).toEqual(product(x, w, shape));
    }
  });

  test("no product is further off than the bound says", async () => {
    bench ??= await openKernels(build);
    for (const kind of Object.keys(KINDS)) {
      const shape = [3, 12, 64] as const;
      const [m, n, k] = shape;
      const x = KINDS[kind]!(1, m * k);
      const w = KINDS[kind === "sizes" ? "normal" : kind]!(2, n * k);
      const found = multiply(bench, x, w, shape);
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let exact = 0;
          let bound = 1e-20;
          for (let b = 0; b < k; b += BLOCK) {
            const [xs, ws] = [
              x.subarray(i * k + b, i * k + b + BLOCK),
              w.subarray(j * k + b, j * k + b + BLOCK),
            ];
            xs.forEach((v, c) => {
              exact += v * ws[c]!;
            });
            const amax = (v: Float32Array) => v.reduce((a, y) => Math.max(a, Math.abs(y)), 0);
            bound += 32 * amax(xs) * amax(ws) * (1 / 254 + 1 / 126 + 1 / (254 * 126) + 1e-5);
          }
          expect(Math.abs(found[i * n + j]! - exact), kind).toBeLessThanOrEqual(bound);
        }
      }
    }
  });

  test("NaN and Inf in x or w make the results that they belong to NaN", async () => {
    bench ??= await openKernels(build);
    for (const bad of [Number.NaN, Infinity, -Infinity]) {
      const x = randomNormal(1, 2 * 40);
      const w = randomNormal(2, 13 * 40);
      x[43] = bad;
      const ofX = multiply(bench, x, w, [2, 13, 40]);
      expect(Array.from(ofX, Number.isNaN)).toEqual(Array.from({ length: 26 }, (_, i) => i >= 13));
      x[43] = 1;
      w[12 * 40 + 39] = bad;
      const ofW = multiply(bench, x, w, [2, 13, 40]);
      expect(Array.from(ofW, Number.isNaN)).toEqual(Array.from({ length: 26 }, (_, i) => i % 13 === 12));
    }
  });
});

test("a Gaussian product keeps 30 dB and more of the values' own", async () => {
  const shape = [8, 96, 512] as const;
  const [m, n, k] = shape;
  const [x, w] = [randomNormal(1, m * k), randomNormal(2, n * k)];
  const exact = Float32Array.from({ length: m * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    let sum = 0;
    for (let c = 0; c < k; c++) sum += x[i * k + c]! * w[j * k + c]!;
    return sum;
  });
  expect(decibels(exact, multiply(await openKernels("baseline"), x, w, shape))).toBeGreaterThan(36);
});

describe("models of E4M3 codes with int8 activations", () => {
  test.each(DECODERS)("%s is near the original, and the same with any number of threads", async (name) => {
    const answers = await answersOf(name);
    const ids = answers.ints("ids").subarray(0, 33);
    const exact = await openModel(filesOf(name));
    const expected = await exact.logits(ids);
    await exact.close();
    const one = await openModel(filesOf(name), { activations: "int8" });
    const logits = await one.logits(ids);
    await one.close();
    expect(decibels(expected, logits)).toBeGreaterThan(/moe|deepseek|oss/.test(name) ? 5 : 28);
    const two = await openModel(filesOf(name), { activations: "int8", threads: 2 });
    expect(await two.logits(ids)).toEqual(logits);
    await two.close();
  });
});

describe("models of integers", () => {
  test.each(DECODERS)("%s is near the original, and the same with any number of threads", async (name) => {
    const answers = await answersOf(name);
    const ids = answers.ints("ids").subarray(0, 33);
    const expected = answers.floats("logits").subarray(0, answers.floats("logits").length / 2);
    const one = await openModel(filesOf(name), { weights: "int7" });
    const logits = await one.logits(ids);
    await one.close();
    // A router that chooses another expert for a token changes more than rounding does.
    expect(decibels(expected, logits)).toBeGreaterThan(/moe|deepseek|oss/.test(name) ? 5 : 20);
    const three = await openModel(filesOf(name), { weights: "int7", threads: 3 });
    expect(await three.logits(ids)).toEqual(logits);
    await three.close();
  });

  test.each(ENCODERS)("%s", async (name) => {
    const answers = await answersOf(name);
    const ids = answers.ints("ids").subarray(0, 33);
    const model = await openModel(filesOf(name), { weights: "int7" });
    const [vector] = await model.embed([ids], { pooling: "mean" });
    await model.close();
    expect(decibels(answers.floats("mean").subarray(0, 128), vector!)).toBeGreaterThan(25);
  });
});
