import { E4M3 } from "../../lanes/format";
import { Functions } from "../../lanes/functions";
import { F32 } from "../../lanes/half";
import { Simd } from "../../lanes/simd";
import { dequantize, F32_SCALE } from "../casts/dequantize";

/** Keys that meet the queries at a time. */
const KEYS: usize = 32;

/** Rows of queries that meet a key at a time: the lanes of a vector of scores. */
const ROWS: usize = 4;

/**
 * The attention that is being computed. A row is one head of queries of one token; `group` heads share keys and values, and row r is head
 * r % group of token r / group.
 */
abstract class Attention {
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

  /** Where scores [KEYS][ROWS] are; a factor for four rows; decoded keys and values; a spare row of the result; maxima and sums [rows]. */
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

/** Bytes of working memory for `attend`. */
export function attentionWorkspace(rows: usize, dim: usize, valueDim: usize): usize {
  return 16 * (KEYS + 1) + 4 * KEYS * (dim + valueDim) + 4 * valueDim + 8 * ((rows + 3) & ~3);
}

/**
 * out <- softmax(scale * q . keys^T) . values for the heads that share keys [count, dim] and values [count, valueDim], whose rows are
 * keyStride and valueStride bytes apart. The queries are those of the last `tokens` positions; if `isCausal`, each sees the keys up
 * to its own, and no more than the last `window` of them unless that is 0. `sinks`, unless 0, holds a score for each head that takes
 * part in the softmax without a value. Where `keyScales` is not 0,
 * keys and values are E4M3 codes with a float32 scale a row, `scaleStride` bytes apart.
 *
 * A tile of 32 keys meets all rows before the next one comes: maxima and sums so far are corrected as it goes (online softmax), and the
 * results grow in their place. Four rows are worked on at once, each a lane of the scores. dim and valueDim are multiples of 4.
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

/** scores[key][row] <- scale * q . key of four rows and keys first .. end - 1; the weights of the softmax take their place. */
function scoreTile(row: usize, first: usize, end: usize, k: usize, stride: usize): void {
  const q0 = Attention.query(row);
  const q1 = Attention.query(row + 1);
  const q2 = Attention.query(row + 2);
  const q3 = Attention.query(row + 3);
  const n = end - first;
  const scale = f32x4.splat(Attention.scale);
  const isWhole = Attention.begin(row + 3) <= first && Attention.end(row) >= end;
  const begins = Simd.lanes(
    <i32>Attention.begin(row),
    <i32>Attention.begin(row + 1),
    <i32>Attention.begin(row + 2),
    <i32>Attention.begin(row + 3),
  );
  const ends = Simd.lanes(
    <i32>Attention.end(row),
    <i32>Attention.end(row + 1),
    <i32>Attention.end(row + 2),
    <i32>Attention.end(row + 3),
  );
  const before = v128.load(Attention.maxima + 4 * row);
  let most = before;
  let s = Attention.scores;
  for (let j: usize = 0; j < n; j += 2, s += 32) {
    // An odd one out is paired with itself.
    const other = j + 1 < n ? stride : 0;
    dotPair(s, q0, q1, q2, q3, k, k + other);
    let x = f32x4.mul(v128.load(s), scale);
    let y = f32x4.mul(v128.load(s, 16), scale);
    if (!isWhole) {
      x = Functions.maskScores(x, <i32>(first + j), begins, ends);
      y = Functions.maskScores(y, <i32>(first + j + 1), begins, ends);
    }
    v128.store(s, x);
    most = Functions.max(most, x);
    if (other) {
      v128.store(s, y, 16);
      most = Functions.max(most, y);
    }
    k += 2 * stride;
  }
  v128.store(Attention.maxima + 4 * row, most);
  const offset = Functions.finite(most);
  const correction = Functions.exp(f32x4.sub(before, offset));
  let sums = f32x4.mul(v128.load(Attention.sums + 4 * row), correction);
  s = Attention.scores;
  for (let j: usize = 0; j < n; j++, s += 16) {
    const weight = Functions.exp(f32x4.sub(v128.load(s), offset));
    v128.store(s, weight);
    sums = f32x4.add(sums, weight);
  }
  v128.store(Attention.sums + 4 * row, sums);
  v128.store(Attention.corrections, correction);
}

/** scores of two keys: s[2][4] <- q0..q3 . k, l */
function dotPair(s: usize, q0: usize, q1: usize, q2: usize, q3: usize, k: usize, l: usize): void {
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let a2 = f32x4.splat(0);
  let a3 = f32x4.splat(0);
  let b0 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  let b2 = f32x4.splat(0);
  let b3 = f32x4.splat(0);
  const end = k + 4 * Attention.dim;
  do {
    const x = v128.load(k);
    const y = v128.load(l);
    const p0 = v128.load(q0);
    const p1 = v128.load(q1);
    a0 = Simd.madd(p0, x, a0);
    b0 = Simd.madd(p0, y, b0);
    a1 = Simd.madd(p1, x, a1);
    b1 = Simd.madd(p1, y, b1);
    const p2 = v128.load(q2);
    const p3 = v128.load(q3);
    a2 = Simd.madd(p2, x, a2);
    b2 = Simd.madd(p2, y, b2);
    a3 = Simd.madd(p3, x, a3);
    b3 = Simd.madd(p3, y, b3);
    k += 16;
    l += 16;
    q0 += 16;
    q1 += 16;
    q2 += 16;
    q3 += 16;
  } while (k < end);
  v128.store(s, Functions.sums(a0, a1, a2, a3));
  v128.store(s, Functions.sums(b0, b1, b2, b3), 16);
}

/** dst[n] <- E4M3 codes times a float32 scale. */
function decodeRow(dst: usize, codes: usize, scale: usize, n: usize): void {
  dequantize<E4M3, F32>(F32_SCALE, dst, codes, scale, 1, n, 1, n);
}

/** The results of four rows, corrected, += their weights . values of n keys. */
function addTile(row: usize, n: usize, values: usize, stride: usize): void {
  const o0 = Attention.result(row);
  const o1 = Attention.result(row + 1);
  const o2 = Attention.result(row + 2);
  const o3 = Attention.result(row + 3);
  const bytes: usize = 4 * Attention.valueDim;
  let d: usize = 0;
  for (; d + 32 <= bytes; d += 32) Columns.add(2, o0 + d, o1 + d, o2 + d, o3 + d, n, values + d, stride);
  if (d < bytes) Columns.add(1, o0 + d, o1 + d, o2 + d, o3 + d, n, values + d, stride);
}

abstract class Columns {
  /** The same for four columns of the values, or for eight if `width` is 2. */
  @inline static add(
    width: i32,
    o0: usize,
    o1: usize,
    o2: usize,
    o3: usize,
    n: usize,
    values: usize,
    stride: usize,
  ): void {
    const c0 = v128.load_splat<f32>(Attention.corrections);
    const c1 = v128.load_splat<f32>(Attention.corrections, 4);
    const c2 = v128.load_splat<f32>(Attention.corrections, 8);
    const c3 = v128.load_splat<f32>(Attention.corrections, 12);
    let a0 = f32x4.mul(v128.load(o0), c0);
    let a1 = f32x4.mul(v128.load(o1), c1);
    let a2 = f32x4.mul(v128.load(o2), c2);
    let a3 = f32x4.mul(v128.load(o3), c3);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let b2 = f32x4.splat(0);
    let b3 = f32x4.splat(0);
    if (width == 2) {
      b0 = f32x4.mul(v128.load(o0, 16), c0);
      b1 = f32x4.mul(v128.load(o1, 16), c1);
      b2 = f32x4.mul(v128.load(o2, 16), c2);
      b3 = f32x4.mul(v128.load(o3, 16), c3);
    }
    let s = Attention.scores;
    const end = s + 16 * n;
    do {
      const v = v128.load(values);
      const w0 = v128.load_splat<f32>(s);
      const w1 = v128.load_splat<f32>(s, 4);
      const w2 = v128.load_splat<f32>(s, 8);
      const w3 = v128.load_splat<f32>(s, 12);
      a0 = Simd.madd(w0, v, a0);
      a1 = Simd.madd(w1, v, a1);
      a2 = Simd.madd(w2, v, a2);
      a3 = Simd.madd(w3, v, a3);
      if (width == 2) {
        const u = v128.load(values, 16);
        b0 = Simd.madd(w0, u, b0);
        b1 = Simd.madd(w1, u, b1);
        b2 = Simd.madd(w2, u, b2);
        b3 = Simd.madd(w3, u, b3);
      }
      s += 16;
      values += stride;
    } while (s < end);
    v128.store(o0, a0);
    v128.store(o1, a1);
    v128.store(o2, a2);
    v128.store(o3, a3);
    if (width == 2) {
      v128.store(o0, b0, 16);
      v128.store(o1, b1, 16);
      v128.store(o2, b2, 16);
      v128.store(o3, b3, 16);
    }
  }
}

/** x[valueDim] *= factor */
function scaleBy(x: usize, factor: f32): void {
  const factors = f32x4.splat(factor);
  for (const end = x + 4 * Attention.valueDim; x < end; x += 16)
    v128.store(x, f32x4.mul(v128.load(x), factors));
}
