import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import type { TrainKernels } from "../../src/train/kernels.ts";
import { withSharedMemory } from "../../src/wasm/import-shared-memory.ts";
import { instantiate, sharedMemory } from "../../src/wasm/instantiate.ts";

test.each(["debug", "baseline", "model-debug", "model-baseline", "model-relaxed"])(
  "instances of %s.wasm share a memory",
  async (name) => {
    const bytes = await readFile(new URL(`../../build/${name}.wasm`, import.meta.url));
    const module = new WebAssembly.Module(withSharedMemory(bytes));
    const memory = sharedMemory();
    const [one, other] = [instantiate(module, memory), instantiate(module, memory)];
    expect(memory.buffer).toBeInstanceOf(SharedArrayBuffer);
    const base = Math.ceil(one.kernels.heapBase() / 64) * 64;
    new Float32Array(memory.buffer, base, 3).set([1, -2, 0.3]);
    one.kernels.encode(0, base + 64, base, 3);
    other.kernels.decode(0, base + 128, base + 64, 3);
    expect([...new Float32Array(memory.buffer, base + 128, 3)]).toEqual([1, -2, 0.3125]);
    // A build for one memory of its own does not take a shared one.
    expect(() => instantiate(new WebAssembly.Module(bytes), memory)).toThrow(/WebAssembly build/);
  },
);

test("a moved scratch leaves the first one alone", async () => {
  const bytes = await readFile(new URL("../../build/model-baseline.wasm", import.meta.url));
  const { kernels, memory } = instantiate(new WebAssembly.Module(bytes));
  const train = kernels as TrainKernels;
  const base = Math.ceil(train.heapBase() / 64) * 64;
  const before = new Uint8Array(memory.buffer, 0, base).slice();
  train.moveScratch(base);
  const at = base + train.scratchBytes();
  train.encode(0, at, at + 64, 5); // five values go by way of the scratch
  expect(new Uint8Array(memory.buffer, 0, base)).toEqual(before);
  expect(train.heapBase()).toBeLessThanOrEqual(base);
});
