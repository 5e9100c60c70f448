import {
  type FormatId,
  NAN_CODE,
  type RoundingId,
  SCALE_TYPE_ID,
  VALUE_TYPE_ID,
  type ValueTypeId,
} from "../tensor/formats.ts";
import { readMatrix } from "../wasm/matrix.ts";
import { encodeSpan, type Fp8, fp8Of } from "./fp8.ts";
import { widen, widenSpan } from "./half.ts";
import type { ArrayMemory } from "./memory.ts";
import { floatOf, multiplierBits, NAN_SCALE, scaleByte } from "./scale.ts";

/**
 * Scale bytes below this one meet float32 subnormals: their blocks are encoded as if 2^RAISE times larger.
 */
const LOW_SCALE = 32;
const RAISE = 64;

/** Values on their way from the value type to codes, a span of a row at a time. */
const staged: Float32Array = /* @__PURE__ */ new Float32Array(512);
const stagedBits: Int32Array = /* @__PURE__ */ new Int32Array(staged.buffer);

/** A block of values that becomes codes. */
interface Block {
  readonly memory: ArrayMemory;
  readonly format: Fp8;
  readonly type: ValueTypeId;
  /** Address of its first code, and codes from one row to the next. */
  readonly codes: number;
  readonly stride: number;
  /** Index of its first value in the view of their type, and values from one row to the next. */
  readonly values: number;
  readonly cols: number;
  readonly height: number;
  readonly width: number;
}

/** The largest magnitude of n float32, as bits: Inf and NaN come out on top. */
function amaxOfSpan(bits: Int32Array, from: number, n: number): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  // Four maxima that do not wait for each other.
  for (; i <= n - 4; i += 4) {
    a = Math.max(a, bits[from + i]! & 0x7fffffff);
    b = Math.max(b, bits[from + i + 1]! & 0x7fffffff);
    c = Math.max(c, bits[from + i + 2]! & 0x7fffffff);
    d = Math.max(d, bits[from + i + 3]! & 0x7fffffff);
  }
  for (; i < n; i++) a = Math.max(a, bits[from + i]! & 0x7fffffff);
  return Math.max(a, b, c, d);
}

/** The largest magnitude of halves as bits: their patterns are in the order of their magnitudes too. */
function amaxOfHalves(halves: Uint16Array, from: number, n: number): number {
  let amax = 0;
  for (let i = 0; i < n; i++) amax = Math.max(amax, halves[from + i]! & 0x7fff);
  return amax;
}

/** The largest magnitude of a block, as float32 bits. */
function amaxOfBlock({ memory, type, values, cols, height, width }: Block): number {
  let amax = 0;
  for (let row = 0; row < height; row++) {
    const from = values + row * cols;
    const ofRow =
      type === VALUE_TYPE_ID.f32
        ? amaxOfSpan(memory.i32, from, width)
        : amaxOfHalves(memory.u16, from, width);
    amax = Math.max(amax, ofRow);
  }
  return type === VALUE_TYPE_ID.f32 ? amax : widen(type, amax);
}

/** Codes of a row of a block of finite values, over 2^(byte - 127) * divisor. */
function encodeRow(block: Block, row: number, byte: number, divisor: number): void {
  const { memory, type, format, width } = block;
  const exponent = byte < LOW_SCALE ? RAISE : 0;
  const rebase = (byte + exponent - 127) << 23;
  const from = block.values + row * block.cols;
  const dst = block.codes + row * block.stride;
  if (type === VALUE_TYPE_ID.f32 && exponent === 0 && divisor === 1) {
    encodeSpan(memory.u8, dst, memory.i32, from, width, format.codes, rebase);
    return;
  }
  const factor = 2 ** exponent;
  for (let done = 0; done < width; done += staged.length) {
    const length = Math.min(staged.length, width - done);
    if (type === VALUE_TYPE_ID.f32) stagedBits.set(memory.i32.subarray(from + done, from + done + length));
    else widenSpan(type, stagedBits, memory.u16, from + done, length);
    if (factor !== 1) for (let i = 0; i < length; i++) staged[i] = staged[i]! * factor;
    if (divisor !== 1) for (let i = 0; i < length; i++) staged[i] = staged[i]! / divisor;
    encodeSpan(memory.u8, dst + done, stagedBits, 0, length, format.codes, rebase);
  }
}

/** Codes of a block; a scale that is NaN makes them all NaN. */
function encodeBlock(block: Block, byte: number, divisor: number): void {
  const isNan = byte === NAN_SCALE || Number.isNaN(divisor);
  for (let row = 0; row < block.height; row++) {
    const dst = block.codes + row * block.stride;
    if (isNan) block.memory.u8.fill(NAN_CODE, dst, dst + block.width);
    else encodeRow(block, row, byte, divisor);
  }
}

/** The codes and scales of a matrix <- values[rows, cols], as `quantize` of `Kernels` says. */
export function quantize(
  memory: ArrayMemory,
  matrixAt: number,
  type: ValueTypeId,
  src: number,
  rounding: RoundingId,
  amaxFloor: number,
  zeroScale: number,
): void {
  const matrix = readMatrix(memory.buffer, matrixAt);
  const { codes, scales, rows, cols, stride, scaleStride, blockRows, blockCols } = matrix;
  const format = fp8Of(matrix.format as FormatId);
  const isUe8m0 = matrix.scaleType === SCALE_TYPE_ID.ue8m0;
  const first = type === VALUE_TYPE_ID.f32 ? src >>> 2 : src >>> 1;
  for (let row = 0; row < rows; row += blockRows) {
    const height = Math.min(blockRows, rows - row);
    let scaleAt = scales + (row / blockRows) * scaleStride;
    for (let col = 0; col < cols; col += blockCols) {
      const width = Math.min(blockCols, cols - col);
      const values = first + row * cols + col;
      const block = {
        memory,
        format,
        type,
        codes: codes + row * stride + col,
        stride,
        values,
        cols,
        height,
        width,
      };
      const amax = amaxOfBlock(block);
      if (isUe8m0) {
        const byte = scaleByte(amax, format, rounding, amaxFloor, zeroScale);
        memory.u8[scaleAt++] = byte;
        encodeBlock(block, amax === 0 && byte < NAN_SCALE ? 127 : byte, 1);
      } else {
        const bits = multiplierBits(amax, format, amaxFloor, zeroScale);
        memory.i32[scaleAt >>> 2] = bits;
        scaleAt += 4;
        encodeBlock(block, 127, floatOf(bits));
      }
    }
  }
}
