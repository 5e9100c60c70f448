/// <reference lib="esnext.disposable" preserve="true" />
import { BlockscaleError } from "../tensor/errors.ts";
import type { Format } from "../tensor/tensor.ts";
import { cancelRelease, releaseAbandoned } from "../wasm/abandoned.ts";
import type { PackedCodes, PackedIntegers } from "./multiply.ts";

export interface PackOptions {
  /** "t" (the default): `[N, K]`, as linear layers store it. "n": `[K, N]`. */
  readonly layout?: "t" | "n";
  /**
   * "codes" (the default): as they are. "int7": rounded to integers from -63 to 63 in blocks of 32
   * columns with a float32 scale, for products with int8 activations alone; w may then be { values,
   * shape } of float32, bfloat16 or float16 too.
   */
  readonly weights?: "codes" | "int7";
  /**
   * How products round x for them, unless a product says otherwise. "int8" keeps E2M1 codes at half a
   * byte, for products with int8 activations alone; E4M3 codes are packed for both ways
   * anyway. "f32" if left out, but for integers.
   */
  readonly activations?: "f32" | "int8" | "auto";
}

/**
 * Weights in the memory of an engine, made by `engine.pack`. They stay until `free()`,
 * or the end of a `using` block. JavaScript's garbage collection does not see how large
 * they are: those that nobody freed go late.
 */
export class PackedWeights {
  /** Undefined for integers that were made of values without a format. */
  readonly format: Format | undefined;
  /** `[..., N, K]`, whichever way round they were given. */
  readonly shape: readonly number[];
  /** `[rows, cols]` of a block of that. */
  readonly block: readonly [number, number];
  /** What they take of the engine's memory. */
  readonly bytes: number;
  #operand: PackedCodes | PackedIntegers | undefined;
  readonly #release: () => void;

  /** Use `engine.pack`. */
  constructor(
    fields: Pick<PackedWeights, "format" | "shape" | "block" | "bytes">,
    operand: PackedCodes | PackedIntegers,
    release: () => void,
  ) {
    this.format = fields.format;
    this.shape = fields.shape;
    this.block = fields.block;
    this.bytes = fields.bytes;
    this.#operand = operand;
    this.#release = release;
    releaseAbandoned(this, release);
  }

  /** Gives the memory back. The weights cannot be used any more; freeing them again does nothing. */
  free(): void {
    if (this.#operand === undefined) return;
    this.#operand = undefined;
    cancelRelease(this);
    this.#release();
  }

  /**
   * The weights as the right operand of a product.
   * @param where the argument that an error names
   * @throws BlockscaleError `option`: they were freed
   * @internal
   */
  operand(where: string): PackedCodes | PackedIntegers {
    if (this.#operand !== undefined) return this.#operand;
    throw new BlockscaleError("option", {
      where,
      expected: "weights in memory",
      got: "weights that were freed",
      fix: "Pack them again, or free them later: at the end of a `using` block that is automatic.",
    });
  }

  declare [Symbol.dispose]: () => void;
}

// Hosts of 2024 and before have no such symbol.
if (Symbol.dispose) PackedWeights.prototype[Symbol.dispose] = PackedWeights.prototype.free;
