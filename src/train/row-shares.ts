import { type Range, shareOf, type Team } from "../model/team.ts";

/** Fewest rows of a chunk: the kernels sum products of few rows in another order than those of many. */
const LEAST_ROWS = 32;

/**
 * Cuts `total` rows into chunks, each of which one member computes. Sums over rows are taken chunk by chunk
 * and then over chunks, so their bits do not depend on the number of members. Each chunk has at least
 * LEAST_ROWS rows; the last one takes what is left over as well.
 */
export class RowShares {
  readonly count: number;
  readonly #total: number;
  readonly #unit: number;

  /** @param multiple rows of a block that is rounded with one scale: no chunk cuts a block */
  constructor(total: number, multiple = 1) {
    this.#total = total;
    this.#unit = Math.ceil(LEAST_ROWS / multiple) * multiple;
    this.count = Math.max(1, Math.floor(total / this.#unit));
  }

  /** The chunks of a member. */
  chunksOfMember(team: Team): Range {
    return shareOf(this.count, team);
  }

  /** The rows of a member's chunks. */
  rowsOfMember(team: Team): Range {
    return this.rowsOfChunks(this.chunksOfMember(team));
  }

  /** The rows of some chunks. */
  rowsOfChunks({ start, end }: Range): Range {
    return { start: this.#edge(start), end: this.#edge(end) };
  }

  #edge(chunk: number): number {
    return chunk === this.count ? this.#total : chunk * this.#unit;
  }
}
