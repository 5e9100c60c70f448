import { describe, expect, test } from "vitest";
import { schemes } from "../../src/tensor/schemes.ts";
import { decode, E2M3, E4M3, encodeSaturating } from "../reference/binary.ts";
import { dequantize, pack, quantize, unpack } from "../reference/block.ts";
import { f32FromBits } from "../reference/cast.ts";
import { ENGINES } from "../support/engines.ts";
import { randomFinite, randomNormal, randomWords } from "../support/random.ts";

// E2M3 (OCP MX v1.0, table 4), four codes to three bytes. Products and halves are those of FP4: test/kernels/fp4.test.ts.

/** Every float32 exponent with every mantissa of at most five bits, their neighbours, both signs, and any others. */
function everyTie(): Uint32Array {
  const found: number[] = [];
  for (let high = 0; high < 256 * 32; high++)
    for (let d = -2; d <= 2; d++) {
      const bits = Math.max(0, high * 2 ** 18 + d);
      found.push(bits, bits + 0x80000000);
    }
  return Uint32Array.from([...found, ...randomWords(1, 5000)]);
}

const TIES = everyTie();
const isNegative = (bits: number) => bits >>> 31 === 1;
/** NaN, which E2M3 has none of, is the largest value with its sign. */
const WANTED = Uint8Array.from(TIES, (bits) => {
  const x = f32FromBits(bits);
  return Number.isNaN(x) ? 0x1f | (isNegative(bits) ? 0x20 : 0) : encodeSaturating(E2M3, x);
});

test("every E2M3 value is an E4M3 value", () => {
  const e4m3 = new Set(Array.from({ length: 256 }, (_, code) => decode(E4M3, code)));
  for (let code = 0; code < 64; code++) expect(e4m3).toContain(decode(E2M3, code));
});

describe.each(ENGINES)("%s", async (_, make) => {
  const fp8 = await make();

  test("every code decodes to its value, at each place in three bytes, and every value encodes to its code", () => {
    const codes = Uint8Array.from({ length: 64 * 7 }, (_, i) => (i * 37) & 63);
    const values = fp8.decode(pack("e2m3", codes), "e2m3");
    expect([...values]).toEqual(Array.from(codes, (code) => decode(E2M3, code)));
    expect(fp8.encode(values, "e2m3")).toEqual(pack("e2m3", codes));
  });

  test("all ties, their neighbours, all exponents, zeros, Inf and NaN encode as defined", () => {
    const packed = fp8.encode(new Float32Array(TIES.buffer), "e2m3");
    expect(Buffer.compare(packed, pack("e2m3", WANTED))).toBe(0);
    for (const n of [0, 1, 2, 3, 4, 5, 15, 16, 17, 33, 65536, 65537]) {
      const found = fp8.encode(new Float32Array(TIES.buffer, 4 * 3000, n), "e2m3");
      expect(Buffer.compare(found, pack("e2m3", WANTED.subarray(3000, 3000 + n))), `${n}`).toBe(0);
      // What is left of the last byte may hold one more code, which is 0.
      const values = fp8.decode(found, "e2m3");
      expect(values.length).toBe(Math.floor((found.length * 8) / 6));
      const codes = WANTED.subarray(3000, 3000 + n);
      expect(codes.findIndex((code, i) => !Object.is(values[i], decode(E2M3, code)))).toBe(-1);
    }
  });

  test.each(["rceil", "floor", "ceil", "even", "evenFp4"] as const)(
    "mxfp6 with %s scales is the definition's, and is read back",
    (rounding) => {
      const scheme = { ...schemes.mxfp6, rounding };
      for (const values of [
        randomNormal(1, 32 * 40),
        randomFinite(2, 32 * 60).map((x) => Math.fround(x / 1024)),
        new Float32Array(64),
      ]) {
        // The largest code is 7.5: amax there, a little above, half way to what rounds up, and above that.
        values.set([0, -0, 7.5, -7.5000005, 7.75, 7.749, 8, 0.0625], 32);
        const shape = [values.length / 32, 32];
        const found = fp8.quantize(values, shape, scheme);
        const wanted = quantize(values, shape, scheme);
        expect(found).toEqual({ ...wanted, shape, block: [1, 32] });
        expect([...fp8.dequantize(found)]).toEqual([...dequantize(wanted)]);
      }
    },
  );

  test("ragged blocks, square ones, leading dimensions, halves and NaN", () => {
    for (const [shape, block] of [
      [
        [3, 5, 44],
        [1, 32],
      ],
      [
        [2, 40, 52],
        [16, 16],
      ],
      [
        [7, 4],
        [128, 128],
      ],
      [
        [2, 0],
        [1, 32],
      ],
      [
        [0, 8],
        [1, 32],
      ],
    ] as const) {
      const values = randomNormal(
        3,
        shape.reduce<number>((n, size) => n * size, 1),
      );
      if (values.length > 9) values[9] = Number.NaN;
      const scheme = { ...schemes.mxfp6, block };
      const found = fp8.quantize(values, shape, scheme);
      const wanted = quantize(values, shape, scheme);
      expect(unpack("e2m3", found.codes)).toEqual(unpack("e2m3", wanted.codes));
      expect(found.scales).toEqual(wanted.scales);
      expect([...fp8.dequantize(found)]).toEqual([...dequantize(wanted)]);
    }
    const bits = Uint16Array.from(
      randomNormal(4, 64),
      (x) => new Uint32Array(Float32Array.of(x).buffer)[0]! >>> 16,
    );
    const widened = Float32Array.from(bits, (word) => f32FromBits(word * 65536));
    const half = fp8.quantize({ type: "bf16", bits }, [2, 32], "mxfp6");
    expect(half).toEqual(fp8.quantize(widened, [2, 32], "mxfp6"));
  });

  test("compare counts what was cut to the largest code, and products are those of the values", () => {
    const values = randomNormal(7, 32 * 64);
    const tensor = fp8.quantize(values, [32, 64], { ...schemes.mxfp6, rounding: "floor" });
    const beyond = values.filter(
      (x, i) => Math.abs(x) > 7.5 * 2 ** ((tensor.scales[i >> 5] as number) - 127),
    );
    expect(beyond.length).toBeGreaterThan(0);
    expect(fp8.compare(values, tensor).saturated).toBe(beyond.length);
    const x = { values: randomNormal(9, 64), shape: [1, 64] };
    const same = fp8.quantize(fp8.dequantize(tensor), [32, 64], schemes.mxfp8);
    const found = fp8.gemm(x, tensor);
    // The codes of both differ by powers of two, which no rounding of a sum sees.
    expect(found).toEqual(fp8.gemm(x, same));
    const packed = fp8.pack(tensor);
    expect(fp8.gemm(x, packed)).toEqual(found);
    packed.free();
  });

  test("what does not fit is refused", () => {
    expect(() => fp8.quantize(new Float32Array(34), [1, 34], "mxfp6")).toThrow(
      /columns of a block, in multiples of 4/,
    );
    const block = [1, 6] as const;
    expect(() => fp8.quantize(new Float32Array(32), [1, 32], { ...schemes.mxfp6, block })).toThrow(
      /in multiples of 4/,
    );
    expect(() => fp8.quantize(new Float32Array(32), [1, 32], { ...schemes.mxfp6, scale: "e4m3" })).toThrow(
      /scheme.scale/,
    );
  });
});
