import { readFile } from "node:fs/promises";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { FORMAT_ID, ROUNDING_ID, SCALE_TYPE_ID, VALUE_TYPE_ID } from "../../src/tensor/formats.ts";
import { bf16, f16 } from "../../src/tensor/halves.ts";
import { type Scheme, schemes } from "../../src/tensor/schemes.ts";
import { MATRIX, matrixRecord } from "../../src/wasm/matrix.ts";
import { countBlocks } from "../reference/block.ts";
import { narrow } from "../reference/cast.ts";
import { reference } from "../reference/engine.ts";
import { expectSameTensor, VALUE_TYPES } from "../support/agreement.ts";
import { expectSameBits, expectSameValues } from "../support/bits.ts";
import { ENGINES, INSTANCES } from "../support/engines.ts";
import { randomNormal, randomWords } from "../support/random.ts";

const CANARY = 0xa5;

/**
 * With its codes, 10 MiB: nearly twice what an engine may take for itself, if rows of
 * blocks are not longer than 1 Mi elements.
 */
const LARGE = new Float32Array(2 ** 21).fill(1.5);
const WORKING_MEMORY = 6 * 2 ** 20;

/**
 * A view at a byte offset of a larger buffer full of canaries, and a check that the rest is still untouched.
 */
function within<T extends Uint8Array | Uint16Array | Float32Array>(
  Class: { new (buffer: ArrayBuffer, offset: number, length: number): T; readonly BYTES_PER_ELEMENT: number },
  length: number,
  offset: number,
): { view: T; expectRestUntouched: () => void } {
  const bytes = new Uint8Array(offset + length * Class.BYTES_PER_ELEMENT + 64).fill(CANARY);
  const view = new Class(bytes.buffer, offset, length);
  const expectRestUntouched = (): void => {
    const rest = [bytes.subarray(0, offset), bytes.subarray(offset + view.byteLength)];
    for (const part of rest) expect(part.every((byte) => byte === CANARY)).toBe(true);
  };
  return { view, expectRestUntouched };
}

/** Byte offsets that are as odd as the element size allows. */
function offsets(bytesPerElement: number): number[] {
  return [1, 2, 3, 5, 7, 15, 16, 17].map((n) => n * bytesPerElement);
}

describe.each(ENGINES)("%s", async (_, make) => {
  const fp8 = await make();
  const n = 1000;
  const values = randomNormal(5, n);
  const shape = [8, 125];
  const scheme: Scheme = { ...schemes.mxfp8, block: [3, 32] };
  const tensor = reference.quantize(values, shape, scheme);

  test("encode writes to `out`, and nowhere else", () => {
    for (const offset of offsets(1)) {
      const { view, expectRestUntouched } = within(Uint8Array, n, offset);
      expect(fp8.encode(values, "e4m3", { out: view })).toBe(view);
      expectSameBits(view, reference.encode(values, "e4m3"));
      expectRestUntouched();
    }
  });

  test("decode writes to `out`, and nowhere else", () => {
    for (const offset of offsets(4)) {
      const { view, expectRestUntouched } = within(Float32Array, n, offset);
      expect(fp8.decode(tensor.codes, "e5m2", { out: view })).toBe(view);
      expectSameValues(view, reference.decode(tensor.codes, "e5m2"));
      expectRestUntouched();
    }
  });

  test.each(["ue8m0", "f32"] as const)("quantize writes to `out`, and nowhere else: %s", (scale) => {
    const Scales = { ue8m0: Uint8Array, f32: Float32Array }[scale];
    const want = reference.quantize(values, shape, { ...scheme, scale });
    for (const offset of offsets(1)) {
      const codes = within(Uint8Array, n, offset);
      const scales = within<Uint8Array | Float32Array>(Scales, want.scales.length, 4 * offset);
      const out = { codes: codes.view, scales: scales.view };
      const got = fp8.quantize(values, shape, { ...scheme, scale }, { out });
      expect([got.codes === codes.view, got.scales === scales.view]).toEqual([true, true]);
      expectSameTensor(got, want);
      codes.expectRestUntouched();
      scales.expectRestUntouched();
    }
  });

  test.each(VALUE_TYPES)("dequantize writes to `out`, and nowhere else: %s", (type) => {
    for (const offset of offsets(4)) {
      const Values = type === "f32" ? Float32Array : Uint16Array;
      const { view, expectRestUntouched } = within<Float32Array | Uint16Array>(Values, n, offset);
      expect(fp8.dequantize(tensor, type, { out: view })).toBe(view);
      expectSameValues(view, reference.dequantize(tensor, type), type);
      expectRestUntouched();
    }
  });

  test("`out` can be a block-scaled tensor of before, whatever it holds", () => {
    const old = fp8.quantize(values, shape, scheme);
    const other = values.map((x) => -3 * x);
    expectSameTensor(
      fp8.quantize(other, shape, scheme, { out: old }),
      reference.quantize(other, shape, scheme),
    );
  });

  test("inputs may lie at any offset, and stay as they are", () => {
    for (const offset of offsets(4)) {
      const { view: f32 } = within(Float32Array, n, offset);
      f32.set(values);
      const { view: codes } = within(Uint8Array, n, offset + 1);
      codes.set(tensor.codes);
      const { view: scales } = within(Uint8Array, tensor.scales.length, offset + 3);
      scales.set(tensor.scales);
      const { view: bits } = within(Uint16Array, n, offset + 2);
      bits.set(narrow("bf16", values));

      expectSameBits(fp8.encode(f32, "e5m2"), reference.encode(values, "e5m2"));
      expectSameValues(fp8.decode(codes, "e4m3"), reference.decode(tensor.codes, "e4m3"));
      expectSameTensor(fp8.quantize(f32, shape, scheme), tensor);
      expectSameTensor(
        fp8.quantize(bf16(bits), shape, scheme),
        reference.quantize(bf16(bits.slice()), shape, scheme),
      );
      expectSameValues(fp8.dequantize({ ...tensor, codes, scales }), reference.dequantize(tensor));

      expectSameValues(f32, values);
      expectSameBits(codes, tensor.codes);
      expectSameBits(scales, tensor.scales as Uint8Array);
      expectSameBits(bits, narrow("bf16", values) as Uint16Array);
    }
  });

  test("arrays may be of another realm, in shared memory, or a Buffer", () => {
    const foreign = runInNewContext("new Float32Array([1, 0.3, -0.7])") as Float32Array;
    const shared = new Float32Array(new SharedArrayBuffer(12));
    shared.set(foreign);
    for (const three of [foreign, shared]) {
      expect([...fp8.encode(three, "e4m3")]).toEqual([0x38, 0x2a, 0xb3]);
      expect([...fp8.quantize(three, [3], schemes.mxfp8).codes]).toEqual([0x78, 0x6a, 0xf3]);
    }
    expectSameValues(fp8.decode(Buffer.from([0x38, 0xb8]), "e4m3"), Float32Array.of(1, -1));
    const out = new Uint8Array(new SharedArrayBuffer(3));
    expect([...fp8.encode(foreign, "e4m3", { out })]).toEqual([0x38, 0x2a, 0xb3]);
  });

  test("a result is a plain record: it can be cloned, and its arrays have their own buffers", () => {
    const got = structuredClone(fp8.quantize(values, shape, scheme));
    expect(Object.keys(got).sort()).toEqual(["block", "codes", "format", "scales", "shape"]);
    expect(got.codes.buffer.byteLength).toBe(n);
    expectSameValues(fp8.dequantize(got), reference.dequantize(tensor));
  });

  test("later calls do not change earlier results", () => {
    const [codes, decoded] = [fp8.encode(values, "e4m3"), fp8.decode(tensor.codes, "e4m3")];
    const [quantized, dequantized] = [fp8.quantize(values, shape, scheme), fp8.dequantize(tensor)];
    fp8.encode(LARGE, "e4m3");
    fp8.dequantize(fp8.quantize(LARGE, [1024, 2048], schemes.deepseekWeight));
    expectSameBits(codes, reference.encode(values, "e4m3"));
    expectSameValues(decoded, reference.decode(tensor.codes, "e4m3"));
    expectSameTensor(quantized, tensor);
    expectSameValues(dequantized, reference.dequantize(tensor));
  });

  test("an engine has its memory for itself", async () => {
    const other = await make();
    const got = fp8.quantize(values, shape, scheme);
    other.quantize(LARGE, [LARGE.length], schemes.mxfp8);
    expectSameValues(fp8.dequantize(got), reference.dequantize(tensor));
  });
});

describe.each(INSTANCES)("the memory of %s", async (_, make) => {
  test("is that of one frame, however large the tensor", async () => {
    const instance = await make();
    const fp8 = new Engine(instance, "custom");
    fp8.decode(fp8.encode(LARGE, "e4m3"), "e4m3");
    // One of each kind of block and scale: rounding takes no room.
    for (const scheme of ["mxfp8", "deepseekWeight", "deepseekV3Activation", "nvfp4"] as const)
      fp8.dequantize(fp8.quantize(LARGE, [256, 8192], scheme), "bf16");
    // The most scales: float32, one for two values.
    fp8.dequantize(fp8.quantize(LARGE, [2 ** 20, 2], "deepseekV3Activation"));
    expect(instance.memory.buffer.byteLength).toBeLessThan(WORKING_MEMORY);
  });

  test("is written by a kernel only where the result belongs", async () => {
    const { kernels, memory } = await make();
    const codesAt = 65536;
    const scalesAt = 2 * 65536;
    const valuesAt = 3 * 65536;
    const matrixAt = 4 * 65536;
    memory.grow(4);
    const bytes = new Uint8Array(memory.buffer);
    const untouched = new Uint8Array(bytes.length).fill(CANARY);
    // Below the heap is the kernels' own.
    const heap = kernels.heapBase();
    expect(heap).toBeLessThan(codesAt);
    const expectOnly = (...written: readonly (readonly [start: number, length: number])[]): void => {
      let clean = heap;
      for (const [start, length] of [...written, [bytes.length, 0] as const]) {
        expectSameBits(bytes.subarray(clean, start), untouched.subarray(clean, start));
        clean = start + length;
      }
    };
    for (const [blockRows, blockCols] of [
      [1, 32],
      [1, 128],
      [128, 128],
      [3, 5],
      [1, 1],
    ] as const) {
      for (const cols of [1, 7, 16, 31, 33, 129, 260]) {
        for (const type of VALUE_TYPES) {
          for (const scale of ["ue8m0", "f32"] as const) {
            const rows = 7;
            const blocks = countBlocks([rows, cols], [blockRows, blockCols]);
            const scaleBytes = blocks * (scale === "f32" ? 4 : 1);
            const valueBytes = rows * cols * (type === "f32" ? 4 : 2);
            const types = { format: FORMAT_ID.e4m3, scaleType: SCALE_TYPE_ID[scale] };
            const places = { codes: codesAt, scales: scalesAt };
            const matrix = matrixRecord({ ...types, ...places, rows, cols, blockRows, blockCols });

            bytes.fill(CANARY, heap);
            MATRIX.write(memory.buffer, matrixAt, matrix);
            kernels.quantize(matrixAt, VALUE_TYPE_ID[type], valuesAt, ROUNDING_ID.rceil, 0, 0);
            expectOnly([codesAt, rows * cols], [scalesAt, scaleBytes], [matrixAt, MATRIX.bytes]);

            bytes.fill(CANARY, heap);
            MATRIX.write(memory.buffer, matrixAt, matrix);
            kernels.dequantize(matrixAt, VALUE_TYPE_ID[type], valuesAt);
            expectOnly([valuesAt, valueBytes], [matrixAt, MATRIX.bytes]);
          }
        }
      }
    }
    for (let n = 0; n < 70; n++) {
      bytes.fill(CANARY, heap);
      kernels.encode(FORMAT_ID.e4m3, codesAt, valuesAt, n);
      expectOnly([codesAt, n]);
      bytes.fill(CANARY, heap);
      kernels.decode(FORMAT_ID.e4m3, valuesAt, codesAt, n);
      expectOnly([valuesAt, 4 * n]);
    }
  });
});

describe("load", () => {
  const file = new URL("../../build/baseline.wasm", import.meta.url);
  const one = Float32Array.of(1);

  test("takes the relaxed build where the host accepts it", async () => {
    const relaxed = await readFile(new URL("../../build/relaxed.wasm", import.meta.url));
    expect(WebAssembly.validate(relaxed)).toBe(true); // or this run tests less than it says
    expect((await load()).variant).toBe("relaxed");
  });

  test("takes the build asked for", async () => {
    expect((await load({ variant: "baseline" })).variant).toBe("baseline");
    expect((await load({ variant: "relaxed" })).variant).toBe("relaxed");
  });

  test("takes a build that the caller hosts: bytes, a module, a response, a promise of one", async () => {
    const bytes = new Uint8Array(await readFile(file));
    const sources = [bytes, bytes.buffer, new WebAssembly.Module(bytes), new Response(bytes)];
    for (const wasm of [...sources, Promise.resolve(new Response(bytes))]) {
      const fp8 = await load({ wasm });
      expect([fp8.variant, fp8.encode(one, "e4m3")[0]]).toEqual(["custom", 0x38]);
    }
  });
});

describe("values of 16 bits", () => {
  const bits = new Uint16Array(randomWords(16, 500).buffer);

  test.each(ENGINES)("%s takes a Float16Array, where the platform has one, as f16", async (_, make) => {
    const fp8 = await make();
    const views: (ReturnType<typeof f16> | Float32Array)[] = [f16(bits)];
    const { Float16Array } = globalThis as { Float16Array?: new (buffer: ArrayBufferLike) => Float32Array };
    if (Float16Array) views.push(new Float16Array(bits.buffer));
    for (const view of views) {
      expectSameTensor(
        fp8.quantize(view, [bits.length], schemes.mxfp8),
        reference.quantize(f16(bits), [bits.length], schemes.mxfp8),
      );
    }
  });
});
