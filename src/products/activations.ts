/// <reference lib="esnext.disposable" preserve="true" />
import { BlockscaleError } from "../tensor/errors.ts";
import { forget, releaseAbandoned } from "../wasm/abandoned.ts";
import type { Arena, Resident } from "../wasm/arena.ts";
import type { Kernels } from "../wasm/kernels.ts";

/** Bytes behind the codes that the kernel may write. */
const MARGIN = 16;

/**
 * A matrix x [rows, cols] rounded to int8, in the memory of an engine, made by `engine.activations`: the left operand of any number of products, each of
 * which would round x anew otherwise. It stays until `free()`, or the end of a `using` block. JavaScript's garbage
 * collection does not see how large it is: one that nobody freed goes late.
 */
export class Int8Activations {
  /** `[rows, cols]` */
  readonly shape: readonly [number, number];
  /** Columns of a row that share a scale. */
  readonly block: 16 | 32;
  readonly #arena: Arena;
  #room: Resident | undefined;

  /** Use `engine.activations`. */
  constructor(arena: Arena, shape: readonly [number, number], block: 16 | 32) {
    this.shape = shape;
    this.block = block;
    this.#arena = arena;
    this.#room = arena.keep(shape[0] * (this.#blocks * (block + 8)) + MARGIN);
  }

  /**
   * Has it freed once nobody can reach it any more: for one that is handed out, which a single product does not do.
   * @internal
   */
  freeAbandoned(): void {
    const [arena, room] = [this.#arena, this.#room];
    if (room !== undefined) releaseAbandoned(this, () => arena.release(room));
  }

  get #blocks(): number {
    return Math.ceil(this.shape[1] / this.block);
  }

  /**
   * Rounds rows `first` and those behind it.
   * @param x where `rows` rows of float32 are
   * @internal
   */
  round(kernels: Kernels, first: number, x: number, rows: number): void {
    const [codes, scales, offsets] = this.placesFrom(first);
    kernels.quantizeInt8(codes, scales, offsets, x, rows, this.shape[1], this.block);
  }

  /**
   * Where codes, scales and offsets of a row are: scales of all rows come first, the codes, which may be written past, last.
   * @throws BlockscaleError `option`: they were freed
   * @internal
   */
  placesFrom(row: number): [codes: number, scales: number, offsets: number] {
    if (this.#room === undefined) {
      throw new BlockscaleError("option", {
        where: "gemm: x",
        expected: "activations in memory",
        got: "activations that were freed",
        fix: "Free them after the last product that uses them.",
      });
    }
    const { start } = this.#room;
    const blocks = this.#blocks;
    const size = 4 * this.shape[0] * blocks;
    return [
      start + 2 * size + row * blocks * this.block,
      start + 4 * row * blocks,
      start + size + 4 * row * blocks,
    ];
  }

  /**
   * The values that a row was rounded to.
   * @internal
   */
  row(row: number): Float64Array {
    const [codes, scales] = this.placesFrom(row);
    const integers = new Int8Array(this.#arena.buffer, codes, this.shape[1]);
    const multipliers = new Float32Array(this.#arena.buffer, scales, this.#blocks);
    return Float64Array.from(integers, (code, i) => code * multipliers[Math.floor(i / this.block)]!);
  }

  /** Gives the memory back. The activations cannot be used any more; freeing them again does nothing. */
  free(): void {
    if (this.#room === undefined) return;
    forget(this);
    this.#arena.release(this.#room);
    this.#room = undefined;
  }

  declare [Symbol.dispose]: () => void;
}

// Hosts of 2024 and before have no such symbol.
if (Symbol.dispose) Int8Activations.prototype[Symbol.dispose] = Int8Activations.prototype.free;
