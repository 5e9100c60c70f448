import type { Resident } from "../wasm/arena.ts";
import { CACHE_FORMAT } from "./kernels.ts";
import type { Program } from "./program.ts";

/**
 * How the cache keeps keys and values: as they are, or as E4M3 codes
 * with a scale a head, a quarter of the bytes.
 */
export type CacheType = "f32" | "fp8";

/** Capacity of a new cache in tokens. A full cache doubles. */
const FIRST = 256;

/**
 * Keys or values of the tokens so far: float32 `[heads, capacity, dim]`, or E4M3 codes of that shape with
 * float32 scales `[heads, capacity]`. Attention reads one head after another, so the vectors of a head lie
 * together.
 */
export class CacheRows {
  readonly heads: number;
  readonly dim: number;
  readonly #program: Program;
  readonly #type: CacheType;
  #values: Resident | undefined;
  #scales: Resident | undefined;
  #capacity = 0;

  constructor(program: Program, heads: number, dim: number) {
    this.#program = program;
    this.heads = heads;
    this.dim = dim;
    this.#type = program.precisions.cache;
  }

  /** Bytes from the values of one token to those of the next; `scaleStride` is the same for scales. */
  get stride(): number {
    return this.dim * (this.#type === "fp8" ? 1 : 4);
  }

  get scaleStride(): number {
    return 4;
  }

  /** Address of a head's vector of the first token. */
  values(head: number): number {
    return this.#values!.start + head * this.#capacity * this.stride;
  }

  /** Address of a head's scale of the first token; 0 if values are kept as they are. */
  scales(head: number): number {
    return this.#scales === undefined ? 0 : this.#scales.start + head * this.#capacity * this.scaleStride;
  }

  /** Appends [tokens, heads, dim] at `src`, as tokens `length` and following. */
  append(src: number, length: number, tokens: number): void {
    this.#reserve(length, length + tokens);
    const { kernels } = this.#program;
    const { dim, heads } = this;
    const bytes = 4 * dim;
    const room = this.#scales === undefined ? 0 : this.#program.bytes("head to keep", tokens * bytes);
    for (let head = 0; head < heads; head++) {
      const at = this.values(head) + length * this.stride;
      kernels.copyRows(room || at, bytes, src + head * bytes, heads * bytes, tokens, bytes);
      if (room === 0) continue;
      const scales = this.scales(head) + length * this.scaleStride;
      // Scales that are powers of two, rounded up so that nothing is cut.
      kernels.quantize(CACHE_FORMAT, 0, 1, at, scales, room, tokens, dim, 1, dim, 1, 0, 127);
    }
  }

  #reserve(length: number, needed: number): void {
    if (needed <= this.#capacity) return;
    const { arena, kernels } = this.#program;
    const before = this.#capacity;
    let capacity = Math.max(FIRST, before);
    while (capacity < needed) capacity *= 2;
    const grow = (old: Resident | undefined, stride: number): Resident => {
      const room = arena.keep(this.heads * capacity * stride);
      if (old === undefined) return room;
      kernels.copyRows(
        room.start,
        capacity * stride,
        old.start,
        before * stride,
        this.heads,
        length * stride,
      );
      arena.release(old);
      return room;
    };
    this.#values = grow(this.#values, this.stride);
    if (this.#type === "fp8") this.#scales = grow(this.#scales, this.scaleStride);
    this.#capacity = capacity;
  }
}
