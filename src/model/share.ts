/** Numbers start to end, the last one left out. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** One of the members that run a model together, each in a thread of its own: the first is number 0. */
export interface Seat {
  readonly rank: number;
  readonly size: number;
}

/** A member's part of `total` things, in whole groups of `unit`: equal parts, as far as that allows. */
export function shareOf(total: number, { rank, size }: Seat, unit = 1): Range {
  const units = Math.ceil(total / unit);
  const edge = (part: number): number => Math.min(total, Math.ceil((part * units) / size) * unit);
  return { start: edge(rank), end: edge(rank + 1) };
}

/** Rows of a product that are computed side by side. */
const PANEL = 8;

/** A member's rows of a matrix. */
export function rowsOf(total: number, seat: Seat): Range {
  return shareOf(total, seat, PANEL);
}

/**
 * The heads of queries that a member computes, and the heads of keys that they meet. Where there are enough
 * of the latter, each belongs to one member; else several members keep the same one.
 */
export function headsOf(heads: number, keyHeads: number, seat: Seat): { queries: Range; keys: Range } {
  const group = heads / keyHeads;
  if (keyHeads >= seat.size) {
    const keys = shareOf(keyHeads, seat);
    return { keys, queries: { start: keys.start * group, end: keys.end * group } };
  }
  const queries = shareOf(heads, seat);
  const isEmpty = queries.start === queries.end;
  return {
    queries,
    keys: isEmpty
      ? { start: 0, end: 0 }
      : { start: Math.floor(queries.start / group), end: Math.ceil(queries.end / group) },
  };
}

/** A range of things that are `size` numbers each. */
export function times({ start, end }: Range, size: number): Range {
  return { start: start * size, end: end * size };
}
