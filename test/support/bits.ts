import type { ValueType } from "../../src/tensor/tensor.ts";

/** Typed arrays seen as bit patterns, and comparisons that name the first difference. */

/** Float32 values with these bits. */
export function floats(patterns: ArrayLike<number>): Float32Array {
  return new Float32Array(Uint32Array.from(patterns).buffer);
}

/** The bits of float32 values. */
export function patterns(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

function hex(bits: number, bytes: number): string {
  return `0x${bits.toString(16).padStart(2 * bytes, "0")}`;
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** Says what went in at an index, for the message of a comparison that failed. */
export type Cause = (index: number) => string;

/** The inputs of an elementwise function, for messages. */
export function causeIn(inputs: Bits): Cause {
  return (index) => `from ${hex(inputs[index] as number, inputs.BYTES_PER_ELEMENT)}`;
}

const noCause: Cause = () => "";

/** Bit patterns of one width. */
export type Bits = Uint8Array | Uint16Array | Uint32Array;

/** Throws at the first element whose bits differ. */
export function expectSameBits(got: Bits, want: Bits, cause: Cause = noCause): void {
  if (got.constructor !== want.constructor || got.length !== want.length) {
    throw new Error(
      `expected ${want.constructor.name}(${want.length}), got ${got.constructor.name}(${got.length})`,
    );
  }
  if (Buffer.compare(bytesOf(got), bytesOf(want)) === 0) return;
  let first = -1;
  let count = 0;
  for (let i = 0; i < want.length; i++) {
    if (got[i] === want[i]) continue;
    if (count++ === 0) first = i;
  }
  const size = want.BYTES_PER_ELEMENT;
  throw new Error(
    `element ${first} ${cause(first)}: expected ${hex(want[first] as number, size)}, ` +
      `got ${hex(got[first] as number, size)} (${count} of ${want.length} differ)`,
  );
}

/** The bits of +Inf: larger magnitudes are NaN. */
const INFINITY_BITS = { f32: 0x7f800000, bf16: 0x7f80, f16: 0x7c00 } as const;

/**
 * Every NaN as one: quiet, positive, without payload. The sign and payload
 * of a product's NaN are not specified.
 */
function withOneNaN(values: Float32Array | Uint16Array, type: ValueType): Bits {
  const bits = values instanceof Float32Array ? patterns(values).slice() : values.slice();
  const infinity = INFINITY_BITS[type];
  const magnitudeMask = type === "f32" ? 0x7fffffff : 0x7fff;
  for (let i = 0; i < bits.length; i++) {
    if (((bits[i] as number) & magnitudeMask) > infinity) bits[i] = magnitudeMask;
  }
  return bits;
}

/** Throws at the first value whose bits differ; any NaN equals any NaN. */
export function expectSameValues(
  got: Float32Array | Uint16Array,
  want: Float32Array | Uint16Array,
  type: ValueType = "f32",
  cause: Cause = noCause,
): void {
  expectSameBits(withOneNaN(got, type), withOneNaN(want, type), cause);
}
