import { type CheckedTensor, checkArray, checkDisjoint, type RawValues } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { FORMAT_ID, type FormatId, VALUE_TYPE_ID } from "../tensor/formats.ts";
import type { Grid, ValueType } from "../tensor/tensor.ts";
import type { Arena } from "../wasm/arena.ts";
import type { Kernels } from "../wasm/kernels.ts";
import {
  type Chunk,
  chunkBytes,
  chunksOf,
  putChunk,
  type Rectangle,
  ROW_CHUNK,
  scatter,
  stage,
  writeChunkMatrix,
} from "./chunks.ts";
import { addPrecisions, EMPTY_PRECISION, type Precision } from "./precision.ts";

/** Float64 numbers that the kernel adds to. */
const SUMS = 9;

/** Consecutive values whose two sums are a pair in `groupSums`. */
export const GROUP_SIZE = 16;

/** What is compared: values as they are, or the codes of a tensor. Codes are FP8. */
export type Compared = RawValues | CheckedTensor;

/** Values whose float32 are made at a time, while they are in the cache. */
const PIECE = ROW_CHUNK;

/** Compares values with what became of them, of which one at most is a tensor; see Engine.compare. */
export function compareValues(
  kernels: Kernels,
  arena: Arena,
  values: Compared,
  result: Compared,
  groupSums: Float64Array | undefined,
): Precision {
  const inputs = [values, result].flatMap((side): ArrayBufferView[] =>
    "codes" in side ? [side.codes, side.scales] : [side.data],
  );
  const tensor = [result, values].find((side): side is CheckedTensor => "codes" in side);
  const elements = tensor?.grid.elements ?? (values as RawValues).data.length;
  const type = "codes" in values ? "f32" : values.type;
  const format = FORMAT_ID["codes" in result ? result.format : "e4m3"];
  checkGroupSums(groupSums, tensor?.grid ?? { elements, cols: elements, block: [1, elements] }, inputs);
  let precision = EMPTY_PRECISION;
  for (const chunk of tensor === undefined ? spansOf(elements) : chunksOf(tensor.grid)) {
    const { rows, cols } = chunk;
    const height = Math.max(1, Math.min(rows, Math.floor(PIECE / cols)));
    const sizes = [8 * SUMS, groupSumsBytes(groupSums, rows * cols)] as const;
    const staging = [...sizeOf(values, chunk, height), ...sizeOf(result, chunk, height)] as const;
    arena.frame([...sizes, ...staging] as const, (sums, own, a, b, c, d, ...rest) => {
      const x = stageSide(arena.buffer, values, chunk, [a, b, c, d]);
      const y = stageSide(arena.buffer, result, chunk, rest);
      for (let row = 0; row < rows; row += height) {
        const [first, n] = [row * cols, Math.min(height, rows - row) * cols];
        const at = {
          sums,
          values:
            "codes" in values
              ? floatsAt(kernels, arena, x, row, n)
              : x.data + first * values.data.BYTES_PER_ELEMENT,
          result: floatsAt(kernels, arena, y, row, n),
          codes: "codes" in result ? y.data + first : 0,
          groupSums: groupSums === undefined ? 0 : own + (16 * first) / GROUP_SIZE,
        };
        precision = addPrecisions(precision, runCompare(kernels, arena, format, type, at, n));
      }
      if (groupSums !== undefined) putGroupSums(arena.buffer, own, groupSums, chunk);
    });
  }
  return precision;
}

/** Arrays in pieces, as the chunks of a tensor are. */
function* spansOf(elements: number): Generator<Chunk> {
  const scales = { scaleStart: 0, scaleRows: 0, scaleCols: 0, scaleStride: 0 };
  for (let start = 0; start < elements; start += ROW_CHUNK) {
    const cols = Math.min(ROW_CHUNK, elements - start);
    yield { start, rows: 1, cols, stride: cols, ...scales };
  }
}

/** Addresses of one side of a comparison: its matrix, data, scales and float32 values. */
type SideAddresses = readonly [matrix: number, data: number, scales: number, floats: number];

/** One side in linear memory: see {@link SideAddresses}. */
interface Staged {
  readonly side: Compared;
  readonly chunk: Chunk;
  readonly matrix: number;
  readonly data: number;
  readonly scales: number;
  readonly floats: number;
}

/** Bytes at each of the {@link SideAddresses}. */
function sizeOf(side: Compared, chunk: Chunk, height: number): SideAddresses {
  const floats = 4 * height * chunk.cols;
  if ("codes" in side) return [...chunkBytes(chunk, side), floats];
  const data = chunk.rows * chunk.cols * side.data.BYTES_PER_ELEMENT;
  return [0, data, 0, side.type === "f32" ? 0 : floats];
}

/** Copies a chunk of one side into linear memory. */
function stageSide(buffer: ArrayBuffer, side: Compared, chunk: Chunk, addresses: SideAddresses): Staged {
  const [matrix, data, scales, floats] = addresses;
  if ("codes" in side) putChunk(buffer, [matrix, data, scales], chunk, side);
  else stage(buffer, data, side.data, chunk);
  return { side, chunk, matrix, data, scales, floats };
}

/** Where the float32 of some rows are: made there unless they are float32 already. */
function floatsAt(kernels: Kernels, arena: Arena, staged: Staged, row: number, n: number): number {
  const { side, chunk, matrix, data, scales, floats } = staged;
  if ("codes" in side) {
    const addresses = [matrix, data, scales] as const;
    writeChunkMatrix(arena.buffer, addresses, chunk, side, { firstRow: row, rows: n / chunk.cols });
    kernels.dequantize(matrix, VALUE_TYPE_ID.f32, floats);
    return floats;
  }
  const at = data + row * chunk.cols * side.data.BYTES_PER_ELEMENT;
  if (side.type === "f32") return at;
  kernels.widen(VALUE_TYPE_ID[side.type], floats, at, n);
  return floats;
}

/** Checks the array for the sums of each sixteen values, which is apart from what is compared. */
function checkGroupSums(
  groupSums: Float64Array | undefined,
  { elements, cols, block }: Pick<Grid, "elements" | "cols" | "block">,
  inputs: readonly ArrayBufferView[],
): void {
  if (groupSums === undefined) return;
  const bad = [cols, Math.min(block[1], cols)].find((width) => width % GROUP_SIZE !== 0);
  if (bad !== undefined) {
    throw new BlockscaleError("shape", {
      where: "compare: groupSums",
      expected: `columns, and columns of a block, in multiples of ${GROUP_SIZE}`,
      got: `${bad} columns`,
      fix: "Leave the option out.",
    });
  }
  checkArray("compare: groupSums", groupSums, "Float64Array", (2 * elements) / GROUP_SIZE);
  for (const input of inputs) checkDisjoint("compare: groupSums", groupSums, input);
}

function groupSumsBytes(groupSums: Float64Array | undefined, n: number): number {
  return groupSums === undefined ? 0 : (2 * 8 * n) / GROUP_SIZE;
}

/** Copies the sums of a rectangle into the array of all sums. */
function putGroupSums(
  buffer: ArrayBuffer,
  own: number,
  groupSums: Float64Array,
  { start, rows, cols, stride }: Rectangle,
): void {
  const each = GROUP_SIZE / 2;
  const found = new Float64Array(buffer, own, (rows * cols) / each);
  scatter(groupSums, found, { start: start / each, rows, cols: cols / each, stride: stride / each });
}

/** Addresses of what the kernel compares and writes; 0 for codes and sums that are not asked for. */
interface ComparedAddresses {
  readonly sums: number;
  readonly values: number;
  readonly result: number;
  readonly codes: number;
  readonly groupSums: number;
}

function runCompare(
  kernels: Kernels,
  arena: Arena,
  format: FormatId,
  type: ValueType,
  { sums, values, result, codes, groupSums }: ComparedAddresses,
  n: number,
): Precision {
  const measure = (nonFinite: number): Precision => {
    const found = new Float64Array(arena.buffer, sums, SUMS).fill(0);
    kernels.compare(format, VALUE_TYPE_ID[type], sums, values, result, codes, groupSums, n);
    const [signal, noise, energy, product, amax, maxError, maxRelative, flushed, saturated] =
      found as unknown as [number, number, number, number, number, number, number, number, number];
    return {
      count: n,
      signal,
      noise,
      energy,
      product,
      amax,
      maxError,
      maxRelative,
      flushed,
      saturated,
      nonFinite,
    };
  };
  const precision = measure(0);
  // The square of a difference of two finite float32 is far from the largest float64.
  return precision.noise < Infinity
    ? precision
    : measure(clearNonFinite(arena.buffer, type, values, result, n));
}

/** Bits of Inf. */
const INFINITY_BITS: Readonly<Record<ValueType, number>> = { f32: 0x7f800000, bf16: 0x7f80, f16: 0x7c00 };

/**
 * Puts zeros, which count for nothing, in place of every pair with a NaN or Inf.
 * @returns how many of these pairs are not the same NaN, Inf or -Inf before and after
 */
function clearNonFinite(
  buffer: ArrayBuffer,
  type: ValueType,
  values: number,
  result: number,
  n: number,
): number {
  const x = type === "f32" ? new Uint32Array(buffer, values, n) : new Uint16Array(buffer, values, n);
  const y = new Uint32Array(buffer, result, n);
  let different = 0;
  for (let i = 0; i < n; i++) {
    const before = specialOf(x[i]!, INFINITY_BITS[type]);
    const after = specialOf(y[i]!, INFINITY_BITS.f32);
    if (before === 0 && after === 0) continue;
    if (!Object.is(before, after)) different++;
    x[i] = 0;
    y[i] = 0;
  }
  return different;
}

/** NaN, Inf or -Inf where bits say so; 0 for everything finite. */
function specialOf(bits: number, infinity: number): number {
  if ((bits & infinity) !== infinity) return 0;
  const sign = infinity > 0xffff ? 0x80000000 : 0x8000;
  return bits === infinity ? Infinity : bits === infinity + sign ? -Infinity : NaN;
}
