import { expect } from "vitest";

/**
 * What `toEqual` would look at element by element, and so takes seconds for a million: typed arrays of one class are
 * equal where their bytes are. If they differ it goes on, to tell where. It knows nothing of what an ArrayBuffer
 * holds, and would call any two of them equal.
 */
expect.addEqualityTesters([
  (a, b) => {
    if (a instanceof ArrayBuffer && b instanceof ArrayBuffer)
      return sameBytes(new Uint8Array(a), new Uint8Array(b));
    if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b) || a.constructor !== b.constructor) return undefined;
    return sameBytes(bytesOf(a), bytesOf(b)) || undefined;
  },
]);

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  new Uint8Array(buffer, byteOffset, byteLength);

const sameBytes = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
