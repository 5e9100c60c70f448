import type { Engine } from "../../engine/engine.ts";
import type { Source } from "../../io/source.ts";
import { scaleTypeOf, ue8m0Value } from "../../tensor/formats.ts";
import type { Strip } from "../plan/strip.ts";
import { matrixOf } from "../read/weights.ts";
import { scalesOfStrip } from "../run/rows.ts";
import { readAndQuantize, type StripUnderScheme } from "./sample.ts";

/** Where a block lies: rows of blocks are counted on over the slices of a tensor. */
export interface BlockPlace {
  readonly blockRow: number;
  readonly blockCol: number;
}

/** One block of a weight, before and after. */
export interface BlockValues {
  readonly slice: number;
  readonly firstRow: number;
  readonly firstCol: number;
  /** Size of the block: smaller at the edges of a tensor. */
  readonly rows: number;
  readonly cols: number;
  readonly scale: number;
  /** Rows and columns of the values below: the first of the block, at most {@link SHOWN}. */
  readonly shown: readonly [number, number];
  /** [shown[0], shown[1]], row by row. */
  readonly before: Float32Array<ArrayBuffer>;
  /** `null` without a scheme: the values are shown as they are stored. */
  readonly after: Float32Array<ArrayBuffer> | null;
  /** The largest magnitude of the whole block, and the largest error. */
  readonly amax: number;
  readonly error: number;
}

/** Rows and columns of a block that are handed over at most. */
export const SHOWN: readonly [number, number] = [16, 128];

/** Whether some rows of a block are in a strip. */
export function meetsBlock(
  strip: Strip,
  shape: readonly number[],
  block: readonly [number, number],
  { blockRow }: BlockPlace,
): boolean {
  const { rows } = matrixOf(shape);
  const [first, end] = rowsInStrip(strip, rows, blockRow, block[0]);
  return first < end;
}

/** The slice in which a row of blocks begins, and its first row there. */
function beginOf(blockRow: number, rows: number, height: number): readonly [slice: number, row: number] {
  const perSlice = Math.ceil(rows / height);
  return [Math.floor(blockRow / perSlice), (blockRow % perSlice) * height];
}

/** Rows of a block that are in a strip: [first, end) from the strip's first row on, none if first >= end. */
function rowsInStrip(
  strip: Strip,
  rows: number,
  blockRow: number,
  height: number,
): readonly [first: number, end: number] {
  const [slice, row] = beginOf(blockRow, rows, height);
  const first = (slice - strip.slice) * rows + row - strip.firstRow;
  return [Math.max(0, first), Math.min(strip.rows, first + Math.min(height, rows - row))];
}

/**
 * A block from its parts in several strips, in the order of its rows: that of a per-tensor scale is all of a
 * weight.
 */
export function joinBlock(parts: readonly [BlockValues, ...BlockValues[]]): BlockValues {
  return {
    ...parts[0],
    rows: parts.reduce((sum, { rows }) => sum + rows, 0),
    amax: parts.reduce((most, { amax }) => Math.max(most, amax), 0),
    error: parts.reduce((most, { error }) => Math.max(most, error), 0),
  };
}

/**
 * Reads a strip that holds rows of a block, and cuts out these rows.
 * @throws BlockscaleError `io`, `dialect`
 */
export async function sampleBlock(
  sampling: StripUnderScheme,
  { blockRow, blockCol }: BlockPlace,
  sources: readonly Source[],
  engine: Engine,
): Promise<BlockValues> {
  const { weight, strip } = sampling;
  const { values, tensor, scales, block } = await readAndQuantize(sampling, sources, engine);
  const converted = tensor === null ? values : engine.dequantize(tensor);
  const { rows, cols } = matrixOf(weight.shape);
  const [height, width] = block!;
  const [slice, firstRow] = beginOf(blockRow, rows, height);
  const [first, end] = rowsInStrip(strip, rows, blockRow, height);
  const firstCol = blockCol * width;
  const size = [end - first, Math.min(width, cols - firstCol)] as const;
  const shown = [Math.min(SHOWN[0], size[0]), Math.min(SHOWN[1], size[1])] as const;
  const before = new Float32Array(shown[0] * shown[1]);
  const after = new Float32Array(before.length);
  let [amax, error] = [0, 0];
  for (let r = 0; r < size[0]; r++) {
    for (let c = 0; c < size[1]; c++) {
      const at = (first + r) * cols + firstCol + c;
      amax = Math.max(amax, Math.abs(values[at]!));
      error = Math.max(error, Math.abs(converted[at]! - values[at]!));
      if (r >= shown[0] || c >= shown[1]) continue;
      before[r * shown[1] + c] = values[at]!;
      after[r * shown[1] + c] = converted[at]!;
    }
  }
  const { first: firstScale } = scalesOfStrip({ shape: weight.shape, block: block! }, strip);
  const scale = scales[blockRow * Math.ceil(cols / width) + blockCol - firstScale]!;
  return {
    slice,
    firstRow,
    firstCol,
    rows: size[0],
    cols: size[1],
    scale: scaleTypeOf(scales) === "ue8m0" ? ue8m0Value(scale) : scale,
    shown,
    before,
    after: tensor === null ? null : after,
    amax,
    error,
  };
}
