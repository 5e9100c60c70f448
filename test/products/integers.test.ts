import { afterAll, describe, expect, test } from "vitest";
import { load, type ThreadedEngine } from "../../dist/index.js";
import { load as loadJs } from "../../src/plain-js.ts";
import type { PackOptions } from "../../src/products/packed.ts";
import type { GemmActivations } from "../../src/products/products.ts";
import { bf16 } from "../../src/tensor/halves.ts";
import { type SchemeName, schemes } from "../../src/tensor/schemes.ts";
import type { BlockScaled } from "../../src/tensor/tensor.ts";
import { integerProduct, type RoundedRow, roundedRow } from "../reference/integers.ts";
import { enginesWithTrueDots } from "../support/engines.ts";
import { randomNormal } from "../support/random.ts";

const js = await loadJs();
const INT8 = { activations: "int8" } as const;

const TRUE_ENGINES = await enginesWithTrueDots();

test("all builds without relaxed SIMD have true dots", () => {
  expect(TRUE_ENGINES.map(([name]) => name)).toEqual(expect.arrayContaining(["debug", "baseline", "js"]));
});

/** Schemes of weights, and columns that share a scale of x; 128 where rows are whole blocks of so many. */
const SCHEMES: readonly (readonly [SchemeName, number])[] = [
  ["mxfp8", 32],
  ["deepseekWeight", 128],
  ["deepseekV3Weight", 128],
  ["mxfp4", 32],
  ["nvfp4", 16],
];

const SHAPES = [
  [1, 13, 96],
  [1, 49, 96],
  [2, 12, 32],
  [3, 25, 160],
  [7, 11, 80],
  [5, 30, 1120],
  [4, 13, 1280],
] as const;

const widthOf = (width: number, k: number): number => (width === 128 && k % 128 !== 0 ? 32 : width);

const unscaled = js.decode(
  Uint8Array.from({ length: 256 }, (_, code) => code),
  "e4m3",
);

/** A row of weights as integers in sixteenths of their scale, by the definition. */
function planesOf(w: BlockScaled, row: number, width: number): RoundedRow {
  const k = w.shape.at(-1)!;
  const gridCols = Math.ceil(k / w.block[1]);
  const values =
    w.format === "e2m1"
      ? js.decode(w.codes, "e2m1").subarray(row * k, (row + 1) * k)
      : Array.from(w.codes.subarray(row * k, (row + 1) * k), (code) => unscaled[code]!);
  // A code's value times its scale, over its value.
  const scales = Array.from({ length: Math.ceil(k / width) }, (_, b) => {
    const at = Math.floor(row / w.block[0]) * gridCols + Math.floor((b * width) / w.block[1]);
    const scale = w.scales[at]!;
    if (w.tensorScale !== undefined) return Math.fround(unscaled[scale]! * Math.fround(w.tensorScale)) / 16;
    return (w.scales instanceof Float32Array ? scale : 2 ** (scale - 127)) / 16;
  });
  return { integers: Array.from(values, (v) => Math.floor(16 * v + 0.5)), scales };
}

function rowsOf(x: Float32Array, rows: number, most: number, width: number): RoundedRow[] {
  const k = x.length / rows;
  return Array.from({ length: rows }, (_, i) => roundedRow(x.subarray(i * k, (i + 1) * k), most, width));
}

describe.each(TRUE_ENGINES)("%s", (_name, engine) => {
  test.each(SCHEMES)("%s with int8 activations is the definition's product, to the bit", (name, widest) => {
    for (const [m, n, k] of SHAPES) {
      const width = widthOf(widest, k);
      const x = { values: randomNormal(m + k, m * k), shape: [m, k] };
      const w = js.quantize(randomNormal(n, n * k), [n, k], name);
      const rows = Array.from({ length: n }, (_, row) => planesOf(w, row, width));
      const want = integerProduct(rowsOf(x.values, m, 127, width), rows, width);
      expect(engine.gemm(x, w, INT8), `${[m, n, k]}`).toEqual(want);
      const packed = engine.pack(w, INT8);
      expect(engine.gemm(x, packed, INT8), `${[m, n, k]} packed`).toEqual(want);
      packed.free();
    }
  });

  test.each(SCHEMES)("%s as integers of 7 bits", (name) => {
    for (const [m, n, k] of SHAPES) {
      const x = { values: randomNormal(m + k, m * k), shape: [m, k] };
      const w = js.quantize(randomNormal(n, n * k), [n, k], name);
      const want = integerProduct(rowsOf(x.values, m, 127, 32), rowsOf(js.dequantize(w), n, 63, 32), 32);
      const packed = engine.pack(w, { weights: "int7" });
      expect(engine.gemm(x, packed)).toEqual(want);
      packed.free();
    }
  });

  test("every E4M3 code in its two planes, and every E2M1 code", () => {
    const [n, k] = [256, 32];
    const codes = new Uint8Array(n * k);
    for (let code = 0; code < n; code++) codes[code * k + (code % k)] = code;
    const w: BlockScaled = {
      format: "e4m3",
      shape: [n, k],
      block: [1, 32],
      codes,
      scales: new Uint8Array(n).fill(127),
    };
    const x = { values: new Float32Array(k).fill(127), shape: [1, k] };
    const want = Float32Array.from(unscaled, (v) => (127 * Math.floor(16 * v + 0.5)) / 16);
    expect(engine.gemm(x, w, INT8)).toEqual(want);
    const fp4: BlockScaled = {
      format: "e2m1",
      shape: [16, k],
      block: [1, 32],
      codes: Uint8Array.from({ length: (16 * k) / 2 }, (_, i) =>
        i % 16 === 3 ? Math.floor(i / 16) * 16 : 0,
      ),
      scales: new Uint8Array(16).fill(127),
    };
    const packed = engine.pack(fp4, INT8);
    const values = engine.decode(
      Uint8Array.from({ length: 8 }, (_, i) => 2 * i + 16 * (2 * i + 1)),
      "e2m1",
    );
    expect(engine.gemm(x, packed)).toEqual(values.map((v) => 127 * v + 0));
    packed.free();
  });

  test("layouts, experts, bfloat16, resident matrices and rounded x", () => {
    const [m, n, k] = [6, 26, 64];
    const x = { values: randomNormal(1, m * k), shape: [m, k] };
    const w = js.quantize(randomNormal(2, 3 * n * k), [3, n, k], "mxfp8");
    const experts = Int32Array.of(2, 2, 0, 0, 0, 1);
    const each = [0, 1, 2].map((e) =>
      engine.gemm(
        x,
        {
          ...w,
          shape: [n, k],
          codes: w.codes.slice(e * n * k, (e + 1) * n * k),
          scales: w.scales.slice((e * n * k) / 32, ((e + 1) * n * k) / 32),
        },
        INT8,
      ),
    );
    const want = Float32Array.from({ length: m * n }, (_, at) => each[experts[Math.floor(at / n)]!]![at]!);
    for (const options of [{}, { weights: "int7" }] as PackOptions[]) {
      const packed = engine.pack(w, options);
      const found = engine.gemm(x, packed, { ...INT8, experts });
      if (options.weights === undefined) expect(found).toEqual(want);
      const bits = engine.gemm(x, packed, { ...INT8, experts, type: "bf16" });
      const narrow = Float32Array.from(bits, (b) => new Float32Array(Uint32Array.of(b << 16).buffer)[0]!);
      expect(Math.max(...narrow.map((v, i) => Math.abs(v - found[i]!) / Math.abs(found[i]!)))).toBeLessThan(
        2 ** -8,
      );
      const rounded = engine.activations(x);
      expect(engine.gemm(rounded, packed, { experts })).toEqual(found);
      const out = engine.resident([m, n]);
      const resident = engine.resident(x);
      expect(engine.gemm(resident, packed, { ...INT8, experts, out }).read()).toEqual(found);
      for (const one of [packed, rounded, out, resident]) one.free();
      expect(() => engine.gemm(rounded, w, { experts })).toThrow(/freed/);
    }
    const across = js.quantize(randomNormal(3, k * n), [k, n], { ...schemes.mxfp8, block: [32, 1] });
    const transposed = engine.pack(across, { layout: "n", ...INT8 });
    expect(engine.gemm(x, across, { ...INT8, layout: "nn" })).toEqual(engine.gemm(x, transposed, INT8));
    transposed.free();
  });

  test("x in blocks of 128, and of 32 where the weights' are wider", () => {
    const [m, n, k] = [3, 14, 256];
    const x = { values: randomNormal(1, m * k), shape: [m, k] };
    const w = js.quantize(randomNormal(2, n * k), [n, k], "deepseekWeight");
    for (const block of [16, 32, 128] as const) {
      const rounded = engine.activations(x, { block });
      const rows = Array.from({ length: n }, (_, row) => planesOf(w, row, block));
      expect(engine.gemm(rounded, w)).toEqual(integerProduct(rowsOf(x.values, m, 127, block), rows, block));
      if (block !== 128) expect(engine.gemm(rounded, w)).not.toEqual(engine.gemm(x, w, INT8));
      rounded.free();
    }
  });

  test("values of float32 and bfloat16 become integers", () => {
    const [m, n, k] = [2, 14, 50];
    const x = { values: randomNormal(1, m * k), shape: [m, k] };
    const bits = Uint16Array.from(new Uint32Array(randomNormal(2, n * k).buffer), (word) => word >>> 16);
    const values = Float32Array.from(bits, (b) => new Float32Array(Uint32Array.of(b << 16).buffer)[0]!);
    const want = integerProduct(rowsOf(x.values, m, 127, 32), rowsOf(values, n, 63, 32), 32);
    for (const given of [values, bf16(bits)]) {
      const packed = engine.pack({ values: given, shape: [n, k] }, { weights: "int7" });
      expect(packed.shape).toEqual([n, k]);
      expect(engine.gemm(x, packed)).toEqual(want);
      packed.free();
    }
    const across = Float32Array.from(
      { length: n * k },
      (_, at) => values[(at % n) * k + Math.floor(at / n)]!,
    );
    const transposed = engine.pack({ values: across, shape: [k, n] }, { weights: "int7", layout: "n" });
    expect(engine.gemm(x, transposed)).toEqual(want);
    transposed.free();
  });

  test("NaN and Inf make NaN of what they meet", () => {
    const [m, n, k] = [3, 13, 64];
    const clean = randomNormal(2, n * k);
    for (const bad of [Number.NaN, Infinity, -Infinity]) {
      const x = randomNormal(1, m * k);
      const w = clean.slice();
      x[k + 5] = bad;
      w[4 * k + 40] = bad;
      const want = Array.from({ length: m * n }, (_, at) => Math.floor(at / n) === 1 || at % n === 4);
      for (const name of ["mxfp8", "mxfp4", "nvfp4"] as const) {
        const record = js.quantize(w, [n, k], name);
        for (const options of [INT8, { weights: "int7" }] as PackOptions[]) {
          const packed = engine.pack(record, options);
          const found = engine.gemm({ values: x, shape: [m, k] }, packed, INT8);
          expect(Array.from(found, Number.isNaN), `${name} ${JSON.stringify(options)}`).toEqual(want);
          packed.free();
        }
        expect(Array.from(engine.gemm({ values: x, shape: [m, k] }, record, INT8), Number.isNaN)).toEqual(
          want,
        );
      }
    }
    const codes = js.quantize(clean, [n, k], "mxfp8");
    codes.codes[4 * k + 1] = 0x7f;
    const found = engine.gemm({ values: randomNormal(1, m * k), shape: [m, k] }, codes, INT8);
    expect(Array.from(found, Number.isNaN)).toEqual(Array.from({ length: m * n }, (_, at) => at % n === 4));
  });

  test("what there is no product of says why", () => {
    const x = { values: new Float32Array(64), shape: [1, 64] };
    const e5m2 = js.quantize(new Float32Array(64), [1, 64], { ...schemes.mxfp8, format: "e5m2" });
    expect(() => engine.gemm(x, e5m2, INT8)).toThrow(/E5M2 take more than the two planes/);
    expect(() => engine.pack(e5m2, INT8)).toThrow(/float|"f32"/);
    const odd = js.quantize(new Float32Array(64), [1, 64], { ...schemes.mxfp8, block: [1, 24] });
    expect(() => engine.gemm(x, odd, INT8)).toThrow(/multiple of 16/);
    const packed = engine.pack(e5m2, { weights: "int7" });
    expect(() => engine.gemm(x, packed, { activations: "f32" })).toThrow(/integers/);
    expect(engine.gemm(x, packed, { activations: "auto" })).toEqual(new Float32Array(1));
    packed.free();
    const nvfp4 = js.quantize(new Float32Array(64), [1, 64], "nvfp4");
    const rounded = engine.activations(x);
    expect(() => engine.gemm(rounded, nvfp4)).toThrow(/block: 16/);
    expect(() => engine.gemm(rounded, nvfp4, { layout: "tt" })).toThrow(/layout|transpose/i);
    rounded.free();
    expect(() => engine.pack({ values: x.values, shape: [1, 64] })).toThrow(/int7/);
    expect(() => engine.gemm(x, nvfp4, { activations: "int4" as GemmActivations })).toThrow(/"int8"/);
    expect(() => engine.activations(x, { block: 8 as 16 })).toThrow(/16, 32 or 128/);
  });

  test('"auto" is one of both', () => {
    const [m, n, k] = [20, 12, 128];
    const x = { values: randomNormal(1, m * k), shape: [m, k] };
    const w = js.quantize(randomNormal(2, n * k), [n, k], "deepseekWeight");
    expect(["f32", "int8"]).toContain(engine.fasterActivations);
    for (const faster of ["f32", "int8"] as const) {
      engine.fasterActivations = faster;
      expect(engine.gemm(x, w, { activations: "auto" })).toEqual(engine.gemm(x, w, { activations: faster }));
      const few = { values: x.values.subarray(0, k), shape: [1, k] };
      expect(engine.gemm(few, w, { activations: "auto" })).toEqual(engine.gemm(few, w));
    }
  });
});

describe("threads", async () => {
  const single = await load({ variant: "baseline" });
  const threaded: ThreadedEngine = await load({ variant: "baseline", threads: 2 });
  afterAll(() => threaded.close());

  test.each(SCHEMES)("%s has the bits of one thread", async (name) => {
    const [m, n, k] = [17, 300, 160];
    const x = { values: randomNormal(1, m * k), shape: [m, k] };
    const w = single.quantize(randomNormal(2, n * k), [n, k], name);
    expect(await threaded.gemm(x, w, INT8)).toEqual(single.gemm(x, w, INT8));
    for (const options of [INT8, { weights: "int7" }] as PackOptions[]) {
      const [one, two] = [single.pack(w, options), await threaded.pack(w, options)];
      expect(await threaded.gemm(x, two, INT8)).toEqual(single.gemm(x, one));
      one.free();
      await two.free();
    }
    const auto = await threaded.gemm(x, w, { activations: "auto" });
    expect([single.gemm(x, w), single.gemm(x, w, INT8)]).toContainEqual(auto);
  });

  test("what one engine holds is for that one", async () => {
    const rounded = single.activations({ values: new Float32Array(32), shape: [1, 32] });
    const w = single.quantize(new Float32Array(32), [1, 32], "mxfp8");
    await expect(threaded.gemm(rounded, w)).rejects.toThrow(/memory of one engine/);
    expect(() => js.gemm(rounded as never, w)).toThrow();
    rounded.free();
  });
});
