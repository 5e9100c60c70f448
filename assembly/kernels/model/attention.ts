import { E4M3 } from "../../lanes/format";
import { F32 } from "../../lanes/half";
import { multiplyBlock } from "../casts/dequantize";
import { AttentionCall, KEYS, ROWS } from "./attention-call";
import { scoreTile } from "./attention-scores";
import { addTile } from "./attention-values";

/** Bytes of working memory for `attend`. */
export function attentionWorkspace(rows: usize, dim: usize, valueDim: usize): usize {
  return 16 * (KEYS + 1) + 4 * KEYS * (dim + valueDim) + 4 * valueDim + 8 * ((rows + 3) & ~3);
}

/**
 * out <- softmax(scale * q . keys^T) . values.
 *
 * A tile of 32 keys meets all rows before the next one comes: maxima and sums so far are corrected as it goes
 * (online softmax), and the results grow in their place. Four rows are worked on at once, each a lane of the
 * scores, or two where no more are left. dim and valueDim are multiples of 4.
 */
export function attend(call: AttentionCall): void {
  const count = call.count;
  const valueDim = call.valueDim;
  const sinks = call.sinks;
  const rows = call.rows;
  for (let row: usize = 0; row < ((rows + 3) & ~3); row++) {
    const sink = sinks ? load<f32>(sinks + 4 * (min(row, rows - 1) % call.group)) : <f32>-Infinity;
    store<f32>(call.maxima + 4 * row, sink);
    store<f32>(call.sums + 4 * row, sinks ? 1 : 0);
    memory.fill(call.result(row), 0, 4 * valueDim);
  }
  for (let first = call.begin(0) & ~(KEYS - 1); first < count; first += KEYS) {
    const end = min(first + KEYS, count);
    let k = call.keys + first * call.keyStride;
    let v = call.values + first * call.valueStride;
    let keyStride = call.keyStride;
    let valueStride = call.valueStride;
    if (call.keyScales) {
      decodeTile(call, first, end, k, v);
      k = call.decodedKeys;
      v = call.decodedValues;
      keyStride = 4 * call.dim;
      valueStride = 4 * valueDim;
    }
    for (let row: usize = 0; row < rows; row += ROWS) {
      const last = row + ROWS - 1;
      if (call.end(last) <= first || call.begin(row) >= end) continue;
      scoreTile(call, row, first, end, k, keyStride);
      addTile(call, row, end - first, v, valueStride);
    }
  }
  for (let row: usize = 0; row < rows; row++) {
    scaleBy(call.result(row), valueDim, <f32>1 / load<f32>(call.sums + 4 * row));
  }
}

/**
 * Decodes keys and values first .. end - 1, whose codes are at k and v, into working memory.
 */
function decodeTile(call: AttentionCall, first: usize, end: usize, k: usize, v: usize): void {
  const dim = call.dim;
  const valueDim = call.valueDim;
  let key = call.decodedKeys;
  let value = call.decodedValues;
  for (let j = first; j < end; j++, key += 4 * dim, value += 4 * valueDim) {
    const scale = j * call.scaleStride;
    multiplyBlock<E4M3, F32>(key, k, dim, load<f32>(call.keyScales + scale));
    multiplyBlock<E4M3, F32>(value, v, valueDim, load<f32>(call.valueScales + scale));
    k += call.keyStride;
    v += call.valueStride;
  }
}

/** x[valueDim] *= factor */
function scaleBy(x: usize, valueDim: usize, factor: f32): void {
  const factors = f32x4.splat(factor);
  for (const end = x + 4 * valueDim; x < end; x += 16) v128.store(x, f32x4.mul(v128.load(x), factors));
}
