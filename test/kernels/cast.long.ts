import { describe, expect, test } from "vitest";
import { load } from "../../src/load.ts";
import type { Format } from "../../src/tensor/tensor.ts";
import { encodeBits } from "../reference/cast.ts";

const BATCH = 2 ** 20;

/**
 * Codes of the patterns from `first + from` up to `first + to`, both included. Within one sign codes grow with
 * the pattern, up to that of NaN: where both ends have the same code, so has all between them.
 */
function fillCodes(codes: Uint8Array, format: Format, first: number, from: number, to: number): void {
  const [low, high] = [encodeBits(format, first + from), encodeBits(format, first + to)];
  if (low === high) {
    codes.fill(low, from, to + 1);
    return;
  }
  const middle = (from + to) >> 1;
  fillCodes(codes, format, first, from, middle);
  fillCodes(codes, format, first, middle + 1, to);
}

describe.each(["baseline", "relaxed"] as const)("%s", async (variant) => {
  const engine = await load({ variant });

  test.each(["e4m3", "e5m2"] as const)("%s: all 2^32 float32 values", (format) => {
    const patterns = new Uint32Array(BATCH);
    const expected = new Uint8Array(BATCH);
    const wrong: string[] = [];
    for (let first = 0; first < 2 ** 32; first += BATCH) {
      for (let i = 0; i < BATCH; i++) patterns[i] = first + i;
      fillCodes(expected, format, first, 0, BATCH - 1);
      const codes = engine.encode(new Float32Array(patterns.buffer), format);
      if (Buffer.compare(codes, expected) !== 0) wrong.push((first / BATCH).toString(16));
    }
    expect(wrong).toEqual([]);
  });
});
