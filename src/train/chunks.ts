import { type Range, type Seat, shareOf } from "../model/share.ts";

/** Fewest rows of a chunk: products of few rows are summed in another order than those of many. */
const LEAST_ROWS = 32;

/**
 * Rows in groups that no two members share. What is summed over rows is summed chunk by
 * chunk and then over chunks, however many members there are. Each chunk has `unit` rows,
 * and the last one what is left over as well.
 */
export class Chunks {
  readonly count: number;
  readonly #total: number;
  readonly #unit: number;

  /** @param multiple rows of the blocks that are rounded together */
  constructor(total: number, multiple = 1) {
    this.#total = total;
    this.#unit = Math.ceil(LEAST_ROWS / multiple) * multiple;
    this.count = Math.max(1, Math.floor(total / this.#unit));
  }

  /** The chunks of a member. */
  of(seat: Seat): Range {
    return shareOf(this.count, seat);
  }

  /** The rows of a member's chunks. */
  rowsOf(seat: Seat): Range {
    return this.rows(this.of(seat));
  }

  /** The rows of some chunks. */
  rows({ start, end }: Range): Range {
    return { start: this.#edge(start), end: this.#edge(end) };
  }

  #edge(chunk: number): number {
    return chunk === this.count ? this.#total : chunk * this.#unit;
  }
}
