/** The indices from `start` to `end`, without `end`. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * The team of threads that run a model together, as one of its members sees it: the member's number, from
 * 0, and how many members there are (OpenMP's thread number and team size).
 */
export interface Team {
  readonly member: number;
  readonly size: number;
}

/** A member's part of `total` indices: equal parts in multiples of `unit`. */
export function shareOf(total: number, { member, size }: Team, unit = 1): Range {
  const units = Math.ceil(total / unit);
  const edge = (part: number): number => Math.min(total, Math.ceil((part * units) / size) * unit);
  return { start: edge(member), end: edge(member + 1) };
}

/** Rows of a weight that the product kernels compute side by side. */
const PANEL_ROWS = 8;

/** A member's rows of a matrix. */
export function rowsOf(total: number, team: Team): Range {
  return shareOf(total, team, PANEL_ROWS);
}

/**
 * The query heads that a member computes, and the key-value heads that they need. With fewer key-value heads
 * than members, several members keep the same one.
 */
export function headsOf(heads: number, keyHeads: number, team: Team): { queries: Range; keys: Range } {
  const group = heads / keyHeads;
  if (keyHeads >= team.size) {
    const keys = shareOf(keyHeads, team);
    return { keys, queries: { start: keys.start * group, end: keys.end * group } };
  }
  const queries = shareOf(heads, team);
  const isEmpty = queries.start === queries.end;
  return {
    queries,
    keys: isEmpty
      ? { start: 0, end: 0 }
      : { start: Math.floor(queries.start / group), end: Math.ceil(queries.end / group) },
  };
}

/** The range of elements of a range of things with `size` elements each. */
export function scaleRange({ start, end }: Range, size: number): Range {
  return { start: start * size, end: end * size };
}
