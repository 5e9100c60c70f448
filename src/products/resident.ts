/// <reference lib="esnext.disposable" preserve="true" />
import { checkArray, outArray } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { outOption } from "../tensor/options.ts";
import { cancelRelease, releaseAbandoned } from "../wasm/abandoned.ts";
import type { Allocation, Arena } from "../wasm/arena.ts";

/**
 * A float32 matrix [rows, cols] in the memory of an engine, made by `engine.resident`. As x or
 * `out` of a product it is used where it lies, so that a chain of products copies nothing. It stays
 * until `free()`, or the end of a `using` block. JavaScript's garbage collection does not see how
 * large it is: one that nobody freed goes late.
 */
export class ResidentMatrix {
  /** `[rows, cols]` */
  readonly shape: readonly [number, number];
  readonly #arena: Arena;
  #allocation: Allocation | undefined;

  /** Use `engine.resident`. All values are 0. */
  constructor(arena: Arena, shape: readonly [number, number]) {
    this.shape = shape;
    this.#arena = arena;
    const allocation = arena.allocate(4 * shape[0] * shape[1]);
    this.#allocation = allocation;
    releaseAbandoned(this, () => arena.release(allocation));
    this.view("resident").fill(0);
  }

  /**
   * A copy of the values, row-major.
   * @param options.out rows * cols elements to write into, instead of a new array
   */
  read(options: { out?: Float32Array } = {}): Float32Array {
    const out = outArray(
      "read: out",
      outOption("read", options),
      "Float32Array",
      this.shape[0] * this.shape[1],
    );
    out.set(this.view("read"));
    return out;
  }

  /** Copies `values`, rows * cols of them, into the matrix. */
  write(values: Float32Array): void {
    const given = checkArray("write: values", values, "Float32Array", this.shape[0] * this.shape[1]);
    this.view("write").set(given);
  }

  /** Gives the memory back. The matrix cannot be used any more; freeing it again does nothing. */
  free(): void {
    if (this.#allocation === undefined) return;
    cancelRelease(this);
    this.#arena.release(this.#allocation);
    this.#allocation = undefined;
  }

  /**
   * Byte offset of the first value.
   * @param where the argument that an error names
   * @throws BlockscaleError `option`: the matrix was freed
   * @internal
   */
  address(where: string): number {
    if (this.#allocation !== undefined) return this.#allocation.start;
    throw new BlockscaleError("option", {
      where,
      expected: "a matrix in memory",
      got: "one that was freed",
      fix: "Free it after the last product that uses it.",
    });
  }

  /**
   * The values where they lie; the view ends when the engine's memory grows, so it is never kept.
   * @internal
   */
  view(where: string): Float32Array {
    return new Float32Array(this.#arena.buffer, this.address(where), this.shape[0] * this.shape[1]);
  }

  declare [Symbol.dispose]: () => void;
}

// Hosts of 2024 and before have no such symbol.
if (Symbol.dispose) ResidentMatrix.prototype[Symbol.dispose] = ResidentMatrix.prototype.free;
