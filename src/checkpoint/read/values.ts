import type { Values, ValueType } from "../../tensor/tensor.ts";

/** Bytes of one value. */
export const VALUE_BYTES: Readonly<Record<ValueType, number>> = { f32: 4, bf16: 2, f16: 2 };

/**
 * Sees raw little-endian bytes as values, without a copy. `bytes` must
 * start at a multiple of the value's size.
 */
export function valuesOf(type: ValueType, bytes: Uint8Array): Values {
  if (type === "f32") return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const bits = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return { type, bits };
}

/** Widens values to float32, which holds all of them exactly. */
export function widen(type: ValueType, bytes: Uint8Array, out: Float32Array): Float32Array {
  if (type === "f32") {
    out.set(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));
    return out;
  }
  const bits = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  if (type === "bf16") {
    const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
    for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
  } else {
    const table = halfTable();
    for (let i = 0; i < bits.length; i++) out[i] = table[bits[i]!]!;
  }
  return out;
}

let table: Float32Array | undefined;

/** The value of every half-precision pattern. */
function halfTable(): Float32Array {
  if (table === undefined) {
    table = new Float32Array(65536);
    for (let bits = 0; bits < 65536; bits++) {
      const sign = bits & 0x8000 ? -1 : 1;
      const exponent = (bits >> 10) & 31;
      const fraction = bits & 1023;
      table[bits] =
        exponent === 31
          ? fraction === 0
            ? sign * Infinity
            : NaN
          : sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
    }
  }
  return table;
}
