import { describe, expect, it } from "vitest";
import { widen } from "../../src/checkpoint/read/values.ts";
import { VALUE_TYPE_ID } from "../../src/tensor/formats.ts";
import { INSTANCES } from "../support/engines.ts";

describe.each(INSTANCES)("widen, %s", (_, make) => {
  it.each(["bf16", "f16"] as const)("every pattern of %s, and any number of them", async (type) => {
    const { kernels, memory } = await make();
    const [src, dst] = [kernels.heapBase(), kernels.heapBase() + 2 * 65536];
    memory.grow(8);
    const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
    new Uint16Array(memory.buffer, src, 65536).set(halves);
    const wanted = widen(type, new Uint8Array(halves.buffer), new Float32Array(65536));
    for (const n of [65536, 0, 1, 3, 4, 5, 7]) {
      const floats = new Float32Array(memory.buffer, dst, n + 1).fill(-1);
      kernels.widen(VALUE_TYPE_ID[type], dst, src, n);
      expect(floats.subarray(0, n)).toEqual(wanted.subarray(0, n));
      // Nothing behind the last one is written.
      expect(floats[n]).toBe(-1);
    }
    kernels.widen(VALUE_TYPE_ID[type], dst, src + 2 * 0x8000, 1);
    expect(Object.is(new Float32Array(memory.buffer, dst, 1)[0], -0)).toBe(true);
  });
});
