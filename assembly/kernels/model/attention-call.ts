/** Keys that meet the queries at a time: a multiple of four. */
export const KEYS: usize = 32;

/** Rows of queries that meet a key at a time: the lanes of a vector of scores. */
export const ROWS: usize = 4;

/**
 * The arguments of `attend`: an AttentionCall of src/model/calls.ts, which says what they mean. A row is one
 * head of queries of one token: row r is head r % group of token r / group.
 */
@unmanaged
export class AttentionCall {
  out: usize = 0;
  outTokenStride: usize = 0;
  outHeadStride: usize = 0;
  q: usize = 0;
  qTokenStride: usize = 0;
  qHeadStride: usize = 0;
  tokens: usize = 0;
  group: usize = 0;
  keys: usize = 0;
  keyStride: usize = 0;
  keyScales: usize = 0;
  values: usize = 0;
  valueStride: usize = 0;
  valueScales: usize = 0;
  scaleStride: usize = 0;
  count: usize = 0;
  dim: usize = 0;
  valueDim: usize = 0;
  isCausal: u32 = 0;
  window: usize = 0;
  scale: f32 = 0;
  sinks: usize = 0;
  work: usize = 0;

  /**
   * The areas of working memory: scores [KEYS][ROWS]; a factor for each of four rows; decoded keys and
   * values of a tile; a spare row of the result; maxima and sums [rows].
   */
  @inline get scores(): usize {
    return this.work;
  }
  @inline get corrections(): usize {
    return this.scores + 16 * KEYS;
  }
  @inline get decodedKeys(): usize {
    return this.corrections + 16;
  }
  @inline get decodedValues(): usize {
    return this.decodedKeys + 4 * KEYS * this.dim;
  }
  @inline get spare(): usize {
    return this.decodedValues + 4 * KEYS * this.valueDim;
  }
  @inline get maxima(): usize {
    return this.spare + 4 * this.valueDim;
  }
  @inline get sums(): usize {
    return this.maxima + 4 * ((this.rows + 3) & ~3);
  }
  @inline get rows(): usize {
    return this.tokens * this.group;
  }

  /** The query of a row; past the end, of the last one. */
  @inline query(row: usize): usize {
    const r = min(row, this.rows - 1);
    return this.q + (r / this.group) * this.qTokenStride + (r % this.group) * this.qHeadStride;
  }

  /** Where the result of a row goes; past the end, the spare row, which nobody reads. */
  @inline result(row: usize): usize {
    if (row >= this.rows) return this.spare;
    return this.out + (row / this.group) * this.outTokenStride + (row % this.group) * this.outHeadStride;
  }

  /** One past the last key that a row sees. */
  @inline end(row: usize): usize {
    if (!this.isCausal) return this.count;
    return this.count - this.tokens + min(row, this.rows - 1) / this.group + 1;
  }

  /** The first key that a row sees. */
  @inline begin(row: usize): usize {
    const end = this.end(row);
    return this.window && end > this.window ? end - this.window : 0;
  }
}
