import { describe, expect, test } from "vitest";
import {
  FORMAT_ID,
  FORMATS,
  type Format,
  largestOf,
  scaleValues,
  ue8m0Value,
  valueOfCode,
} from "../../src/tensor/formats.ts";
import { decode, E2M1, E2M3, E4M3, E5M2 } from "../reference/binary.ts";

const REFERENCE = { e4m3: E4M3, e5m2: E5M2 } as const;

describe.each(Object.keys(REFERENCE) as (keyof typeof REFERENCE)[])("%s", (format) => {
  test("every code has the value of its definition", () => {
    for (let code = 0; code < 256; code++)
      expect(valueOfCode(format, code), `${code}`).toBe(decode(REFERENCE[format], code));
  });
});

test("e2m1 and e2m3, their signs at bit 7, have the values of their definitions", () => {
  for (let code = 0; code < 16; code++)
    expect(valueOfCode("e2m1", (code & 7) | ((code & 8) << 4))).toBe(decode(E2M1, code));
  for (let code = 0; code < 64; code++)
    expect(valueOfCode("e2m3", (code & 31) | ((code & 32) << 2))).toBe(decode(E2M3, code));
});

test("the facts agree with one another", () => {
  expect(Object.keys(FORMATS)).toEqual(Object.keys(FORMAT_ID));
  for (const [format, { mantissaBits, emin, emax }] of Object.entries(FORMATS)) {
    const largest = largestOf(format as Format);
    expect(Math.floor(Math.log2(largest))).toBe(emax);
    expect(valueOfCode(format as Format, 1 << mantissaBits)).toBe(2 ** emin);
    expect(valueOfCode(format as Format, 1)).toBe(2 ** (emin - mantissaBits));
  }
  expect((["e4m3", "e5m2", "e2m1", "e2m3"] as const).map(largestOf)).toEqual([448, 57344, 6, 7.5]);
});

test("scales are numbers, whatever holds them", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const values = scaleValues(bytes);
  for (const byte of bytes) expect(values[byte]).toBe(ue8m0Value(byte));
  const multipliers = Float32Array.of(1.5);
  expect(scaleValues(multipliers)).toBe(multipliers);
});
