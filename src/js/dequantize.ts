import {
  type FormatId,
  SCALE_TYPE_ID,
  type ScaleTypeId,
  VALUE_TYPE_ID,
  type ValueTypeId,
} from "../wasm/exports.ts";
import { type Fp8, fp8Of } from "./fp8.ts";
import { narrow } from "./half.ts";
import type { ArrayMemory } from "./memory.ts";
import { bitsOf, floatOf, NAN_BITS, powerBits } from "./scale.ts";

/** out[at + i] <- table[row + codes[from + i]] */
export function lookUp32(
  out: Int32Array,
  at: number,
  codes: Uint8Array,
  from: number,
  n: number,
  table: Int32Array,
  row: number,
): void {
  let i = 0;
  for (; i <= n - 4; i += 4) {
    out[at + i] = table[row + codes[from + i]!]!;
    out[at + i + 1] = table[row + codes[from + i + 1]!]!;
    out[at + i + 2] = table[row + codes[from + i + 2]!]!;
    out[at + i + 3] = table[row + codes[from + i + 3]!]!;
  }
  for (; i < n; i++) out[at + i] = table[row + codes[from + i]!]!;
}

/** The same for halves: a function of its own, so that each sees one type of array and is compiled for it. */
function lookUp16(
  out: Uint16Array,
  at: number,
  codes: Uint8Array,
  from: number,
  n: number,
  table: Uint16Array,
  row: number,
): void {
  let i = 0;
  for (; i <= n - 4; i += 4) {
    out[at + i] = table[row + codes[from + i]!]!;
    out[at + i + 1] = table[row + codes[from + i + 1]!]!;
    out[at + i + 2] = table[row + codes[from + i + 2]!]!;
    out[at + i + 3] = table[row + codes[from + i + 3]!]!;
  }
  for (; i < n; i++) out[at + i] = table[row + codes[from + i]!]!;
}

/** float32 bits of a code times a scale, rounded once. Which NaN comes out is decided here, not by the JavaScript engine. */
function product(code: number, { bits, values }: Fp8, scale: number): number {
  const value = values[code]! * scale;
  if (!Number.isNaN(value)) return bitsOf(value);
  return Number.isNaN(values[code]) ? bits[code]! : NAN_BITS;
}

/**
 * All products of one format with UE8M0 scales in one value type: a row of 256 for each scale byte, filled when the
 * byte is first met, so that dequantising is a lookup and nothing else. A tensor has a few dozen different bytes.
 */
export class Products {
  readonly #format: Fp8;
  readonly #type: ValueTypeId;
  readonly #words: Int32Array;
  readonly #halves: Uint16Array;
  readonly #isFilled: Uint8Array = new Uint8Array(256);

  constructor(format: FormatId, type: ValueTypeId) {
    this.#format = fp8Of(format);
    this.#type = type;
    this.#words = new Int32Array(type === VALUE_TYPE_ID.f32 ? 65536 : 0);
    this.#halves = new Uint16Array(type === VALUE_TYPE_ID.f32 ? 0 : 65536);
  }

  /** Values of n codes from element `at`, times 2^(byte - 127). */
  scale(memory: ArrayMemory, dst: number, codes: number, at: number, n: number, byte: number): void {
    if (this.#isFilled[byte] === 0) this.#fill(byte);
    const row = byte << 8;
    if (this.#type === VALUE_TYPE_ID.f32) {
      lookUp32(memory.i32, (dst >>> 2) + at, memory.u8, codes + at, n, this.#words, row);
    } else {
      lookUp16(memory.u16, (dst >>> 1) + at, memory.u8, codes + at, n, this.#halves, row);
    }
  }

  /** Values of n codes from element `at`, times any scale. */
  multiply(memory: ArrayMemory, dst: number, codes: number, at: number, n: number, scale: number): void {
    for (let i = at; i < at + n; i++) {
      const bits = product(memory.u8[codes + i]!, this.#format, scale);
      if (this.#type === VALUE_TYPE_ID.f32) memory.i32[(dst >>> 2) + i] = bits;
      else memory.u16[(dst >>> 1) + i] = narrow(this.#type, bits);
    }
  }

  #fill(byte: number): void {
    this.#isFilled[byte] = 1;
    const scale = floatOf(powerBits(byte));
    const row = byte << 8;
    for (let code = 0; code < 256; code++) {
      const bits = product(code, this.#format, scale);
      if (this.#type === VALUE_TYPE_ID.f32) this.#words[row + code] = bits;
      else this.#halves[row + code] = narrow(this.#type, bits);
    }
  }
}

/** dst[rows, cols] <- codes[rows, cols] times one scale per block, as `dequantize` of `Kernels` says. */
export function dequantize(
  memory: ArrayMemory,
  products: Products,
  scaleType: ScaleTypeId,
  dst: number,
  codes: number,
  scales: number,
  rows: number,
  cols: number,
  blockRows: number,
  blockCols: number,
): void {
  const gridCols = Math.ceil(cols / blockCols);
  for (let row = 0; row < rows; row++) {
    const gridRow = Math.floor(row / blockRows) * gridCols;
    for (let col = 0, block = gridRow; col < cols; col += blockCols, block++) {
      const n = Math.min(blockCols, cols - col);
      const at = row * cols + col;
      if (scaleType === SCALE_TYPE_ID.ue8m0)
        products.scale(memory, dst, codes, at, n, memory.u8[scales + block]!);
      else products.multiply(memory, dst, codes, at, n, memory.f32[(scales >>> 2) + block]!);
    }
  }
}
