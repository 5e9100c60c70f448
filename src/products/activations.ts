/// <reference lib="esnext.disposable" preserve="true" />
import { BlockscaleError } from "../tensor/errors.ts";
import { SCALE_TYPE_ID } from "../tensor/formats.ts";
import { cancelRelease, releaseAbandoned } from "../wasm/abandoned.ts";
import type { Allocation, Arena } from "../wasm/arena.ts";
import type { Kernels } from "../wasm/kernels.ts";
import { INT8_CODES, MATRIX, type MatrixRecord, matrixRecord } from "../wasm/matrix.ts";

/** Columns of activations that share a scale. */
export type Int8Block = 16 | 32 | 128;

/** What `quantizeInt8` of the kernels writes into. */
export function int8Matrix({
  codes,
  scales,
  offsets,
  rows,
  cols,
  blockCols,
}: Pick<MatrixRecord, "codes" | "scales" | "offsets" | "rows" | "cols" | "blockCols">): MatrixRecord {
  const scaleType = SCALE_TYPE_ID.f32;
  return matrixRecord({ format: INT8_CODES, scaleType, codes, scales, offsets, rows, cols, blockCols });
}

/**
 * A matrix x [rows, cols] rounded to int8, in the memory of an engine, made by `engine.activations`:
 * the left operand of any number of products, each of which would round x anew otherwise. It stays
 * until `free()`, or the end of a `using` block. JavaScript's garbage collection does not see how
 * large it is: one that nobody freed goes late.
 */
export class Int8Activations {
  /** `[rows, cols]` */
  readonly shape: readonly [number, number];
  /** Columns of a row that share a scale. */
  readonly block: Int8Block;
  readonly #arena: Arena;
  readonly #matrix: MatrixRecord;
  #allocation: Allocation | undefined;

  /** Use `engine.activations`. */
  constructor(arena: Arena, shape: readonly [number, number], block: Int8Block) {
    this.shape = shape;
    this.block = block;
    this.#arena = arena;
    const [rows, cols] = shape;
    const blocks = Math.ceil(cols / block);
    this.#allocation = arena.allocate(MATRIX.bytes + rows * blocks * (block + 8));
    const scales = this.#allocation.start + MATRIX.bytes;
    const offsets = scales + 4 * rows * blocks;
    const codes = offsets + 4 * rows * blocks;
    this.#matrix = int8Matrix({ codes, scales, offsets, rows, cols, blockCols: block });
    MATRIX.write(arena.buffer, this.#allocation.start, this.#matrix);
  }

  /**
   * Has it freed once nobody can reach it any more: for one that is handed
   * out, which a single product does not do.
   * @internal
   */
  freeAbandoned(): void {
    const [arena, allocation] = [this.#arena, this.#allocation];
    if (allocation !== undefined) releaseAbandoned(this, () => arena.release(allocation));
  }

  /**
   * Rounds rows `first` and those behind it.
   * @param x where `rows` rows of float32 are
   * @internal
   */
  round(kernels: Kernels, first: number, x: number, rows: number): void {
    kernels.quantizeInt8(this.matrixAt, first, x, rows);
  }

  /**
   * Where the kernels find the matrix.
   * @throws BlockscaleError `option`: they were freed
   * @internal
   */
  get matrixAt(): number {
    if (this.#allocation !== undefined) return this.#allocation.start;
    throw new BlockscaleError("option", {
      where: "gemm: x",
      expected: "activations in memory",
      got: "activations that were freed",
      fix: "Free them after the last product that uses them.",
    });
  }

  /**
   * The values that a row was rounded to.
   * @internal
   */
  row(row: number): Float64Array {
    const { codes, scales, cols } = this.#matrix;
    const blocks = Math.ceil(cols / this.block);
    const { buffer } = this.#arena;
    const integers = new Int8Array(buffer, codes + row * blocks * this.block, cols);
    const multipliers = new Float32Array(buffer, scales + 4 * row * blocks, blocks);
    return Float64Array.from(integers, (code, i) => code * multipliers[Math.floor(i / this.block)]!);
  }

  /** Gives the memory back. The activations cannot be used any more; freeing them again does nothing. */
  free(): void {
    if (this.#allocation === undefined) return;
    cancelRelease(this);
    this.#arena.release(this.#allocation);
    this.#allocation = undefined;
  }

  declare [Symbol.dispose]: () => void;
}

// Hosts of 2024 and before have no such symbol.
if (Symbol.dispose) Int8Activations.prototype[Symbol.dispose] = Int8Activations.prototype.free;
