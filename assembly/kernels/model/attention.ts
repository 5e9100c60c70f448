import { E4M3 } from "../../lanes/format";
import { F32 } from "../../lanes/half";
import { multiplyBlock } from "../casts/dequantize";
import { Attention, KEYS, ROWS } from "./attention-call";
import { addTile, scoreTile } from "./attention-tiles";

/** Bytes of working memory for `attend`. */
export function attentionWorkspace(rows: usize, dim: usize, valueDim: usize): usize {
  return 16 * (KEYS + 1) + 4 * KEYS * (dim + valueDim) + 4 * valueDim + 8 * ((rows + 3) & ~3);
}

/**
 * out <- softmax(scale * q . keys^T) . values for the heads that share keys [count, dim] and values
 * [count, valueDim], whose rows are keyStride and valueStride bytes apart. The queries are those of the last
 * `tokens` positions; if `isCausal`, each sees the keys up to its own, and no more than the last `window` of
 * them unless that is 0. `sinks`, unless 0, holds a score for each head that takes part in the softmax
 * without a value. Where `keyScales` is not 0, keys and values are E4M3 codes with a float32 scale a row,
 * `scaleStride` bytes apart.
 *
 * A tile of 32 keys meets all rows before the next one comes: maxima and sums so far are corrected as it goes
 * (online softmax), and the results grow in their place. Four rows are worked on at once, each a lane of the
 * scores, or two where no more are left. dim and valueDim are multiples of 4.
 */
export function attend(
  out: usize,
  outTokenStride: usize,
  outHeadStride: usize,
  q: usize,
  qTokenStride: usize,
  qHeadStride: usize,
  tokens: usize,
  group: usize,
  keys: usize,
  keyStride: usize,
  keyScales: usize,
  values: usize,
  valueStride: usize,
  valueScales: usize,
  scaleStride: usize,
  count: usize,
  dim: usize,
  valueDim: usize,
  isCausal: i32,
  window: usize,
  scale: f32,
  sinks: usize,
  work: usize,
): void {
  Attention.q = q;
  Attention.qTokenStride = qTokenStride;
  Attention.qHeadStride = qHeadStride;
  Attention.out = out;
  Attention.outTokenStride = outTokenStride;
  Attention.outHeadStride = outHeadStride;
  Attention.tokens = tokens;
  Attention.group = group;
  Attention.dim = dim;
  Attention.valueDim = valueDim;
  Attention.count = count;
  Attention.window = window;
  Attention.isCausal = isCausal != 0;
  Attention.scale = scale;
  Attention.work = work;
  const rows = Attention.rows;
  for (let row: usize = 0; row < ((rows + 3) & ~3); row++) {
    const sink = sinks ? load<f32>(sinks + 4 * (min(row, rows - 1) % group)) : <f32>-Infinity;
    store<f32>(Attention.maxima + 4 * row, sink);
    store<f32>(Attention.sums + 4 * row, sinks ? 1 : 0);
    memory.fill(Attention.result(row), 0, 4 * valueDim);
  }
  for (let first = Attention.begin(0) & ~(KEYS - 1); first < count; first += KEYS) {
    const end = min(first + KEYS, count);
    let k = keys + first * keyStride;
    let v = values + first * valueStride;
    let kStride = keyStride;
    let vStride = valueStride;
    if (keyScales) {
      for (let j = first; j < end; j++) {
        const key: usize = 4 * (j - first) * dim;
        const value: usize = 4 * (j - first) * valueDim;
        decodeRow(Attention.keys + key, k + (j - first) * keyStride, keyScales + j * scaleStride, dim);
        decodeRow(
          Attention.values + value,
          v + (j - first) * valueStride,
          valueScales + j * scaleStride,
          valueDim,
        );
      }
      k = Attention.keys;
      v = Attention.values;
      kStride = 4 * dim;
      vStride = 4 * valueDim;
    }
    for (let row: usize = 0; row < rows; row += ROWS) {
      const last = row + ROWS - 1;
      if (Attention.end(last) <= first || Attention.begin(row) >= end) continue;
      scoreTile(row, first, end, k, kStride);
      addTile(row, end - first, v, vStride);
    }
  }
  for (let row: usize = 0; row < rows; row++) {
    scaleBy(Attention.result(row), <f32>1 / load<f32>(Attention.sums + 4 * row));
  }
}

/** dst[n] <- E4M3 codes times a float32 scale. */
function decodeRow(dst: usize, codes: usize, scale: usize, n: usize): void {
  multiplyBlock<E4M3, F32>(dst, codes, n, load<f32>(scale));
}

/** x[valueDim] *= factor */
function scaleBy(x: usize, factor: f32): void {
  const factors = f32x4.splat(factor);
  for (const end = x + 4 * Attention.valueDim; x < end; x += 16)
    v128.store(x, f32x4.mul(v128.load(x), factors));
}
