import { describe, expect, it } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { cosine, EMPTY_PRECISION, type Precision, sqnr } from "../../src/engine/precision.ts";
import { bf16, f16 } from "../../src/tensor/halves.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import { ENGINES } from "../support/engines.ts";

/** The definition: one value after another, in float64. */
function plainly(x: Float32Array, y: Float32Array, codes?: Uint8Array, top?: number): Precision {
  const found: { -readonly [field in keyof Precision]: Precision[field] } = { ...EMPTY_PRECISION };
  for (let i = 0; i < x.length; i++) {
    const value = x[i]!;
    const became = y[i]!;
    const magnitude = Math.abs(value);
    const error = Math.abs(value - became);
    found.count++;
    found.signal += value * value;
    found.noise += error * error;
    found.energy += became * became;
    found.product += value * became;
    found.amax = Math.max(found.amax, magnitude);
    found.maxError = Math.max(found.maxError, error);
    if (magnitude > 0) found.maxRelative = Math.max(found.maxRelative, error / magnitude);
    if (value !== 0 && became === 0) found.flushed++;
    if (codes && (codes[i]! & 0x7f) === top && magnitude > Math.abs(became)) found.saturated++;
  }
  return found;
}

function sumsOf(x: Float32Array, y: Float32Array): { signal: number; noise: number } {
  let [signal, noise] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    signal += x[i]! ** 2;
    noise += (x[i]! - y[i]!) ** 2;
  }
  return { signal, noise };
}

/** Sums may differ in the order of adding; everything else is exact. */
function expectSame(got: Precision, wanted: Precision): void {
  for (const sum of ["signal", "noise", "energy", "product"] as const) {
    expect(Math.abs(got[sum] - wanted[sum]), sum).toBeLessThanOrEqual(
      1e-12 * (wanted.signal + wanted.energy),
    );
  }
  const { signal, noise, energy, product, ...exact } = wanted;
  expect(got).toMatchObject(exact);
}

const wild = (n: number) =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(i * 1.7) * 2 ** (((i * 7919) % 41) - 30));

const LENGTHS = [0, 1, 15, 16, 17, 33, 100, 65536, 65536 + 37];

describe.each(ENGINES)("compare, %s", (engineName, make) => {
  const engine: Promise<Engine> = make();

  it.each(LENGTHS)("%i values with another array", async (n) => {
    const x = wild(n);
    const y = x.map((v, i) => (i % 5 === 0 ? 0 : Math.fround(v * (1 + (i % 7) / 50))));
    expectSame((await engine).compare(x, y), plainly(x, y));
  });

  it.each(["mxfp8", "mxfp8Ocp", "mxfp8E5m2", "deepseekWeight", "deepseekV3Weight"] as const)(
    "what %s did to float32, bfloat16 and half values",
    async (name) => {
      const fp8 = await engine;
      const scheme = schemes[name];
      const [rows, cols] = [131, 300];
      const x = wild(rows * cols);
      const top = scheme.format === "e4m3" ? 0x7e : 0x7b;
      const halves = Uint16Array.from(x, (_, i) => (i * 40503) & 0x7bff);
      for (const values of [x, bf16(halves), f16(halves)]) {
        const w = fp8.quantize(values, [rows, cols], scheme);
        const wide = values instanceof Float32Array ? values : widen(values.type, values.bits);
        const wanted = plainly(wide, fp8.dequantize(w), w.codes, top);
        if (name === "mxfp8Ocp") expect(wanted.saturated).toBeGreaterThan(0);
        expectSame(fp8.compare(values, w), wanted);
      }
    },
  );

  it.each([
    [[NaN, 1, 2], [1, 1, 2], 1],
    [[1, 1, 2], [NaN, 1, 2], 1],
    [[1, 3e38, -2], [1, Infinity, -Infinity], 2],
    [[Infinity, NaN, -Infinity, 2], [-Infinity, Infinity, NaN, 1], 3],
    [[Infinity, NaN, -Infinity, 2], [Infinity, NaN, -Infinity, 1], 0],
  ])("what is not finite counts for nothing else: %j became %j", async (before, after, nonFinite) => {
    const fp8 = await engine;
    // Far apart: the first begins a frame, the last ends one behind its whole vectors.
    const place = (few: readonly number[]) =>
      Float32Array.from({ length: 70_006 }, (_, i) => (i % 23_335 < 1 ? (few[i / 23_335] ?? 0) : 1));
    const wasFinite = (i: number) => Number.isFinite(before[i]) && Number.isFinite(after[i]);
    const [x, y] = [place(before), place(after)];
    const finite = (few: readonly number[]) => place(few.map((v, i) => (wasFinite(i) ? v : 0)));
    const wanted = { ...plainly(finite(before), finite(after)), nonFinite };
    expectSame(fp8.compare(x, y), wanted);
    expect(x).toEqual(place(before));
    // 3e38 is no half, and what it becomes is Inf itself.
    if (before.includes(3e38)) return;
    for (const type of ["bf16", "f16"] as const) {
      const most = type === "bf16" ? 0x7f80 : 0x7c00;
      const bits = Uint16Array.from(x, (v) => {
        if (Number.isNaN(v)) return most + 1;
        if (!Number.isFinite(v)) return v > 0 ? most : most + 0x8000;
        return v === 0 ? 0 : (v === 2 ? 0x4000 : type === "bf16" ? 0x3f80 : 0x3c00) + (v < 0 ? 0x8000 : 0);
      });
      expectSame(fp8.compare(type === "bf16" ? bf16(bits) : f16(bits), y), wanted);
    }
  });

  it("tensors and halves on both sides, in pieces of rows that cut blocks", async () => {
    const fp8 = await engine;
    const [rows, cols] = [300, 416];
    const parts = () => new Float64Array((rows * cols) / 8);
    const halves = Uint16Array.from({ length: rows * cols }, (_, i) => (i * 40503) & 0x3bff);
    const x = wild(rows * cols);
    for (const name of ["deepseekWeight", "mxfp8"] as const) {
      const w = fp8.quantize(x, [rows, cols], schemes[name]);
      const values = fp8.dequantize(w);
      for (const other of [x, bf16(halves), f16(halves)]) {
        const wide = other instanceof Float32Array ? other : widen(other.type, other.bits);
        const [found, wanted] = [parts(), parts()];
        expectSame(fp8.compare(w, other, { groupSums: found }), plainly(values, wide));
        fp8.compare(values, wide, { groupSums: wanted });
        expect(found).toEqual(wanted);
        expectSame(fp8.compare(other, other), plainly(wide, wide));
      }
      expect(fp8.compare(w, w)).toMatchObject({ noise: 0, maxError: 0, count: rows * cols });
    }
    const few = fp8.quantize(x.subarray(0, 64), [2, 32], "mxfp8");
    expect(() => fp8.compare(few, x)).toThrow(/compare: result/);
  });

  it("the same numbers, to the last bit, as the first engine", async () => {
    const [, first] = ENGINES[0] as (typeof ENGINES)[number];
    const x = wild(70_001);
    const measure = (fp8: Engine) => fp8.compare(x, fp8.quantize(x, [70_001], schemes.mxfp8));
    expect(measure(await engine)).toEqual(measure(await first()));
  });

  it.each([
    ["mxfp8", [70, 2048]],
    ["mxfp8", [3, 5, 64]],
    ["deepseekWeight", [131, 208]],
    ["deepseekV3Weight", [2, 130, 64]],
    ["wholeMatrix", [3, 48]],
  ] as const)("tells the sums of each sixteen of %s %j", async (name, shape) => {
    const fp8 = await engine;
    const scheme =
      name === "wholeMatrix" ? { ...schemes.deepseekV3Weight, block: [3, 48] as const } : schemes[name];
    const n = shape.reduce((product, size) => product * size, 1);
    const x = wild(n);
    const w = fp8.quantize(x, shape, scheme);
    const y = fp8.dequantize(w);
    const halves = bf16(Uint16Array.from(x, (_, i) => (i * 40503) & 0x7bff));
    for (const [values, became] of [
      [x, w],
      [x, y],
      [halves, w],
    ] as const) {
      const parts = new Float64Array(n / 8).fill(NaN);
      const found = fp8.compare(values, became, { groupSums: parts });
      expect(found).toEqual(fp8.compare(values, became));
      const wide = values instanceof Float32Array ? values : widen(values.type, values.bits);
      let worst = 0;
      for (let i = 0; i < n; i += 16) {
        const { signal, noise } = sumsOf(wide.subarray(i, i + 16), y.subarray(i, i + 16));
        const off = Math.abs(parts[i / 8]! - signal) + Math.abs(parts[i / 8 + 1]! - noise);
        worst = Math.max(worst, off / (signal + noise || 1));
      }
      expect(worst).toBeLessThan(1e-14);
    }
  });

  it("tells them where a row of blocks goes through memory in pieces", async () => {
    if (engineName !== ENGINES[0]![0]) return;
    const fp8 = await engine;
    const [rows, cols] = [129, 2 ** 15 + 256];
    const x = wild(rows * cols);
    const w = fp8.quantize(x, [rows, cols], schemes.deepseekV3Weight);
    const [ofTensor, ofArray] = [new Float64Array(x.length / 8), new Float64Array(x.length / 8)];
    fp8.compare(x, w, { groupSums: ofTensor });
    fp8.compare(x, fp8.dequantize(w), { groupSums: ofArray });
    expect(ofTensor).toEqual(ofArray);
  });

  it("leaves out of them what is not finite, and refuses room that does not fit", async () => {
    const fp8 = await engine;
    const x = Float32Array.from({ length: 32 }, (_, i) => (i === 3 ? Infinity : 1));
    const parts = new Float64Array(4);
    expect(
      fp8.compare(
        x,
        x.map((v) => v * 2),
        { groupSums: parts },
      ).nonFinite,
    ).toBe(0);
    expect([...parts]).toEqual([15, 15, 16, 16]);
    expect(() => fp8.compare(x, x, { groupSums: new Float64Array(3) })).toThrow(
      /compare: groupSums: expected 4/,
    );
    expect(() => fp8.compare(x, x, { groupSums: new Float32Array(4) as never })).toThrow(/a Float64Array/);
    const few = new Float32Array(24);
    expect(() => fp8.compare(few, few, { groupSums: new Float64Array(3) })).toThrow(/multiples of 16/);
    const tensor = fp8.quantize(few, [3, 8], schemes.deepseekWeight);
    expect(() => fp8.compare(few, tensor, { groupSums: new Float64Array(3) })).toThrow(/multiples of 16/);
    const overlapping = new Float64Array(x.buffer, 0, 4);
    const rounded = fp8.quantize(x, [32], schemes.mxfp8);
    for (const became of [x.slice(), rounded])
      expect(() => fp8.compare(x, became, { groupSums: overlapping })).toThrow(
        /compare: groupSums.*apart from/,
      );
    expect(() => fp8.compare(x.slice(), x, { groupSums: overlapping })).toThrow(
      /compare: groupSums.*apart from/,
    );
    const inCodes = new Float64Array(rounded.codes.buffer, rounded.codes.byteOffset, 4);
    expect(() => fp8.compare(x, rounded, { groupSums: inCodes })).toThrow(/compare: groupSums.*apart from/);
  });

  it("counts no relative error of zeros, and refuses what does not fit", async () => {
    const fp8 = await engine;
    expect(fp8.compare(Float32Array.of(0, 2), Float32Array.of(1, 1))).toMatchObject({
      maxRelative: 0.5,
      maxError: 1,
    });
    expect(() => fp8.compare(new Float32Array(3), new Float32Array(4))).toThrow(/3 elements/);
    const w = fp8.quantize(new Float32Array(4), [4], schemes.mxfp8);
    expect(() => fp8.compare(new Float32Array(5), w)).toThrow(/4 elements/);
  });
});

describe("figures", () => {
  it("sqnr and cosine", () => {
    const p = { ...EMPTY_PRECISION, signal: 100, noise: 1, energy: 100, product: 100 };
    expect(sqnr(p)).toBe(20);
    expect(sqnr(EMPTY_PRECISION)).toBe(Infinity);
    expect(cosine(p)).toBe(1);
    expect(cosine(EMPTY_PRECISION)).toBe(1);
    expect(cosine({ ...p, energy: 0, product: 0 })).toBe(0);
    expect(cosine({ ...p, signal: 0, product: 0 })).toBe(0);
    expect(sqnr({ ...p, nonFinite: 1 })).toBe(-Infinity);
    expect(sqnr({ ...EMPTY_PRECISION, nonFinite: 1 })).toBe(-Infinity);
  });
});

/** The float32 of bfloat16 and half patterns without sign, Inf and NaN. */
function widen(type: "bf16" | "f16", bits: Uint16Array): Float32Array {
  if (type === "bf16") return new Float32Array(Uint32Array.from(bits, (b) => b << 16).buffer);
  return Float32Array.from(bits, (b) => {
    const [exponent, mantissa] = [(b >> 10) & 31, b & 1023];
    return exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15);
  });
}
