import { BlockscaleError } from "../errors.ts";
import type { LinearMemory } from "./instantiate.ts";

const PAGE = 65536;
/** Frames start on cache lines. */
const ALIGN = 64;

/**
 * The one owner of linear memory: static data of the kernels, then the frame of the current call.
 * Growing detaches every view, so views are made when they are needed and never kept.
 */
export class Arena {
  readonly #memory: LinearMemory;
  readonly #base: number;

  constructor(memory: LinearMemory, base: number) {
    this.#memory = memory;
    this.#base = align(base);
  }

  get buffer(): ArrayBuffer {
    return this.#memory.buffer;
  }

  /**
   * Room for arrays of the given byte lengths, one after another, as byte offsets. The next call takes the same place:
   * a frame lasts until then, and no longer than the call it serves.
   * @throws BlockscaleError `memory`: the engine refuses to grow that far.
   */
  frame(sizes: readonly number[]): number[] {
    const offsets: number[] = [];
    let end = this.#base;
    for (const size of sizes) {
      offsets.push(end);
      end = align(end + size);
    }
    this.#reserve(end);
    return offsets;
  }

  #reserve(end: number): void {
    const missing = end - this.#memory.buffer.byteLength;
    if (missing <= 0) return;
    try {
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
