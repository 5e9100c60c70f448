/** Keys that meet the queries at a time: a multiple of four. */
export const KEYS: usize = 32;

/** Rows of queries that meet a key at a time: the lanes of a vector of scores. */
export const ROWS: usize = 4;

/**
 * The attention that is being computed. A row is one head of queries of one token; `group` heads share keys
 * and values, and row r is head r % group of token r / group.
 */
export abstract class Attention {
  static q: usize = 0;
  static qTokenStride: usize = 0;
  static qHeadStride: usize = 0;
  static out: usize = 0;
  static outTokenStride: usize = 0;
  static outHeadStride: usize = 0;
  static tokens: usize = 0;
  static group: usize = 0;
  static dim: usize = 0;
  static valueDim: usize = 0;
  static count: usize = 0;
  static window: usize = 0;
  static isCausal: bool = false;
  static scale: f32 = 0;
  static work: usize = 0;

  /**
   * Where scores [KEYS][ROWS] are; a factor for four rows; decoded keys and values; a spare row of the
   * result; maxima and sums [rows].
   */
  @inline static get scores(): usize {
    return Attention.work;
  }
  @inline static get corrections(): usize {
    return Attention.scores + 16 * KEYS;
  }
  @inline static get keys(): usize {
    return Attention.corrections + 16;
  }
  @inline static get values(): usize {
    return Attention.keys + 4 * KEYS * Attention.dim;
  }
  @inline static get spare(): usize {
    return Attention.values + 4 * KEYS * Attention.valueDim;
  }
  @inline static get maxima(): usize {
    return Attention.spare + 4 * Attention.valueDim;
  }
  @inline static get sums(): usize {
    return Attention.maxima + 4 * ((Attention.rows + 3) & ~3);
  }
  @inline static get rows(): usize {
    return Attention.tokens * Attention.group;
  }

  /** The query of a row; past the end, of the last one. */
  @inline static query(row: usize): usize {
    const r = min(row, Attention.rows - 1);
    return (
      Attention.q +
      (r / Attention.group) * Attention.qTokenStride +
      (r % Attention.group) * Attention.qHeadStride
    );
  }

  /** Where the result of a row goes; past the end, a place of no concern. */
  @inline static result(row: usize): usize {
    if (row >= Attention.rows) return Attention.spare;
    return (
      Attention.out +
      (row / Attention.group) * Attention.outTokenStride +
      (row % Attention.group) * Attention.outHeadStride
    );
  }

  /** One past the last key that a row sees. */
  @inline static end(row: usize): usize {
    if (!Attention.isCausal) return Attention.count;
    return Attention.count - Attention.tokens + min(row, Attention.rows - 1) / Attention.group + 1;
  }

  /** The first key that a row sees. */
  @inline static begin(row: usize): usize {
    const end = Attention.end(row);
    return Attention.window && end > Attention.window ? end - Attention.window : 0;
  }
}
