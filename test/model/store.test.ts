import { expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { compileForModels } from "../../src/model/build.ts";
import type { ModelKernels } from "../../src/model/kernels.ts";
import { type DeclaredRows, type LoadedTensor, readRowsAsFloat32 } from "../../src/model/loaded-tensor.ts";
import { Store } from "../../src/model/store.ts";
import { schemes } from "../../src/tensor/schemes.ts";
import { Arena } from "../../src/wasm/arena.ts";
import { instantiate } from "../../src/wasm/instantiate.ts";
import { roundedRow } from "../reference/integers.ts";
import { randomNormal } from "../support/random.ts";

const { module, variant } = compileForModels("baseline");
const engine = new Engine(instantiate(module), variant);

/** A store in a memory of its own. */
function makeStore(weights: "codes" | "int7") {
  const { kernels, memory } = instantiate(module);
  const arena = new Arena(memory, kernels.heapBase());
  const store = new Store(kernels as ModelKernels, arena, weights);
  const rowsOf = ({ rows, cols, slices }: LoadedTensor) =>
    arena.frame([4 * cols], (at) =>
      slices.flatMap((slice) =>
        Array.from({ length: rows }, (_, row) => {
          readRowsAsFloat32(kernels as ModelKernels, arena, at, slice, row, 1, cols);
          return new Float32Array(arena.buffer, at, cols).slice();
        }),
      ),
    );
  return { store, rowsOf, bytes: () => arena.buffer.byteLength };
}

const [SLICES, ROWS, COLS] = [2, 45, 40];
const BLOCK = [8, 16] as const;
const RANGE = { start: 5, end: 42 };

/** Rows of both slices of a tensor, in an order that reads may bring them in. */
function fill(store: Store, isScaled: boolean): Float32Array {
  const values = randomNormal(7, SLICES * ROWS * COLS);
  const scheme = { ...schemes.deepseekWeight!, block: BLOCK };
  const tensor = engine.quantize(values, [SLICES, ROWS, COLS], scheme);
  const declared: DeclaredRows = {
    ...{ key: "a", name: "a", slices: SLICES, cols: COLS, isMultiplied: true, range: RANGE },
    totalRows: ROWS,
    inFile: isScaled ? { kind: "scaled", format: 0, scaleType: 0, block: BLOCK } : { kind: "plain", type: 0 },
  };
  store.declare(declared);
  const gridRows = Math.ceil(ROWS / BLOCK[0]);
  const gridCols = Math.ceil(COLS / BLOCK[1]);
  for (const slice of [1, 0]) {
    for (const first of [29, 5, 41, 17]) {
      const end = Math.min(RANGE.end, first + 12);
      const [from, to] = [(slice * ROWS + first) * COLS, (slice * ROWS + end) * COLS];
      const top = slice * gridRows + Math.floor(first / BLOCK[0]);
      const bottom = slice * gridRows + Math.ceil(end / BLOCK[0]);
      store.fill({
        key: "a",
        slice,
        first,
        values: isScaled
          ? tensor.codes.slice(from, to)
          : new Uint8Array(values.slice(from, to).buffer, 0, 4 * (to - from)),
        scales: isScaled ? (tensor.scales as Uint8Array).slice(top * gridCols, bottom * gridCols) : null,
      });
    }
  }
  store.seal("a");
  return isScaled ? engine.dequantize(tensor) : values;
}

/** The rows that the member holds. */
function held(values: Float32Array): Float32Array[] {
  return Array.from({ length: SLICES }, (_, slice) =>
    Array.from({ length: RANGE.end - RANGE.start }, (_, row) => {
      const at = (slice * ROWS + RANGE.start + row) * COLS;
      return values.slice(at, at + COLS);
    }),
  ).flat();
}

test.each([true, false])("pieces come together in any order: codes %s", (isScaled) => {
  const { store, rowsOf } = makeStore("codes");
  const values = fill(store, isScaled);
  expect(rowsOf(store.get("a"))).toEqual(held(values));
});

test.each([true, false])("rows become integers piece by piece, to the bit: codes %s", (isScaled) => {
  const { store, rowsOf } = makeStore("int7");
  const values = fill(store, isScaled);
  const expected = held(values).map((row) => {
    const { integers, scales } = roundedRow(row, 63, 32);
    return Float32Array.from(integers, (n, k) => n * scales[Math.floor(k / 32)]!);
  });
  expect(rowsOf(store.get("a"))).toEqual(expected);
});

test("rows have their subnormal codes, whose places products need as zeros", () => {
  const { store, rowsOf } = makeStore("codes");
  const [rows, cols] = [3, 256];
  const values = randomNormal(3, rows * cols);
  values[7] = 9e-5;
  values[cols + 200] = -5e-5;
  values[cols + 201] = 8e-5;
  const tensor = engine.quantize(values, [rows, cols], schemes.deepseekWeight!);
  expect(tensor.codes.filter((code) => (code & 0x7f) > 0 && (code & 0x7f) < 8).length).toBeGreaterThan(2);
  store.declare({
    ...{ key: "a", name: "a", slices: 1, cols, isMultiplied: true, totalRows: rows },
    range: { start: 0, end: rows },
    inFile: { kind: "scaled", format: 0, scaleType: 0, block: [128, 128] },
  });
  store.fill({ key: "a", slice: 0, first: 0, values: tensor.codes, scales: tensor.scales as Uint8Array });
  store.seal("a");
  const all = engine.dequantize(tensor);
  const expected = Array.from({ length: rows }, (_, row) => all.slice(row * cols, (row + 1) * cols));
  for (let turn = 0; turn < 2; turn++) expect(rowsOf(store.get("a"))).toEqual(expected);
});

test("integers are made without a copy of the whole tensor", () => {
  const { store, bytes } = makeStore("int7");
  const [rows, cols] = [12 * 1024, 256];
  const before = bytes();
  store.declare({
    ...{ key: "a", name: "a", slices: 1, cols, isMultiplied: true, totalRows: rows },
    range: { start: 0, end: rows },
    inFile: { kind: "plain", type: 0 },
  });
  const values = new Uint8Array(4 * 12 * cols);
  for (let first = 0; first < rows; first += 12)
    store.fill({ key: "a", slice: 0, first, values, scales: null });
  store.seal("a");
  const packed = (rows * cols * 36) / 32;
  // Two pages for a piece, and what the beginning of memory leaves free.
  expect(bytes() - before).toBeLessThan(packed + 4 * 65536);
});
