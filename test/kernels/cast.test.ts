import { describe, expect, test } from "vitest";
import type { Format } from "../../src/tensor/tensor.ts";
import { BF16, E5M2, F16, nearestBySpacing, nearestInTable } from "../reference/binary.ts";
import { encodeAll, FORMAT } from "../reference/cast.ts";
import { reference } from "../reference/engine.ts";
import { causeIn, expectSameBits, expectSameValues, floats, patterns } from "../support/bits.ts";
import { ENGINES } from "../support/engines.ts";
import { once } from "../support/once.ts";
import { randomWords } from "../support/random.ts";

const FORMATS: readonly Format[] = ["e4m3", "e5m2"];
const ALL_CODES = Uint8Array.from({ length: 256 }, (_, code) => code);

/** Lengths around every width a loop might have: 4 to 64 lanes, one turn and two, with tails. */
const LENGTHS = [
  ...Array.from({ length: 70 }, (_, n) => n),
  ...[95, 96, 97, 127, 128, 129, 191, 255, 256, 257, 511, 512, 513, 65535, 65536, 65537, 200_000],
];

/** Patterns and their neighbours, with both signs. */
function withNeighbours(magnitudes: Iterable<number>): Uint32Array {
  const found: number[] = [];
  for (const bits of magnitudes) {
    for (let d = -2; d <= 2; d++) {
      const near = Math.min(Math.max(bits + d, 0), 0x7fffffff);
      found.push(near, near + 0x80000000);
    }
  }
  return Uint32Array.from(found);
}

/**
 * Every float32 exponent (subnormal, Inf and NaN too), with every mantissa of at
 * most five bits: all ties are among them.
 */
function tiesOfEveryExponent(): Uint32Array {
  const magnitudes: number[] = [];
  for (let exponent = 0; exponent <= 255; exponent++) {
    for (let mantissa = 0; mantissa < 32; mantissa++) {
      magnitudes.push(exponent * 2 ** 23 + mantissa * 2 ** 18);
    }
  }
  return withNeighbours(magnitudes);
}

const ties = once(tiesOfEveryExponent);

/**
 * 2^22 patterns spread evenly over all 2^32, no two alike: multiples of an odd number near 2^32 / golden
 * ratio. In batches, so that the engine crosses its frames and the reference stays in the cache.
 */
const SWEEP_BATCHES = 4;
const SWEEP_BATCH = 2 ** 20;
const SWEEP_SEED = 0x5eed;

function sweepBatch(batch: number): Uint32Array {
  const words = new Uint32Array(SWEEP_BATCH);
  for (let i = 0; i < SWEEP_BATCH; i++)
    words[i] = Math.imul(batch * SWEEP_BATCH + i, 0x9e3779b1) + SWEEP_SEED;
  return words;
}

const sweep = once(() => Array.from({ length: SWEEP_BATCHES }, (_, batch) => sweepBatch(batch)));
const expected = Object.fromEntries(
  FORMATS.map((format) => [
    format,
    {
      ties: once(() => encodeAll(format, ties())),
      sweep: once(() => sweep().map((b) => encodeAll(format, b))),
    },
  ]),
) as Record<Format, { ties: () => Uint8Array; sweep: () => Uint8Array[] }>;

describe("the reference", () => {
  test.each([
    ["e5m2", E5M2],
    ["bf16", BF16],
    ["f16", F16],
  ] as const)("%s: the nearest code by table and by spacing are the same", (_, format) => {
    const near = [...format.midpoints].flatMap((m) => [
      m * (1 - 2 ** -52),
      m,
      m * (1 + 2 ** -52),
      (m * 2) / 3,
    ]);
    const differ = [0, 2 ** -149, 2 ** 128, ...near].filter(
      (x) => nearestBySpacing(format, x) !== nearestInTable(format, x),
    );
    expect(differ).toEqual([]);
  });

  test.each(FORMATS)("%s: every code of a number encodes to itself", (format) => {
    const numbers = ALL_CODES.filter((code) =>
      Number.isFinite(reference.decode(Uint8Array.of(code), format)[0]),
    );
    expectSameBits(reference.encode(reference.decode(numbers, format), format), numbers);
  });

  test.each(FORMATS)("%s: every midpoint is a tie, and is in the table of ties", (format) => {
    const table = new Set(ties());
    for (const middle of FORMAT[format].midpoints) {
      expect(Math.fround(middle)).toBe(middle);
      expect(table).toContain(patterns(Float32Array.of(middle))[0]);
    }
  });
});

describe.each(ENGINES)("%s", async (_, make) => {
  const fp8 = await make();

  describe.each(FORMATS)("%s", (format) => {
    test("decode: all 256 codes, whatever the length and the place of the array", () => {
      for (const length of LENGTHS) {
        const start = length % 7;
        const codes = Uint8Array.from(
          { length: start + length },
          (_, i) => (i * 89 + length) & 0xff,
        ).subarray(start);
        expectSameValues(fp8.decode(codes, format), reference.decode(codes, format), "f32", causeIn(codes));
      }
    });

    test("decode: NaN has the sign of its code", () => {
      const values = fp8.decode(ALL_CODES, format);
      const nan = ALL_CODES.filter((code) => Number.isNaN(values[code]));
      expect(nan.length).toBe(format === "e4m3" ? 2 : 6);
      for (const code of nan) expect([code, patterns(values)[code]! >>> 31]).toEqual([code, code >>> 7]);
    });

    test("encode: every exponent, all ties and their neighbours", () => {
      const codes = fp8.encode(new Float32Array(ties().buffer), format);
      expectSameBits(codes, expected[format].ties(), causeIn(ties()));
    });

    test("encode: NaN of every payload bit is 0x7F with the sign", () => {
      const nans = Uint32Array.from(
        { length: 46 },
        (_, i) => (i < 23 ? 0x7f800000 : 0xff800000) + 2 ** (i % 23),
      );
      expectSameBits(
        fp8.encode(floats(nans), format),
        Uint8Array.from(nans, (_, i) => (i < 23 ? 0x7f : 0xff)),
        causeIn(nans),
      );
    });

    test("encode: 2^22 patterns", () => {
      sweep().forEach((batch, i) => {
        const codes = fp8.encode(new Float32Array(batch.buffer), format);
        expectSameBits(codes, expected[format].sweep()[i] as Uint8Array, causeIn(batch));
      });
    });

    test("encode: any length, at any place of a larger array", () => {
      for (const length of LENGTHS) {
        const start = length % 5;
        const bits = randomWords(length, start + length).subarray(start);
        const values = new Float32Array(bits.buffer, bits.byteOffset, length);
        expectSameBits(fp8.encode(values, format), encodeAll(format, bits), causeIn(bits));
      }
    });

    test("encode: a special value in every lane, among ordinary ones", () => {
      const specials = [0x7f800000, 0xffc00001, 0x80000000, 0x00000001, 0x7f7fffff, 0x7fffffff, 0xff800001];
      for (const special of specials) {
        for (let lane = 0; lane < 67; lane++) {
          const bits = new Uint32Array(67).fill(0x3f880001);
          bits[lane] = special;
          expectSameBits(fp8.encode(floats(bits), format), encodeAll(format, bits), causeIn(bits));
        }
      }
    });
  });
});
