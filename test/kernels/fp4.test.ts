import { describe, expect, test } from "vitest";
import { load } from "../../src/load.ts";
import { bf16, f16 } from "../../src/tensor/halves.ts";
import { type Rounding, type Scheme, schemes } from "../../src/tensor/schemes.ts";
import type { BlockScaled } from "../../src/tensor/tensor.ts";
import { narrow, widen } from "../reference/cast.ts";
import { ENGINES } from "../support/engines.ts";
import { randomFinite, randomNormal, randomWords } from "../support/random.ts";

/** OCP MX v1.0, table 5. */
const VALUES = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
const numberOf = (code: number): number => (code & 8 ? -1 : 1) * VALUES[code & 7]!;
const f = Math.fround;

/**
 * The code nearest to x, of two equally near ones the even one; the largest
 * beyond, and for NaN, which E2M1 has none of.
 */
function codeOf(x: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 8 : 0;
  const a = Math.abs(x);
  if (!(a <= 6)) return sign | 7;
  let best = 0;
  for (let code = 1; code < 8; code++) {
    const [old, fresh] = [Math.abs(a - VALUES[best]!), Math.abs(a - VALUES[code]!)];
    if (fresh < old || (fresh === old && code % 2 === 0)) best = code;
  }
  return sign | best;
}

function codesIn(packed: Uint8Array): number[] {
  return [...packed].flatMap((byte) => [byte & 15, byte >> 4]);
}

/** The value of an E4M3 byte of a scale. */
function e4m3(byte: number): number {
  if (byte === 0x7f) return Number.NaN;
  const [exponent, mantissa] = [byte >> 3, byte & 7];
  return exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
}

/** The E4M3 byte nearest to x, ties to even, at most 448. */
function e4m3Of(x: number): number {
  let best = 0;
  for (let byte = 1; byte < 0x7f; byte++) {
    const [old, fresh] = [Math.abs(x - e4m3(best)), Math.abs(x - e4m3(byte))];
    if (fresh < old || (fresh === old && byte % 2 === 0)) best = byte;
  }
  return best;
}

/** The scale byte of MX for amax, by the definition of each rounding with 6 as the largest value. */
function scaleByte(rounding: Rounding, amax: number): number {
  const floorLog2 = (x: number) => {
    let e = Math.floor(Math.log2(x));
    if (2 ** e > x) e--;
    if (2 ** (e + 1) <= x) e++;
    return e;
  };
  const e = floorLog2(amax);
  const m = amax / 2 ** e;
  const up = { floor: false, rceil: m > 1.5, ceil: m > 1, even: m >= 1.75, evenFp4: m >= 1.75 }[rounding];
  return Math.min(254, Math.max(0, e - 2 + (up ? 1 : 0) + 127));
}

/** MXFP4 by its definition, in blocks of [1, 32]. */
function mxfp4(values: Float32Array, rounding: Rounding): { codes: number[]; scales: number[] } {
  const codes: number[] = [];
  const scales: number[] = [];
  for (let i = 0; i < values.length; i += 32) {
    const block = Array.from(values.subarray(i, i + 32));
    const amax = Math.max(...block.map(Math.abs));
    const byte = !Number.isFinite(amax) ? 0xff : amax === 0 ? 0 : scaleByte(rounding, amax);
    scales.push(byte);
    codes.push(...block.map((x) => (byte === 0xff ? 7 : codeOf(x / 2 ** (byte - 127)))));
  }
  return { codes, scales };
}

describe.each(ENGINES)("%s", async (_, make) => {
  const fp8 = await make();

  test("every code decodes to its value, and every value encodes to its code", () => {
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    const values = fp8.decode(all, "e2m1");
    expect([...values]).toEqual(codesIn(all).map(numberOf));
    expect(fp8.encode(values, "e2m1")).toEqual(all);
  });

  test("ties, their neighbours, all exponents, zeros, Inf and NaN encode as defined", () => {
    const ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 6, 7, 0, -0];
    const bits = new Int32Array(Float32Array.from(ties).buffer);
    const near = [...bits].flatMap((b) => [b - 1, b, b + 1]).filter((b) => b >= 0);
    const words = Int32Array.from([
      ...near,
      ...near.map((b) => b | 0x80000000),
      ...Array.from({ length: 256 }, (_, e) => [
        e << 23,
        (e << 23) | 0x400000,
        (e << 23) | 0x80000000,
      ]).flat(),
      0x7f800000,
      0x7fc00000,
      -1,
      0xff800000 | 0,
      ...randomWords(1, 5000),
    ]);
    for (const n of [words.length, 0, 1, 2, 15, 16, 17, 33]) {
      const x = new Float32Array(words.buffer, 0, n);
      const packed = fp8.encode(x, "e2m1");
      expect(packed.length).toBe(Math.ceil(n / 2));
      const expected = Array.from(x, codeOf).map((code, i) =>
        Number.isNaN(x[i]!) ? 7 | (words[i]! < 0 ? 8 : 0) : code,
      );
      if (n % 2 === 1) expected.push(0);
      expect(codesIn(packed)).toEqual(expected);
    }
  });

  test.each(["rceil", "floor", "ceil", "even", "evenFp4"] as const)(
    "mxfp4 with %s scales is the definition's",
    (rounding) => {
      const scheme: Scheme = { ...schemes.mxfp4, rounding };
      for (const values of [
        randomNormal(1, 32 * 40),
        randomFinite(2, 32 * 60).map((x) => f(x / 1024)),
        new Float32Array(64),
      ]) {
        values.set([0, -0, 6, 6.000001, 1.5, 1.5000001, 7, -3.5], 32);
        const found = fp8.quantize(values, [values.length / 32, 32], scheme);
        const expected = mxfp4(values, rounding);
        expect([...found.scales]).toEqual(expected.scales);
        // Float32's own subnormals: a block whose scale is at the end of UE8M0 holds nothing but codes of what is left.
        const codes = codesIn(found.codes);
        expected.codes.forEach((code, i) => {
          if (found.scales[i >> 5] !== 0) expect(codes[i], `${values[i]}`).toBe(code);
        });
      }
    },
  );

  test("NaN or Inf makes its block NaN, and no other", () => {
    for (const bad of [Number.NaN, Infinity, -Infinity]) {
      for (const scheme of [schemes.mxfp4, schemes.nvfp4]) {
        const values = randomNormal(3, 64);
        const clean = fp8.quantize(values, [2, 32], scheme);
        values[40] = bad;
        const tensor = fp8.quantize(values, [2, 32], scheme);
        const back = fp8.dequantize(tensor);
        const size = scheme.block[1];
        expect(Array.from(back, Number.isNaN)).toEqual(
          Array.from(back, (_, i) => Math.floor(i / size) === Math.floor(40 / size)),
        );
        expect(tensor.codes.subarray(0, 8)).toEqual(clean.codes.subarray(0, 8));
      }
    }
  });

  test("nvfp4 is the definition's", () => {
    for (const values of [
      randomNormal(4, 16 * 50),
      randomNormal(5, 16 * 30).map((x, i) => x * 2 ** -(i >> 4)),
      new Float32Array(32),
    ]) {
      const found = fp8.quantize(values, [values.length / 16, 16], schemes.nvfp4);
      const most = values.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
      const tensorScale = most === 0 ? 1 : f(most / 2688);
      expect(found.tensorScale).toBe(tensorScale);
      const codes = codesIn(found.codes);
      for (let block = 0; block < values.length / 16; block++) {
        const x = values.subarray(16 * block, 16 * block + 16);
        const amax = x.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
        const byte = Math.max(e4m3Of(f(f(amax / 6) / tensorScale)), amax > 0 ? 1 : 0);
        expect(found.scales[block]).toBe(byte);
        const multiplier = f(e4m3(byte) * tensorScale);
        const own = codes.slice(16 * block, 16 * block + 16);
        expect(own).toEqual(Array.from(x, (v) => (multiplier > 0 ? codeOf(f(v / multiplier)) : 0)));
        const back = fp8.dequantize(found).subarray(16 * block, 16 * block + 16);
        expect([...back]).toEqual(own.map((code) => f(numberOf(code) * multiplier)));
      }
    }
  });

  test("halves, leading dimensions, several frames, and `out`", () => {
    const shape = [3, 70, 352];
    const values = randomNormal(6, 3 * 70 * 352);
    for (const name of ["mxfp4", "nvfp4"] as const) {
      for (const type of ["bf16", "f16"] as const) {
        const bits = narrow(type, values) as Uint16Array;
        const half = fp8.quantize(type === "bf16" ? bf16(bits) : f16(bits), shape, name);
        const same = fp8.quantize(widen(type, bits), shape, name);
        expect(half).toEqual(same);
        const out = { codes: new Uint8Array(same.codes.length), scales: new Uint8Array(same.scales.length) };
        expect(fp8.quantize(widen(type, bits), shape, name, { out }).codes).toBe(out.codes);
        expect(out.codes).toEqual(same.codes);
        const back = fp8.dequantize(same, type, { out: new Uint16Array(values.length) });
        expect(back).toEqual(narrow(type, fp8.dequantize(same)));
      }
    }
    // Square blocks, and rows that end inside one.
    const square = fp8.quantize(values.subarray(0, 40 * 50), [40, 50], { ...schemes.mxfp4, block: [16, 16] });
    expect(square.codes.length).toBe(1000);
    const rows = fp8.quantize(values.subarray(0, 50), [1, 50], schemes.mxfp4);
    expect(codesIn(rows.codes).slice(0, 32)).toEqual(mxfp4(values.subarray(0, 32), "rceil").codes);
  });

  test("compare counts what was lost", () => {
    const values = randomNormal(7, 32 * 100);
    const tensor = fp8.quantize(values, [100, 32], schemes.mxfp4Ocp);
    const precision = fp8.compare(values, tensor);
    const back = fp8.dequantize(tensor);
    const noise = values.reduce((sum, x, i) => sum + (x - back[i]!) ** 2, 0);
    expect(precision.noise).toBeCloseTo(noise, 6);
    const saturated = values.filter(
      (x, i) => Math.abs(x) > 6 * 2 ** ((tensor.scales[i >> 5] as number) - 127),
    ).length;
    expect(saturated).toBeGreaterThan(0);
    expect(precision.saturated).toBe(saturated);
    expect(fp8.compare(values, fp8.quantize(values, [100, 32], schemes.mxfp4)).saturated).toBe(0);
  });

  test("products are those of the values", () => {
    const [m, n, k] = [3, 20, 96];
    for (const name of ["mxfp4", "nvfp4"] as const) {
      const w = fp8.quantize(randomNormal(8, n * k), [n, k], name);
      const x = { values: randomNormal(9, m * k), shape: [m, k] };
      const values = fp8.dequantize(w);
      const found = fp8.gemm(x, w);
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let c = 0; c < k; c++) sum += x.values[i * k + c]! * values[j * k + c]!;
          expect(found[i * n + j]).toBeCloseTo(sum, 3);
        }
      }
      const packed = fp8.pack(w);
      expect(fp8.gemm(x, packed)).toEqual(found);
      packed.free();
      const quantised = fp8.quantize(x.values, [m, k], name);
      expect(fp8.gemm(quantised, w).length).toBe(m * n);
      const turned = fp8.quantize(randomNormal(8, n * k), [k, n], { ...schemes.mxfp4, block: [1, 4] });
      expect(fp8.gemm(x, turned, { layout: "nn" }).length).toBe(m * n);
    }
  });

  test("what does not fit is refused", () => {
    const w = fp8.quantize(randomNormal(1, 64), [2, 32], "nvfp4");
    expect(() => fp8.quantize(new Float32Array(33), [1, 33], "mxfp4")).toThrow(
      /columns of a block, in multiples of 2/,
    );
    expect(() => fp8.quantize(new Float32Array(32), [1, 32], { ...schemes.mxfp4, block: [1, 3] })).toThrow(
      /in multiples of 2/,
    );
    expect(() => fp8.quantize(new Float32Array(32), [1, 32], { ...schemes.mxfp8, scale: "e4m3" })).toThrow(
      /scheme.scale/,
    );
    const bad: Partial<BlockScaled>[] = [
      { codes: w.codes.subarray(1) },
      { tensorScale: Number.NaN },
      { tensorScale: -1 },
      { tensorScale: "1" as never },
      { scales: new Float32Array(w.scales) },
      { shape: [2, 16] },
      { format: "e4m3" },
    ];
    for (const change of bad) {
      expect(() => fp8.dequantize({ ...w, ...change }), Object.keys(change)[0]).toThrow();
      expect(() => fp8.pack({ ...w, ...change })).toThrow();
    }
    expect(() => fp8.decode(w.codes, "e2m1", { out: new Float32Array(3) })).toThrow();
  });
});

test("threads take FP4 weights", async () => {
  const one = await load();
  const two = await load({ threads: 2 });
  const w = one.quantize(randomNormal(1, 40 * 64), [40, 64], "mxfp4");
  const x = { values: randomNormal(2, 64), shape: [1, 64] };
  expect(await two.gemm(x, w)).toEqual(one.gemm(x, w));
  const packed = await two.pack(w);
  expect(await two.gemm(x, packed)).toEqual(one.gemm(x, w));
  await packed.free();
  await two.close();
});
