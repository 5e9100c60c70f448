import { BlockscaleError } from "../tensor/errors.ts";
import type { LinearMemory } from "./instantiate.ts";

const PAGE = 65536;
/** Frames start on cache lines. */
const ALIGN = 64;
/**
 * The last page of the 4 GiB is left alone: the address after the last byte has to be a number of 32 bits.
 */
const MOST_BYTES = 2 ** 32 - PAGE;

/** Bytes that stay until they are released. */
export interface Allocation {
  readonly start: number;
  readonly end: number;
}

/**
 * The one owner of linear memory: static data of the kernels, what is allocated until it is
 * released, and the frames of the calls that are under way. Growing detaches every view, so
 * views are made when they are needed and never kept.
 */
export class Arena {
  readonly #memory: LinearMemory;
  readonly #base: number;
  /** In the order of their addresses. */
  readonly #allocations: Allocation[] = [];

  constructor(memory: LinearMemory, base: number) {
    this.#memory = memory;
    this.#base = align(base);
  }

  get buffer(): ArrayBuffer {
    return this.#memory.buffer;
  }

  /**
   * Calls `body` with the byte offsets of arrays of the given byte lengths, one after another, and
   * releases that memory when it returns or throws. Frames nest: one that is opened in `body`, and
   * what is allocated there, lies elsewhere.
   * @throws BlockscaleError `memory`: the engine refuses to grow that far.
   */
  frame<const Sizes extends readonly number[], T>(
    sizes: Sizes,
    body: (...addresses: { [I in keyof Sizes]: number }) => T,
  ): T {
    let end = 0;
    const offsets = sizes.map((size) => {
      const offset = end;
      end = align(end + size);
      return offset;
    });
    const allocation = this.allocate(end);
    try {
      const addresses = offsets.map((offset) => allocation.start + offset);
      return body(...(addresses as { [I in keyof Sizes]: number }));
    } finally {
      this.release(allocation);
    }
  }

  /**
   * Reserves bytes that stay until they are released, in the first gap that is large enough.
   * @throws BlockscaleError `memory`
   */
  allocate(size: number): Allocation {
    const { start, index } = this.#firstGap(size);
    const allocation = { start, end: align(start + size) };
    this.#reserve(allocation.end);
    this.#allocations.splice(index, 0, allocation);
    return allocation;
  }

  /**
   * Grows at once for what will be allocated, `bytes` in all, gaps included, if the host allows it: V8
   * collects garbage each time a large memory grows, be it by little.
   */
  growFor(bytes: number): void {
    const inUse = this.#allocations.reduce((sum, { start, end }) => sum + end - start, this.#base);
    const missing = Math.min(inUse + bytes, MOST_BYTES) - this.#memory.buffer.byteLength;
    try {
      if (missing > 0) this.#memory.grow(Math.ceil(missing / PAGE));
    } catch {
      // Smaller steps may succeed later, as it is allocated.
    }
  }

  /** Releases what `allocate` reserved. */
  release(allocation: Allocation): void {
    const index = this.#allocations.indexOf(allocation);
    if (index >= 0) this.#allocations.splice(index, 1);
  }

  /**
   * The first gap of this size between allocations or behind them, and how many allocations are in front of
   * it.
   */
  #firstGap(size: number): { start: number; index: number } {
    let start = this.#base;
    let index = 0;
    for (const { start: next, end } of this.#allocations) {
      if (start + size <= next) break;
      start = end;
      index++;
    }
    return { start, index };
  }

  #reserve(end: number): void {
    const missing = end - this.#memory.buffer.byteLength;
    if (missing <= 0) return;
    try {
      if (end > MOST_BYTES) throw new RangeError("beyond 4 GiB");
      this.#memory.grow(Math.ceil(missing / PAGE));
    } catch (error) {
      throw new BlockscaleError(
        "memory",
        {
          where: "WebAssembly memory",
          expected: `${end} bytes`,
          got: `${this.#memory.buffer.byteLength} bytes, and no more from this host`,
          fix: "Use smaller blocks, free packed weights, or give the process more memory.",
        },
        { cause: error },
      );
    }
  }
}

function align(offset: number): number {
  return Math.ceil(offset / ALIGN) * ALIGN;
}
