import { expect, test } from "vitest";
import { load } from "../../src/load.ts";
import type { BlockScaled } from "../../src/tensor/tensor.ts";

test("4 GiB are filled but for a page, and the edge is a clear error", async () => {
  const fp8 = await load();
  const MIB_256 = 2 ** 28;
  // One row of 256 Mi zeros: the host gives such an array no memory of its own until it is written.
  const w: BlockScaled = {
    format: "e4m3",
    shape: [2 ** 14, 2 ** 14],
    block: [128, 128],
    codes: new Uint8Array(MIB_256),
    scales: new Uint8Array(2 ** 14),
  };
  const packed = Array.from({ length: 15 }, () => fp8.pack(w));
  expect(() => fp8.pack(w)).toThrow(
    expect.objectContaining({ code: "memory", message: expect.stringMatching(/free packed weights/) }),
  );
  const values = new Float32Array(2 ** 14).fill(1);
  w.codes[2 ** 14 * 3 + 5] = 0x38;
  packed.at(-1)!.free();
  const last = fp8.pack(w);
  expect(
    [...fp8.gemm({ values, shape: [1, 2 ** 14] }, last)].flatMap((y, i) => (y === 0 ? [] : [i, y])),
  ).toEqual([3, 2 ** -127]);
});
