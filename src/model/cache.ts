import { ROUNDING_ID, SCALE_TYPE_ID, VALUE_TYPE_ID } from "../tensor/formats.ts";
import type { Allocation } from "../wasm/arena.ts";
import { MATRIX, matrixRecord } from "../wasm/matrix.ts";
import { CACHE_FORMAT } from "./kernels.ts";
import type { Program } from "./program.ts";

/**
 * How the cache keeps keys and values: as they are, or as E4M3 codes
 * with a scale a head, a quarter of the bytes.
 */
export type CacheType = "f32" | "fp8";

/** Capacity of a new cache in tokens. A full cache doubles. */
const FIRST_CAPACITY = 256;

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
  #values: Allocation | undefined;
  #scales: Allocation | undefined;
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

  /** Appends [tokens, heads, dim] at `src`, as tokens `cachedTokens` and following. */
  append(src: number, cachedTokens: number, tokens: number): void {
    this.#reserve(cachedTokens, cachedTokens + tokens);
    if (this.#type === "fp8") {
      this.#round(src, cachedTokens, tokens);
      return;
    }
    const { kernels } = this.#program;
    const { dim, heads } = this;
    const bytes = 4 * dim;
    for (let head = 0; head < heads; head++) {
      const at = this.values(head) + cachedTokens * bytes;
      kernels.copyRows(at, bytes, src + head * bytes, heads * bytes, tokens, bytes);
    }
  }

  /** Rounds the heads of each token, which are a matrix whose rows are as far apart as heads are. */
  #round(src: number, cachedTokens: number, tokens: number): void {
    const { kernels } = this.#program;
    const { dim, heads } = this;
    const types = { format: CACHE_FORMAT, scaleType: SCALE_TYPE_ID.f32 };
    const [stride, scaleStride] = [this.#capacity * this.stride, this.#capacity * this.scaleStride];
    for (let token = 0; token < tokens; token++) {
      const codes = this.values(0) + (cachedTokens + token) * this.stride;
      const scales = this.scales(0) + (cachedTokens + token) * this.scaleStride;
      const fields = { codes, scales, rows: heads, cols: dim, stride, scaleStride, blockCols: dim };
      const matrix = this.#program.call(MATRIX, matrixRecord({ ...types, ...fields }));
      kernels.quantize(matrix, VALUE_TYPE_ID.f32, src + 4 * token * heads * dim, ROUNDING_ID.rceil, 0, 127);
    }
  }

  /** Gives its memory back: it is empty, as at first. */
  free(): void {
    const { arena } = this.#program;
    for (const allocation of [this.#values, this.#scales])
      if (allocation !== undefined) arena.release(allocation);
    this.#values = undefined;
    this.#scales = undefined;
    this.#capacity = 0;
  }

  #reserve(cachedTokens: number, needed: number): void {
    if (needed <= this.#capacity) return;
    const { arena, kernels } = this.#program;
    const before = this.#capacity;
    let capacity = Math.max(FIRST_CAPACITY, before);
    while (capacity < needed) capacity *= 2;
    const grow = (old: Allocation | undefined, stride: number): Allocation => {
      const grown = arena.allocate(this.heads * capacity * stride);
      if (old === undefined) return grown;
      kernels.copyRows(
        grown.start,
        capacity * stride,
        old.start,
        before * stride,
        this.heads,
        cachedTokens * stride,
      );
      arena.release(old);
      return grown;
    };
    this.#values = grow(this.#values, this.stride);
    if (this.#type === "fp8") this.#scales = grow(this.#scales, this.scaleStride);
    this.#capacity = capacity;
  }
}
