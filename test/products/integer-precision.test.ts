import { describe, expect, test } from "vitest";
import { load } from "../../dist/index.js";
import type { Engine } from "../../src/engine/engine.ts";
import { load as loadJs } from "../../src/plain-js.ts";
import { enginesWithTrueDots } from "../support/engines.ts";
import { decibels } from "../support/models.ts";
import { randomNormal } from "../support/random.ts";

const js = await loadJs();
const INT8 = { activations: "int8" } as const;

type Values = (seed: number, n: number) => Float32Array;

const KINDS: { readonly [name: string]: Values } = {
  normal: randomNormal,
  outliers: (seed, n) => randomNormal(seed, n).map((v, i) => (i % 32 === 7 ? 1000 * v : v)),
  subnormal: (seed, n) => randomNormal(seed, n).map((v) => v * 1e-40),
  zeros: (_, n) => new Float32Array(n),
  sizes: (seed, n) => randomNormal(seed, n).map((v, i) => v * 10 ** ((i % 40) - 22)),
};

describe.each(await enginesWithTrueDots())("%s", (_name, engine) => {
  test.each(Object.keys(KINDS))("%s values stay within the bound", (kind) => {
    for (const [name, width] of [
      ["mxfp8", 32],
      ["deepseekV3Weight", 128],
      ["mxfp4", 32],
    ] as const) {
      const [m, n, k] = [3, 12, 3 * width];
      const x = KINDS[kind]!(1, m * k);
      const source = KINDS[kind]!(2, n * k);
      const w = js.quantize(source, [n, k], name);
      const values = js.dequantize(w);
      const found = engine.gemm({ values: x, shape: [m, k] }, w, INT8);
      expectWithin(found, [x, values], [m, n, k], width, (i) => {
        const at =
          Math.floor(Math.floor(i / k) / w.block[0]) * Math.ceil(k / w.block[1]) +
          Math.floor((i % k) / w.block[1]);
        const scale = w.scales instanceof Float32Array ? w.scales[at]! : 2 ** (w.scales[at]! - 127);
        return name === "mxfp4" || Math.abs(values[i]!) >= scale / 2 ? 0 : scale / 32;
      });
      const packed = engine.pack(w, { weights: "int7" });
      const amaxes = blockAmaxes(values, 32);
      const ofIntegers = engine.gemm({ values: x, shape: [m, k] }, packed);
      expectWithin(ofIntegers, [x, values], [m, n, k], 32, (i) => errorOf(amaxes[Math.floor(i / 32)]!, 126));
      packed.free();
    }
  });
});

function blockAmaxes(values: Float32Array, width: number): number[] {
  return Array.from({ length: values.length / width }, (_, b) =>
    values.subarray(width * b, width * b + width).reduce((a, v) => Math.max(a, Math.abs(v)), 0),
  );
}

/** How far a value of a block can be from its integer; all of it, where the block counts as zero. */
function errorOf(amax: number, twice: number): number {
  return amax < 1.0001e-30 ? amax : (amax / twice) * (1 + 2 ** -15);
}

/** The bound that the kernel gives, x being in blocks of `width` columns. */
function expectWithin(
  found: Float32Array,
  [x, w]: readonly [Float32Array, Float32Array],
  [m, n, k]: readonly [number, number, number],
  width: number,
  errorOfWeight: (i: number) => number,
): void {
  const amaxes = blockAmaxes(x, width);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let exact = 0;
      let bound = 1e-40;
      for (let c = 0; c < k; c++) {
        const [a, b] = [x[i * k + c]!, w[j * k + c]!];
        const dx = errorOf(amaxes[Math.floor((i * k + c) / width)]!, 254);
        const dw = errorOfWeight(j * k + c);
        exact += a * b;
        bound += Math.abs(a) * dw + dx * Math.abs(b) + dx * dw;
        bound += 2 ** -20 * (Math.abs(a) + dx) * (Math.abs(b) + dw);
      }
      expect(Math.abs(found[i * n + j]! - exact)).toBeLessThanOrEqual(bound);
    }
  }
}

/** Student's t with so many degrees of freedom: heavy tails. */
function student(seed: number, n: number, degrees: number): Float32Array {
  const normal = randomNormal(seed, n * (degrees + 1));
  return Float32Array.from({ length: n }, (_, i) => {
    let chi = 0;
    for (let d = 1; d <= degrees; d++) chi += normal[i * (degrees + 1) + d]! ** 2;
    return normal[i * (degrees + 1)]! / Math.sqrt(chi / degrees);
  });
}

/** SQNR of products of the original values, in dB. */
function qualityOf(engine: Engine, draw: Values): { [way: string]: number } {
  const [m, n, k] = [32, 96, 1024];
  const [x, original] = [draw(11, m * k), draw(12, n * k)];
  const exact = Float32Array.from({ length: m * n }, (_, at) => {
    let sum = 0;
    for (let c = 0; c < k; c++) sum += x[Math.floor(at / n) * k + c]! * original[(at % n) * k + c]!;
    return sum;
  });
  const left = { values: x, shape: [m, k] };
  const w = engine.quantize(original, [n, k], "deepseekV3Weight");
  const fromCodes = engine.pack(w, { weights: "int7" });
  const fromValues = engine.pack({ values: original, shape: [n, k] }, { weights: "int7" });
  const rounded = engine.quantize(x, [m, k], "deepseekActivation");
  const ways = {
    "E4M3 x float32": engine.gemm(left, w),
    "E4M3 x int8, two planes": engine.gemm(left, w, INT8),
    "int7 of E4M3 x int8": engine.gemm(left, fromCodes),
    "int7 of the values x int8": engine.gemm(left, fromValues),
    "E4M3 x E4M3": engine.gemm(rounded, w),
  };
  fromCodes.free();
  fromValues.free();
  return Object.fromEntries(Object.entries(ways).map(([way, y]) => [way, decibels(exact, y)]));
}

test.each([
  ["Gaussian", randomNormal],
  ["Student t5", (seed: number, n: number) => student(seed, n, 5)],
  ["Student t3", (seed: number, n: number) => student(seed, n, 3)],
] as const)("%s: integers keep more than E4M3 activations", async (_, draw) => {
  const quality = qualityOf((await load({ variant: "baseline" })) as never, draw);
  expect(quality["int7 of E4M3 x int8"]).toBeGreaterThan(quality["E4M3 x E4M3"]! + 0.5);
  expect(quality["E4M3 x int8, two planes"]).toBeGreaterThan(quality["E4M3 x float32"]! - 1.1);
  expect(quality["E4M3 x int8, two planes"]).toBeGreaterThan(quality["E4M3 x E4M3"]! + 2);
});
