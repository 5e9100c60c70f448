import { describe, expect, test } from "vitest";
import type { BlockScaled } from "../../src/tensor/tensor.ts";
import { floorLog2 } from "../reference/binary.ts";
import { decodeCode, widen } from "../reference/cast.ts";
import { reference, type Verbs } from "../reference/engine.ts";
import { scaleByte } from "../reference/scale.ts";
import { expectSameBits, expectSameValues, floats, patterns } from "../support/bits.ts";
import { ENGINES } from "../support/engines.ts";
import { BLOCKS, CASTS, E8M0_CEIL, EXACT_RANGES, PRODUCTS, VALUES } from "./golden-vectors.ts";

const SUBJECTS: readonly (readonly [string, () => Promise<Verbs>])[] = [
  ["the reference", async () => reference],
  ...ENGINES,
];

const FINITE_CODES = Uint8Array.from({ length: 256 }, (_, code) => code);
const LAST_FINITE = { e4m3: 0x7e, e5m2: 0x7b } as const;

/** One code in a block of its own under one scale byte. */
function single(format: "e4m3" | "e5m2", codes: Uint8Array, byte: number): BlockScaled {
  return { format, shape: [codes.length], block: [1, 512], codes, scales: Uint8Array.of(byte) };
}

describe.each(SUBJECTS)("%s agrees with", async (_, make) => {
  const fp8 = await make();

  test.each(CASTS.map((cast) => [cast.source, cast] as const))("%s", (_, { format, rows }) => {
    const codes = fp8.encode(floats(rows.map(([bits]) => bits)), format);
    const inputs = rows.map(([bits]) => bits.toString(16).padStart(8, "0"));
    const got = inputs.map((input, i) => [input, codes[i]]);
    expect(got).toEqual(inputs.map((input, i) => [input, rows[i]![1]]));
  });

  test("OCP OFP8 v1.0, table 1", () => {
    for (const [format, code, value] of VALUES) {
      expect([format, code, fp8.decode(Uint8Array.of(code), format)[0]]).toEqual([format, code, value]);
    }
  });

  describe.each(BLOCKS.map((vectors) => [vectors.source, vectors] as const))(
    "%s",
    (_, { scheme, blocks }) => {
      test.each(blocks.map((vector) => [patterns(floats(vector.values)), vector] as const))(
        "%o",
        (bits, vector) => {
          const [rows, cols] = scheme.block;
          const values = new Float32Array(rows * cols);
          values.set(floats(bits));
          const { codes, scales } = fp8.quantize(values, [rows, cols], scheme);
          if (scales instanceof Float32Array) {
            if (vector.scale === "NaN") expect(scales).toEqual(Float32Array.of(Number.NaN));
            else expectSameBits(patterns(scales), Uint32Array.of(vector.scale));
          } else {
            expect(scales).toEqual(Uint8Array.of(vector.scale as number));
          }
          expectSameBits(codes.slice(0, vector.codes.length), Uint8Array.from(vector.codes));
        },
      );
    },
  );

  test("torchao _f32_to_e8m0_rceil and DeepGEMM ceil_to_ue8m0", () => {
    for (const [bits, byte] of E8M0_CEIL) {
      const scale = floats([bits])[0] as number;
      for (const [format, emax] of [
        ["e4m3", 8],
        ["e5m2", 15],
      ] as const) {
        const amax = scale * 2 ** emax;
        if (amax >= 2 ** 128) continue; // no float32 block has it
        const ceil = {
          format,
          rounding: "ceil",
          block: [1, 4],
          amaxFloor: 0,
          zeroScale: 0,
          scale: "ue8m0",
        } as const;
        const { scales } = fp8.quantize(Float32Array.of(amax, 0, 0, 0), [1, 4], ceil);
        expect([format, bits, scales[0]]).toEqual([format, bits, byte]);
      }
    }
  });

  test.each(PRODUCTS)("code %i under scale byte %i in %s", (code, byte, type, bits) => {
    const tensor = single("e4m3", Uint8Array.of(code), byte);
    const got = type === "f32" ? fp8.dequantize(tensor) : fp8.dequantize(tensor, type);
    const nan = { f32: 0x7fc00000, bf16: 0x7fc0, f16: 0x7e00 }[type];
    const want = bits === "NaN" ? nan : bits;
    expectSameValues(got, type === "f32" ? floats([want]) : Uint16Array.of(want), type);
  });

  test.each(EXACT_RANGES)(
    "torch: %s in %s is exact from byte %i to %i and no further",
    (format, type, first, last) => {
      const codes = FINITE_CODES.slice(0, LAST_FINITE[format] + 1);
      for (let byte = 0; byte <= 254; byte++) {
        const tensor = single(format, codes, byte);
        const got = type === "f32" ? fp8.dequantize(tensor) : widen(type, fp8.dequantize(tensor, type));
        const exact = codes.every((code, i) => decodeCode(format, code) * 2 ** (byte - 127) === got[i]);
        expect([byte, exact]).toEqual([byte, byte >= first && byte <= last]);
      }
    },
  );
});

/** The scale rule by bits, as DeepGEMM, torchao and Transformer Engine spell it: four ways, one byte. */
describe("the reference's mode RCEIL", () => {
  const fround = Math.fround;
  const ceilLog2 = (s: number): number => (2 ** floorLog2(s) === s ? floorLog2(s) : floorLog2(s) + 1);

  test.each([
    ["e4m3", 448, 0x600000],
    ["e5m2", 57344, 0x600000],
  ] as const)("%s", (format, largest, threshold) => {
    const emax = floorLog2(largest);
    for (const exponent of [40, 100, 127, 128, 200, 254]) {
      for (const mantissa of aroundThresholds([0, 0x400000, 0x600000, 0x700000, 0x780000])) {
        const bits = exponent * 2 ** 23 + mantissa;
        const amax = floats([bits])[0] as number;
        const byte = scaleByte("rceil", format, amax);
        expect([bits, byte]).toEqual([bits, exponent - emax + Number(mantissa > threshold)]);
        expect([bits, byte]).toEqual([bits, 127 + ceilLog2(fround(amax / largest))]);
        expect([bits, byte]).toEqual([bits, 127 + ceilLog2(fround(amax * fround(1 / largest)))]);
        expect([bits, byte]).toEqual([bits, 127 - floorLog2(fround(largest / amax))]);
      }
    }
  });
});

function aroundThresholds(mantissas: readonly number[]): number[] {
  const near = mantissas.flatMap((m) => [-3, -2, -1, 0, 1, 2, 3].map((d) => m + d));
  return near.filter((m) => m >= 0 && m < 2 ** 23);
}
