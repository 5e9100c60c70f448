import { describe, expect, onTestFinished, test } from "vitest";
import { instantiate as instantiateJs } from "../../src/js/kernels.ts";
import { load } from "../../src/plain-js.ts";
import { FORMAT_ID, ROUNDING_ID, SCALE_TYPE_ID, VALUE_TYPE_ID } from "../../src/tensor/formats.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import type { Format, ValueType } from "../../src/tensor/tensor.ts";
import { compile } from "../../src/wasm/builds.ts";
import { type Instance, instantiate } from "../../src/wasm/instantiate.ts";
import { MATRIX, matrixRecord } from "../../src/wasm/matrix.ts";
import { expectSameBits, expectSameValues } from "../support/bits.ts";
import { randomFinite, randomNormal, randomWords } from "../support/random.ts";

const ROWS = 11;
const COLS = 683;
const N = ROWS * COLS;
/**
 * Where things are in both memories: behind what the wasm build keeps for itself, each with room for 65536.
 */
const PLACE = 32000;
const SRC = 32768;
const CODES = SRC + 4 * 65536;
const SCALES = CODES + 65536;
const DST = SCALES + 4 * 65536;
const PAGES = 16;

/** float32 bits of 1e-4. */
const AMAX_FLOOR = 0x38d1b717;

function both(): [wasm: Instance, js: Instance] {
  const wasm = instantiate(compile("baseline").module);
  const js = instantiateJs();
  for (const { memory } of [wasm, js]) memory.grow(PAGES);
  return [wasm, js];
}

/** Inputs that meet every path: weights, all magnitudes, tiny and huge ones, zero blocks, specials. */
function inputs(type: ValueType): readonly (Float32Array | Uint16Array)[] {
  if (type !== "f32") {
    const bits = new Uint16Array(randomWords(21, N).buffer, 0, N);
    return [bits, bits.map((h) => h & 0x83ff), new Uint16Array(N).fill(0x8000)];
  }
  const normal = randomNormal(22, N);
  return [
    normal,
    randomFinite(23, N),
    normal.map((x) => x * 2 ** -126),
    normal.map((x) => x * 2 ** 124),
    new Float32Array(N).fill(-0),
    normal.map((x, i) => (i % 97 === 0 ? Number.NaN : x)),
  ];
}

/** Every way to quantise a matrix: block, rounding, and both kinds of scales. */
const WAYS = [
  [1, 32],
  [1, 128],
  [128, 128],
  [5, 7],
  [1, 1000],
].flatMap(([blockRows, blockCols]) =>
  Object.values(ROUNDING_ID).flatMap((rounding) =>
    [0, AMAX_FLOOR].flatMap((amaxFloor) =>
      Object.values(SCALE_TYPE_ID).map((scaleType) => ({
        block: [blockRows, blockCols] as [number, number],
        rounding,
        amaxFloor,
        scaleType,
      })),
    ),
  ),
);

const FORMATS: readonly Format[] = ["e4m3", "e5m2"];
const TYPES: readonly ValueType[] = ["f32", "bf16", "f16"];

type Way = (typeof WAYS)[number];

/** Quantises what is at SRC to CODES and SCALES, and dequantises that to DST. */
function roundTrip(instance: Instance, format: Format, type: ValueType, way: Way): void {
  const { kernels } = instance;
  const { block, rounding, amaxFloor, scaleType } = way;
  const size = { rows: ROWS, cols: COLS, blockRows: block[0], blockCols: block[1] };
  putMatrix(instance, { format: FORMAT_ID[format], scaleType, codes: CODES, scales: SCALES, ...size });
  kernels.quantize(PLACE, VALUE_TYPE_ID[type], SRC, rounding, amaxFloor, 0x69);
  kernels.dequantize(PLACE, VALUE_TYPE_ID[type], DST);
}

function putMatrix({ memory }: Instance, fields: Parameters<typeof matrixRecord>[0]): void {
  MATRIX.write(memory.buffer, PLACE, matrixRecord(fields));
}

function view(buffer: ArrayBuffer, type: ValueType, n: number): Float32Array | Uint16Array {
  return type === "f32" ? new Float32Array(buffer, DST, n) : new Uint16Array(buffer, DST, n);
}

function results({ memory: { buffer } }: Instance, type: ValueType, way: Way) {
  const scales = Math.ceil(ROWS / way.block[0]) * Math.ceil(COLS / way.block[1]);
  return {
    codes: new Uint8Array(buffer, CODES, N),
    scales: new Uint8Array(buffer, SCALES, scales * (way.scaleType === SCALE_TYPE_ID.f32 ? 4 : 1)),
    values: view(buffer, type, N),
  };
}

describe.each(FORMATS)("%s: the same memory as the wasm build", (format) => {
  const [wasm, js] = both();

  test.each(TYPES)("quantize and dequantize %s", (type) => {
    for (const input of inputs(type)) {
      const bytes = new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
      for (const { memory } of [wasm, js]) new Uint8Array(memory.buffer, SRC, bytes.length).set(bytes);
      for (const way of WAYS) {
        roundTrip(wasm, format, type, way);
        roundTrip(js, format, type, way);
        const want = results(wasm, type, way);
        const got = results(js, type, way);
        expectSameBits(got.scales, want.scales);
        expectSameBits(got.codes, want.codes);
        expectSameValues(got.values, want.values, type);
      }
    }
  });

  test.each(TYPES)("dequantize to %s: every code with every scale byte", (type) => {
    const read = (instance: Instance) => {
      const { kernels, memory } = instance;
      const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
      new Uint8Array(memory.buffer, SCALES, 256).set(bytes);
      for (let row = 0; row < 256; row++) new Uint8Array(memory.buffer, CODES + 256 * row, 256).set(bytes);
      const types = { format: FORMAT_ID[format], scaleType: SCALE_TYPE_ID.ue8m0 };
      putMatrix(instance, { ...types, codes: CODES, scales: SCALES, rows: 256, cols: 256, blockCols: 256 });
      kernels.dequantize(PLACE, VALUE_TYPE_ID[type], DST);
      return view(memory.buffer, type, 65536);
    };
    expectSameValues(read(js), read(wasm), type, (i) => `(scale byte ${i >> 8}, code ${i & 255})`);
  });

  test("encode and decode", () => {
    const patterns = randomWords(24, N);
    for (const { kernels, memory } of [wasm, js]) {
      new Uint32Array(memory.buffer, SRC, N).set(patterns);
      kernels.encode(FORMAT_ID[format], CODES, SRC, N);
      kernels.decode(FORMAT_ID[format], DST, CODES, N);
    }
    const [ours, theirs] = [js, wasm].map(({ memory }) => new Uint8Array(memory.buffer));
    expectSameBits(ours!.subarray(CODES, CODES + N), theirs!.subarray(CODES, CODES + N));
    expectSameBits(ours!.subarray(DST, DST + 4 * N), theirs!.subarray(DST, DST + 4 * N));
  });
});

describe("memory", () => {
  test("grows with its content, and tells its old size", () => {
    const { memory } = instantiateJs();
    new Uint8Array(memory.buffer).fill(7);
    expect(memory.grow(3)).toBe(2);
    const bytes = new Uint8Array(memory.buffer);
    expect(bytes.length).toBe(5 * 65536);
    expect([bytes[0], bytes[2 * 65536 - 1], bytes[2 * 65536], bytes.at(-1)]).toEqual([7, 7, 0, 0]);
  });

  test("kernels work on the grown memory", () => {
    const { kernels, memory } = instantiateJs();
    memory.grow(1);
    new Float32Array(memory.buffer, 64, 1)[0] = -448;
    kernels.encode(FORMAT_ID.e4m3, 0, 64, 1);
    expect(new Uint8Array(memory.buffer)[0]).toBe(0xfe);
  });

  test("ends at 4 GiB", () => {
    expect(() => instantiateJs().memory.grow(65535)).toThrow(RangeError);
  });
});

test("the engine runs on a host without WebAssembly", async () => {
  const original = globalThis.WebAssembly;
  Reflect.deleteProperty(globalThis, "WebAssembly");
  onTestFinished(() => {
    globalThis.WebAssembly = original;
  });
  const fp8 = await load();
  expect(fp8.variant).toBe("js");
  const tensor = fp8.quantize(Float32Array.of(1, 0.3, -0.7), [1, 3], schemes.deepseekActivation);
  // DeepGEMM's per_token_cast_to_fp8 with UE8M0 scales gives 2^-8 and these codes.
  expect([...(tensor.scales as Uint8Array), ...tensor.codes]).toEqual([0x77, 0x78, 0x6a, 0xf3]);
});

test("both kinds of kernels have the same functions", () => {
  const [wasm, js] = both();
  const names = Object.entries(wasm.kernels)
    .filter(([, value]) => typeof value === "function")
    .map(([name]) => name);
  expect(Object.keys(js.kernels).sort()).toEqual(names.sort());
});
