/// <reference lib="esnext.disposable" preserve="true" />
import { BlockscaleError } from "../tensor/errors.ts";
import type { Format } from "../tensor/tensor.ts";
import type { Packed } from "./multiply.ts";

export interface PackOptions {
  /** "t" (the default): `[N, K]`, as linear layers store it. "n": `[K, N]`. */
  readonly layout?: "t" | "n";
}

/**
 * Weights in the memory of an engine, made by `engine.pack`. They stay until `free()`, or the end of a `using` block:
 * JavaScript's garbage collection does not see that memory.
 */
export class PackedWeights {
  readonly format: Format;
  /** `[..., N, K]`, whichever way round they were given. */
  readonly shape: readonly number[];
  /** `[rows, cols]` of a block of that. */
  readonly block: readonly [number, number];
  /** What they take of the engine's memory. */
  readonly bytes: number;
  #place: Packed | undefined;
  readonly #release: () => void;

  /** Use `engine.pack`. */
  constructor(
    fields: Pick<PackedWeights, "format" | "shape" | "block" | "bytes">,
    place: Packed,
    release: () => void,
  ) {
    this.format = fields.format;
    this.shape = fields.shape;
    this.block = fields.block;
    this.bytes = fields.bytes;
    this.#place = place;
    this.#release = release;
  }

  /** Gives the memory back. The weights cannot be used any more; freeing them again does nothing. */
  free(): void {
    if (this.#place === undefined) return;
    this.#place = undefined;
    this.#release();
  }

  /**
   * Where the codes and scales are.
   * @throws BlockscaleError `option`: they were freed
   * @internal
   */
  placeFor(where: string): Packed {
    if (this.#place !== undefined) return this.#place;
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
