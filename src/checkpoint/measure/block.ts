import type { Engine } from "../../engine/engine.ts";
import type { Source } from "../../io/source.ts";
import { scaleTypeOf, ue8m0Value } from "../../tensor/formats.ts";
import type { Strip } from "../plan/strip.ts";
import { matrixOf } from "../read/weights.ts";
import { scalesOfStrip } from "../run/rows.ts";
import { lookAt, type StripSampling } from "./sample.ts";

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
  readonly before: Float32Array<ArrayBuffer>;
  /** `null` without a scheme: the values are shown as they are stored. */
  readonly after: Float32Array<ArrayBuffer> | null;
  /** The largest magnitude of the whole block, and the largest error. */
  readonly amax: number;
  readonly error: number;
}

/** Rows and columns of a block that are handed over at most. */
export const SHOWN: readonly [number, number] = [16, 128];

/** Whether a block begins in a strip. */
export function holdsBlock(
  strip: Strip,
  shape: readonly number[],
  block: readonly [number, number],
  { blockRow }: BlockPlace,
): boolean {
  const { rows } = matrixOf(shape);
  const row = rowInStrip(strip, rows, beginOf(blockRow, rows, block[0]));
  return row >= 0 && row < strip.rows;
}

/** The slice in which a row of blocks begins, and its first row there. */
function beginOf(blockRow: number, rows: number, height: number): readonly [slice: number, row: number] {
  const perSlice = Math.ceil(rows / height);
  return [Math.floor(blockRow / perSlice), (blockRow % perSlice) * height];
}

/** A row of a slice, counted from the first row of a strip. */
function rowInStrip(strip: Strip, rows: number, [slice, row]: readonly [number, number]): number {
  return (slice - strip.slice) * rows + row - strip.firstRow;
}

/**
 * Reads the strip that holds a block, and cuts the block out.
 * @throws BlockscaleError `io`, `dialect`
 */
export async function sampleBlock(
  sampling: StripSampling,
  { blockRow, blockCol }: BlockPlace,
  sources: readonly Source[],
  engine: Engine,
): Promise<BlockValues> {
  const { weight, strip } = sampling;
  const { values, tensor, scales, block } = await lookAt(sampling, sources, engine);
  const became = tensor === null ? values : engine.dequantize(tensor);
  const { rows, cols } = matrixOf(weight.shape);
  const [height, width] = block!;
  const [slice, firstRow] = beginOf(blockRow, rows, height);
  const first = rowInStrip(strip, rows, [slice, firstRow]);
  const firstCol = blockCol * width;
  const size = [
    Math.min(height, rows - firstRow, strip.rows - first),
    Math.min(width, cols - firstCol),
  ] as const;
  const shown = [Math.min(SHOWN[0], size[0]), Math.min(SHOWN[1], size[1])] as const;
  const before = new Float32Array(shown[0] * shown[1]);
  const after = new Float32Array(before.length);
  let [amax, error] = [0, 0];
  for (let r = 0; r < size[0]; r++) {
    for (let c = 0; c < size[1]; c++) {
      const at = (first + r) * cols + firstCol + c;
      amax = Math.max(amax, Math.abs(values[at]!));
      error = Math.max(error, Math.abs(became[at]! - values[at]!));
      if (r >= shown[0] || c >= shown[1]) continue;
      before[r * shown[1] + c] = values[at]!;
      after[r * shown[1] + c] = became[at]!;
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
