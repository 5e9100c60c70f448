import { readFileSync } from "node:fs";
import { bf16, load, schemes } from "../dist/index.js";
import { instantiate as instantiateJs } from "../dist/js/kernels.js";
import { FORMAT_ID, ROUNDING_ID, SCALE_TYPE_ID, VALUE_TYPE_ID } from "../dist/tensor/formats.js";
import { compile } from "../dist/wasm/builds.js";
import { MATRIX, matrixRecord } from "../dist/wasm/matrix.js";
import { randomCodes, values } from "./data.mjs";
import * as arithmetic from "./peers/arithmetic.mjs";
import { blockOf, elementsOf, SIZES, trafficOf } from "./workloads.mjs";

const { e4m3 } = FORMAT_ID;
const { ue8m0 } = SCALE_TYPE_ID;
const { rceil } = ROUNDING_ID;
const ZERO_SCALE = 0;

/** Rows and columns of a tensor of `n` elements: whole blocks of 128 x 128, not too narrow. */
function shapeOf(n) {
  const cols = Math.min(8192, Math.max(512, 2 ** Math.floor(Math.log2(n) / 2)));
  return [n / cols, cols];
}

/** The arrays of a work in JavaScript's own memory. */
function arraysOf(work) {
  const { type, data } = work;
  const n = elementsOf(work);
  const [rows, cols] = shapeOf(n);
  const [blockRows, blockCols] = work.block ? blockOf(work) : [1, cols];
  const input = values(data, type, n);
  return {
    n,
    rows,
    cols,
    blockRows,
    blockCols,
    values: input,
    codes: new Uint8Array(n),
    scales: new Uint8Array((rows / blockRows) * (cols / blockCols)),
  };
}

/** The release builds that this host accepts, best first. */
export function variants() {
  return ["relaxed", "baseline"].filter((variant) => {
    try {
      return compile(variant) !== undefined;
    } catch {
      return false;
    }
  });
}

const limitsModule = new WebAssembly.Module(readFileSync(new URL("../build/limits.wasm", import.meta.url)));
const memory = new WebAssembly.Memory({ initial: 2, maximum: 65536 });
const instance = (module) => new WebAssembly.Instance(module, { env: { memory } }).exports;
const limits = instance(limitsModule);
const kernelsOf = Object.fromEntries(
  variants().map((variant) => [variant, instance(compile(variant).module)]),
);
const js = instantiateJs();
const engine = await load();

export const apiVariant = engine.variant;

/** Places for values, codes and scales from `base`, and for half of the traffic behind them; grows the memory. */
function layout(memory, base, arrays, spare) {
  let end = base;
  const place = (bytes) => {
    const at = Math.ceil(end / 64) * 64;
    // A few lines of distance keep arrays of power-of-two lengths from meeting in the same cache sets.
    end = at + bytes + 320;
    return at;
  };
  const at = {
    values: place(arrays.values.byteLength),
    codes: place(arrays.codes.byteLength),
    scales: place(arrays.scales.byteLength),
    matrix: place(MATRIX.bytes),
    spare: place(spare),
  };
  const missing = Math.ceil((end - memory.buffer.byteLength) / 65536);
  if (missing > 0) memory.grow(missing);
  return { ...at, end };
}

/**
 * One call of a verb on kernels, all of it in their memory. Functions are bound, here and below, instead of wrapped: V8 would
 * inline a wrapped one and compile it anew, some loops five times as slow, and each caller would be measured differently.
 */
function callOf(kernels, { verb, type }, at, { n }) {
  const id = VALUE_TYPE_ID[type];
  switch (verb) {
    case "encode":
      return kernels.encode.bind(null, e4m3, at.codes, at.values, n);
    case "decode":
      return kernels.decode.bind(null, e4m3, at.values, at.codes, n);
    case "quantize":
      return kernels.quantize.bind(null, at.matrix, id, at.values, rceil, 0, ZERO_SCALE);
    case "dequantize":
      return kernels.dequantize.bind(null, at.matrix, id, at.values);
  }
}

function fill(memory, at, arrays) {
  new arrays.values.constructor(memory.buffer, at.values, arrays.n).set(arrays.values);
  new Uint8Array(memory.buffer, at.codes, arrays.n).set(arrays.codes);
  new Uint8Array(memory.buffer, at.scales, arrays.scales.length).set(arrays.scales);
  const { rows, cols, blockRows, blockCols } = arrays;
  const { codes, scales } = at;
  const parts = { format: e4m3, scaleType: ue8m0, codes, scales, rows, cols, blockRows, blockCols };
  MATRIX.write(memory.buffer, at.matrix, matrixRecord(parts));
}

const isEncoding = ({ verb }) => verb === "encode" || verb === "quantize";

function limitOf(work, at, { n }) {
  const width = work.type === "f32" ? 4 : 2;
  return isEncoding(work)
    ? () => limits[`narrow${width}`](at.codes, at.values, n)
    : () => limits[`widen${width}`](at.values, at.codes, n);
}

/** The public API with `out` reused; arrays are the caller's, copies in and out are part of the time. */
function apiOf({ verb, type }, arrays) {
  const { codes, scales, rows, cols, blockRows, blockCols } = arrays;
  const shape = [rows, cols];
  const block = [blockRows, blockCols];
  const scheme = { ...schemes.mxfp8, block };
  const tensor = { format: "e4m3", shape, block, codes, scales };
  const input = type === "f32" ? arrays.values : bf16(arrays.values);
  switch (verb) {
    case "encode":
      return () => engine.encode(arrays.values, "e4m3", { out: codes });
    case "decode":
      return () => engine.decode(codes, "e4m3", { out: arrays.values });
    case "quantize":
      return () => engine.quantize(input, shape, scheme, { out: tensor });
    case "dequantize":
      return () => engine.dequantize(tensor, type, { out: arrays.values });
  }
}

/** The same with the result in the engine's memory, where a next call would find it. */
function residentOf(arrays) {
  const { codes, scales, rows, cols, blockRows, blockCols } = arrays;
  const tensor = { format: "e4m3", shape: [rows, cols], block: [blockRows, blockCols], codes, scales };
  const out = engine.resident([rows, cols]);
  residents.push(out);
  return () => engine.dequantize(tensor, "f32", { out });
}

/** The results in the engine's memory, the last one behind the others. */
const residents = [];

function arithmeticOf({ verb, type }, { values, codes, scales, rows, cols, blockRows, blockCols }) {
  const bits = type === "f32" ? new Int32Array(values.buffer) : values;
  const grid = [rows, cols, blockRows, blockCols];
  switch (verb) {
    case "encode":
      return arithmetic.encode.bind(null, codes, bits);
    case "decode":
      return arithmetic.decode.bind(null, values, codes);
    case "quantize":
      return arithmetic.quantize.bind(null, codes, scales, bits, ...grid);
    case "dequantize":
      return arithmetic.dequantize.bind(null, values, codes, scales, ...grid);
  }
}

/** Codes and scales for the decoding verbs: random ones, or made by the verb that is their inverse. */
function makeCodes(work, arrays) {
  if (work.data === "random") return randomCodes(arrays.codes, arrays.scales);
  const inverse = { decode: "encode", dequantize: "quantize" }[work.verb];
  if (inverse) apiOf({ ...work, verb: inverse }, arrays)();
}

/** Where the next work's data may go in either memory, when several are to be measured side by side. */
const free = { wasm: 0, js: 0 };

export function releaseAll() {
  free.wasm = kernelsOf.baseline.heapBase();
  free.js = js.kernels.heapBase();
  for (const resident of residents.splice(0)) resident.free();
}

/**
 * Functions to time, by name: memory.copy of the same bytes, the same loads and stores without arithmetic, the kernel of each
 * build on data in its memory, the public API, and plain JavaScript by table and by arithmetic. All compute the
 * same bits, which is checked first.
 */
export function contestantsOf(work) {
  const arrays = arraysOf(work);
  makeCodes(work, arrays);
  const half = Math.floor(trafficOf(work) / 2);
  const at = layout(memory, free.wasm, arrays, half);
  free.wasm = at.end;
  fill(memory, at, arrays);
  const contestants = {
    copy: () => limits.copy(at.spare, at.values, half),
    limit: limitOf(work, at, arrays),
  };
  for (const [variant, kernels] of Object.entries(kernelsOf)) {
    contestants[`kernel ${variant}`] = callOf(kernels, work, at, arrays);
  }
  contestants[`api ${apiVariant}`] = apiOf(work, arrays);
  if (!work.withJs) return verified(work, arrays, contestants, at);
  if (work.verb === "dequantize" && work.type === "f32") contestants.resident = residentOf(arrays);
  const jsAt = layout(js.memory, free.js, arrays, 0);
  free.js = jsAt.end;
  fill(js.memory, jsAt, arrays);
  contestants["js table"] = callOf(js.kernels, work, jsAt, arrays);
  contestants["js arithmetic"] = arithmeticOf(work, arrays);
  return verified(work, arrays, contestants, at, jsAt);
}

/** Runs each contestant once and compares what it wrote; the largest works differ from smaller ones in nothing but time. */
function verified(work, arrays, contestants, at, jsAt) {
  if (work.bytes > SIZES["8 MiB"]) return contestants;
  const key = isEncoding(work) ? "codes" : "values";
  const target = arrays[key];
  const bytesOf = (name) => {
    if (name.startsWith("kernel")) return new Uint8Array(memory.buffer, at[key], target.byteLength);
    if (name === "resident") return new Uint8Array(residents.at(-1).read().buffer);
    if (name === "js table") return new Uint8Array(js.memory.buffer, jsAt[key], target.byteLength);
    return new Uint8Array(target.buffer);
  };
  let want;
  for (const [name, run] of Object.entries(contestants)) {
    if (name === "copy" || name === "limit") continue;
    bytesOf(name).fill(0xa5);
    run();
    want ??= bytesOf(name).slice();
    if (Buffer.compare(bytesOf(name), want) !== 0) {
      throw new Error(`${name} disagrees with the other contestants in ${JSON.stringify(work)}`);
    }
  }
  return contestants;
}
