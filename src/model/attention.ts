import type { Linear, Program } from "./program.ts";
import { rowsOf } from "./team.ts";

/** Addresses of the cos and sin [tokens, dim / 2] of RoPE's angles, for the tokens of a pass. */
export interface CosSin {
  readonly cos: number;
  readonly sin: number;
}

/** Angles for layers that see all tokens, and `local` ones for layers with a sliding window. */
export interface Angles extends CosSin {
  readonly local: CosSin;
}

/** The attention of a layer, with its key-value cache. */
export interface Attention {
  /**
   * dst[lastTokens, hidden] <- attention of the last `lastTokens` tokens of x[tokens, hidden], all of which
   * the cache takes; it holds `cachedTokens` tokens before these.
   */
  apply(
    dst: number,
    x: number,
    tokens: number,
    cachedTokens: number,
    angles: Angles,
    lastTokens: number,
  ): void;
  /** Gives the memory of the cache back. */
  free(): void;
}

/** The angles of the tokens behind the first `skipped`. */
export function anglesFrom(skipped: number, { cos, sin }: CosSin, dim: number): CosSin {
  const bytes = 2 * dim * skipped;
  return { cos: cos + bytes, sin: sin + bytes };
}

/** The output projection. Members share its rows; its columns are those of all heads. */
export function outputOf(program: Program, key: string, hidden: number): Linear {
  return program.linear(`${key}.o`, (team) => rowsOf(hidden, team));
}
