import { type FormatId, SCALE_TYPE_ID, VALUE_TYPE_ID, type ValueTypeId } from "../tensor/formats.ts";
import type { MatrixRecord } from "../wasm/matrix.ts";
import { type Fp8, fp8Of } from "./fp8.ts";
import { narrow } from "./half.ts";
import type { ArrayMemory } from "./memory.ts";
import { bitsOf, floatOf, NAN_BITS, powerBits } from "./scale.ts";

/** out[to + i] <- table[tableAt + codes[from + i]] */
export function lookUp32(
  out: Int32Array,
  to: number,
  codes: Uint8Array,
  from: number,
  n: number,
  table: Int32Array,
  tableAt: number,
): void {
  let i = 0;
  for (; i <= n - 4; i += 4) {
    out[to + i] = table[tableAt + codes[from + i]!]!;
    out[to + i + 1] = table[tableAt + codes[from + i + 1]!]!;
    out[to + i + 2] = table[tableAt + codes[from + i + 2]!]!;
    out[to + i + 3] = table[tableAt + codes[from + i + 3]!]!;
  }
  for (; i < n; i++) out[to + i] = table[tableAt + codes[from + i]!]!;
}

/**
 * Looks up values as halves: a function of its own, so that each sees one type of array and is compiled for
 * it.
 */
function lookUp16(
  out: Uint16Array,
  at: number,
  codes: Uint8Array,
  from: number,
  n: number,
  table: Uint16Array,
  tableAt: number,
): void {
  let i = 0;
  for (; i <= n - 4; i += 4) {
    out[at + i] = table[tableAt + codes[from + i]!]!;
    out[at + i + 1] = table[tableAt + codes[from + i + 1]!]!;
    out[at + i + 2] = table[tableAt + codes[from + i + 2]!]!;
    out[at + i + 3] = table[tableAt + codes[from + i + 3]!]!;
  }
  for (; i < n; i++) out[at + i] = table[tableAt + codes[from + i]!]!;
}

/**
 * float32 bits of a code times a scale, rounded once. Which NaN comes out is decided here, not by the
 * JavaScript engine.
 */
function product(code: number, { bits, values }: Fp8, scale: number): number {
  const value = values[code]! * scale;
  if (!Number.isNaN(value)) return bitsOf(value);
  return Number.isNaN(values[code]) ? bits[code]! : NAN_BITS;
}

/** From so many codes under one float32 scale on, a row of products of its own is worth it. */
const ROW_PAYS = 1024;

/**
 * Products of one format in one value type: a row of 256 for each UE8M0 byte, filled when the byte is first
 * met, so that dequantising is a lookup and nothing else. A tensor has a few dozen different bytes.
 */
export class ScaledTable {
  readonly #format: Fp8;
  readonly #type: ValueTypeId;
  readonly #words: Int32Array;
  readonly #halves: Uint16Array;
  readonly #isFilled: Uint8Array = new Uint8Array(256);

  constructor(format: FormatId, type: ValueTypeId) {
    // One row more, for the float32 scale at hand.
    const length = 257 * 256;
    this.#format = fp8Of(format);
    this.#type = type;
    this.#words = new Int32Array(type === VALUE_TYPE_ID.f32 ? length : 0);
    this.#halves = new Uint16Array(type === VALUE_TYPE_ID.f32 ? 0 : length);
  }

  /** Where the row of a scale byte starts. */
  rowOfByte(byte: number): number {
    if (this.#isFilled[byte] === 0) {
      this.#isFilled[byte] = 1;
      this.#fill(byte, floatOf(powerBits(byte)));
    }
    return byte << 8;
  }

  /** Where the row of any scale starts, until the next call. */
  rowOfScale(scale: number): number {
    this.#fill(256, scale);
    return 256 << 8;
  }

  /** Bytes of a value. */
  get valueBytes(): number {
    return this.#type === VALUE_TYPE_ID.f32 ? 4 : 2;
  }

  /** Values from index `to` on <- n codes from address `from` on, looked up in a row of the table. */
  lookUp(memory: ArrayMemory, to: number, from: number, n: number, row: number): void {
    if (this.#type === VALUE_TYPE_ID.f32) lookUp32(memory.i32, to, memory.u8, from, n, this.#words, row);
    else lookUp16(memory.u16, to, memory.u8, from, n, this.#halves, row);
  }

  /** Values from index `to` on <- n codes from address `from` on, multiplied one by one. */
  multiply(memory: ArrayMemory, to: number, from: number, n: number, scale: number): void {
    const { u8, u16, i32, f32 } = memory;
    const { values } = this.#format;
    for (let i = 0; i < n; i++) {
      const code = u8[from + i]!;
      if (this.#type !== VALUE_TYPE_ID.f32) {
        u16[to + i] = narrow(this.#type, product(code, this.#format, scale));
      } else {
        const value = values[code]! * scale;
        if (Number.isNaN(value)) i32[to + i] = product(code, this.#format, scale);
        else f32[to + i] = value;
      }
    }
  }

  #fill(row: number, scale: number): void {
    for (let code = 0; code < 256; code++) {
      const bits = product(code, this.#format, scale);
      if (this.#type === VALUE_TYPE_ID.f32) this.#words[256 * row + code] = bits;
      else this.#halves[256 * row + code] = narrow(this.#type, bits);
    }
  }
}

/** dst[rows, cols] <- a matrix times its scales, as `dequantize` of `Kernels` says. */
export function dequantize(
  memory: ArrayMemory,
  products: ScaledTable,
  matrix: MatrixRecord,
  dst: number,
): void {
  const { codes, scales, firstRow, rows, cols, stride, scaleStride, blockRows, blockCols } = matrix;
  const isByte = matrix.scaleType === SCALE_TYPE_ID.ue8m0;
  for (let top = 0, end = 0; top < rows; top = end) {
    const block = Math.floor((firstRow + top) / blockRows);
    end = Math.min((block + 1) * blockRows - firstRow, rows);
    let scaleAt = scales + block * scaleStride;
    for (let left = 0; left < cols; left += blockCols, scaleAt += isByte ? 1 : 4) {
      const n = Math.min(blockCols, cols - left);
      const isSmall = !isByte && n * (end - top) < ROW_PAYS;
      const scale = isByte ? 0 : memory.f32[scaleAt >>> 2]!;
      const table = isByte
        ? products.rowOfByte(memory.u8[scaleAt]!)
        : isSmall
          ? 0
          : products.rowOfScale(scale);
      for (let row = top; row < end; row++) {
        const to = dst / products.valueBytes + row * cols + left;
        const from = codes + row * stride + left;
        if (isSmall) products.multiply(memory, to, from, n, scale);
        else products.lookUp(memory, to, from, n, table);
      }
    }
  }
}
