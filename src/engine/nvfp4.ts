import { floatsOf } from "../js/half.ts";
import { checkValues, type RawValues } from "../tensor/checks.ts";
import { largestOf, NAN_CODE } from "../tensor/formats.ts";
import type { Scheme } from "../tensor/schemes.ts";
import { multipliersOf } from "../tensor/sub-byte.ts";
import { type BlockScaled, type Format, type Grid, gridOf, type Values } from "../tensor/tensor.ts";

/** What is needed of an engine. */
interface Encoder {
  encode(values: Float32Array, format: Format, options?: { out?: Uint8Array }): Uint8Array;
}

/** The largest E2M1 and E4M3 values. */
const [LARGEST_CODE, LARGEST_SCALE] = [largestOf("e2m1"), largestOf("e4m3")];

/** The E4M3 code of the smallest scale that is not zero. */
const SMALLEST_SCALE_CODE = 1;

/** Calls `visit` with each block: its number, the index of its first element, and its rows and columns. */
function eachBlock(
  { slices, rows, cols, block, gridCols }: Grid,
  visit: (number: number, first: number, height: number, width: number) => void,
): void {
  let number = 0;
  for (let slice = 0; slice < slices; slice++) {
    for (let row = 0; row < rows; row += block[0]) {
      for (let i = 0; i < gridCols; i++) {
        const col = i * block[1];
        const first = (slice * rows + row) * cols + col;
        visit(number++, first, Math.min(block[0], rows - row), Math.min(block[1], cols - col));
      }
    }
  }
}

/** The float32 of a tensor of NVFP4, by which its scales are to be multiplied, or divided. */
export interface TensorScale {
  readonly factor: number;
  readonly divides: boolean;
}

/**
 * Writes codes and E4M3 scales of NVFP4, and gives the float32 that belongs to the tensor: amax / (448 * 6),
 * so that the largest block has the largest scale.
 */
export function quantizeNvfp4(
  engine: Encoder,
  values: RawValues,
  grid: Grid,
  codes: Uint8Array,
  scales: Uint8Array,
): number {
  const x = floatsOf(values);
  const amaxes = amaxesOf(x, grid);
  const most = amaxes.reduce((most, amax) => (amax < Infinity ? Math.max(most, amax) : most), 0);
  const factor = most === 0 ? 1 : Math.max(Math.fround(most / (LARGEST_SCALE * LARGEST_CODE)), 2 ** -126);
  encodeBlocks(engine, x, grid, amaxes, codes, scales, { factor, divides: false });
  return factor;
}

/**
 * Stores values as NVFP4 under a float32 that is settled, as where a tensor comes in strips.
 * @param out arrays for the codes and for the E4M3 scales
 * @returns the tensor, with what each block is multiplied by as its scales
 */
export function quantizeNvfp4With(
  engine: Encoder,
  values: Values,
  shape: readonly number[],
  { block, format }: Pick<Scheme, "block" | "format">,
  given: TensorScale,
  out: { readonly codes: Uint8Array; readonly scales: Uint8Array },
): BlockScaled {
  const x = floatsOf(checkValues("quantize: values", values));
  const grid = gridOf("quantize", shape, block);
  const { codes } = out;
  const scales = encodeBlocks(engine, x, grid, amaxesOf(x, grid), codes, out.scales, given);
  return { format, shape, block, codes, scales };
}

/** The largest magnitude of each block; NaN where one is NaN. */
function amaxesOf(x: Float32Array, grid: Grid): Float32Array {
  const amaxes = new Float32Array(grid.blocks);
  eachBlock(grid, (number, first, height, width) => {
    let amax = 0;
    for (let r = 0; r < height; r++)
      for (let i = first + r * grid.cols; i < first + r * grid.cols + width; i++)
        amax = Math.max(amax, Math.abs(x[i]!));
    amaxes[number] = amax;
  });
  return amaxes;
}

/**
 * Each step is rounded to float32: a block's scale is the nearest E4M3 of amax / 6 over the tensor's, at
 * least the smallest one unless the block is zero; a code is the nearest of x over the product of both. A
 * block with NaN or Inf has NaN as its scale, and counts for no other.
 */
function encodeBlocks(
  engine: Encoder,
  x: Float32Array,
  grid: Grid,
  amaxes: Float32Array,
  codes: Uint8Array,
  scales: Uint8Array,
  { factor, divides }: TensorScale,
): Float32Array {
  const wanted = amaxes.map((amax) => {
    const scale = Math.fround(amax / LARGEST_CODE);
    return divides ? scale * factor : scale / factor;
  });
  engine.encode(wanted, "e4m3", { out: scales });
  for (let i = 0; i < scales.length; i++) {
    if (!(amaxes[i]! < Infinity)) scales[i] = NAN_CODE;
    else if (scales[i] === 0 && amaxes[i]! > 0) scales[i] = SMALLEST_SCALE_CODE;
  }
  const multipliers = multipliersOf(scales, factor, divides);
  const scaled = new Float32Array(x.length);
  eachBlock(grid, (number, first, height, width) => {
    const multiplier = multipliers[number]!;
    if (!(multiplier > 0)) return;
    for (let r = 0; r < height; r++)
      for (let i = first + r * grid.cols; i < first + r * grid.cols + width; i++)
        scaled[i] = x[i]! / multiplier;
  });
  engine.encode(scaled, "e2m1", { out: codes });
  return multipliers;
}
