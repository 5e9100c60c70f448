import type { LeftOperand, Matrix } from "../products/products.ts";
import type { CheckedTensor } from "../tensor/checks.ts";
import { canShare } from "./start.ts";

/**
 * Bytes of the largest shared buffer that is kept for the next product:
 * allocating one costs more than the copy into it.
 */
const LARGEST_SPARE = 2 ** 26;

/**
 * The left operand x in memory that all threads share, where the host
 * has such memory: one copy serves them all.
 */
export class SharedOperand {
  #spare: SharedArrayBuffer | undefined;

  /** Calls `work` with a copy of x in shared memory, or with x itself where memory cannot be shared. */
  async withShared<T>(x: Matrix | CheckedTensor, work: (x: LeftOperand) => Promise<T>): Promise<T> {
    if ("codes" in x) {
      const { format, shape, block, codes, scales } = x;
      if (!canShare()) return work({ format, shape, block, codes, scales });
      const scalesAt = Math.ceil(codes.length / 4) * 4;
      return this.#withBuffer(scalesAt + scales.byteLength, (buffer) =>
        work({ format, shape, block, codes: put(codes, buffer, 0), scales: put(scales, buffer, scalesAt) }),
      );
    }
    const { values, shape } = x;
    if (!canShare()) return work(x);
    return this.#withBuffer(values.byteLength, (buffer) => work({ values: put(values, buffer, 0), shape }));
  }

  async #withBuffer<T>(bytes: number, work: (buffer: SharedArrayBuffer) => Promise<T>): Promise<T> {
    const spare = this.#spare;
    this.#spare = undefined;
    const buffer = spare && spare.byteLength >= bytes ? spare : new SharedArrayBuffer(bytes);
    // A product that fails does not give its memory back: some threads may still read it.
    const result = await work(buffer);
    if (bytes <= LARGEST_SPARE) this.#spare = buffer;
    return result;
  }
}

function put<T extends Uint8Array | Float32Array>(array: T, buffer: SharedArrayBuffer, at: number): T {
  const copy =
    array.BYTES_PER_ELEMENT === 1
      ? new Uint8Array(buffer, at, array.length)
      : new Float32Array(buffer, at, array.length);
  copy.set(array);
  return copy as unknown as T;
}
