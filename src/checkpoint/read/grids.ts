import type { StoredTensor } from "./checkpoint.ts";
import type { Block } from "./makers/index.ts";
import { matrixOf, type ScaledWeight, scaleShape } from "./weights.ts";

/**
 * Blocks tried in this order after those that config.json names. Where
 * several fit a shape, they mean the same.
 */
const KNOWN_BLOCKS: readonly Block[] = [
  [128, 128],
  [1, 32],
  [1, 128],
  [1, 16],
];

/**
 * How the scales of a weight lie: the block that one of them serves, how many rows or slices share a stored
 * one, and how many scales one row of a padded grid holds.
 */
export type ScaleGrid = Pick<ScaledWeight, "block" | "blocksPerScale" | "storedCols">;

/** The grid of scales, by their shape; `null` where they fit none. */
export function scaleGridOf(
  shape: readonly number[],
  scales: StoredTensor,
  configured: readonly Block[],
): ScaleGrid | null {
  const { rows, cols } = matrixOf(shape);
  const all: Block = [Math.max(1, rows), Math.max(1, cols)];
  const stored = withoutOnes(scales.shape, shape.length);
  for (const block of [...configured, ...KNOWN_BLOCKS]) {
    if (sameShape(stored, scaleShape(shape, block))) return { block };
  }
  const perRow = [[...shape.slice(0, -1), 1], shape.slice(0, -1)];
  if (perRow.some((expected) => sameShape(stored, expected))) return { block: [1, all[1]] };
  if (isScalar(scales)) return oneForAll(shape);
  if (shape.length === 3) return stackedGrid(shape, stored, all);
  const isInBlocks =
    shape.length === 2 &&
    stored.length === 2 &&
    stored[0] === rows &&
    cols > 0 &&
    cols % stored[1]! === 0 &&
    scales.shape.length === 3;
  if (isInBlocks) return { block: [1, cols / stored[1]!] };
  return paddedGrid(shape, stored, configured);
}

/** One scale for a whole weight: where it is a stack, for all of its slices. */
export function oneForAll(shape: readonly number[]): ScaleGrid {
  const { slices, rows, cols } = matrixOf(shape);
  const block: Block = [Math.max(1, rows), Math.max(1, cols)];
  return slices === 1 ? { block } : { block, blocksPerScale: [slices] };
}

/** Whether there is one number, whatever the shape says. */
export function isScalar({ shape }: StoredTensor): boolean {
  return shape.every((size) => size === 1);
}

/** Stacked experts: a scale for each, or for each column of each. */
function stackedGrid(shape: readonly number[], stored: readonly number[], all: Block): ScaleGrid | null {
  const [experts, , cols] = shape as [number, number, number];
  if (sameShape(stored, [experts, 1, 1]) || sameShape(stored, [experts])) return { block: all };
  return sameShape(stored, [experts, 1, cols]) ? { block: [all[0], 1] } : null;
}

/** A grid of more rows and columns than the weight needs, where config.json names the block. */
function paddedGrid(
  shape: readonly number[],
  stored: readonly number[],
  [block]: readonly Block[],
): ScaleGrid | null {
  if (block === undefined || shape.length !== 2 || stored.length !== 2) return null;
  const [rows, cols] = scaleShape(shape, block) as [number, number];
  const [storedRows, storedCols] = stored as [number, number];
  // Kernels pad to a few blocks; a grid of twice the size is something else.
  const fits = (needed: number, found: number) => needed > 0 && found >= needed && found <= 2 * needed + 8;
  if (!fits(rows, storedRows) || !fits(cols, storedCols)) return null;
  return storedCols === cols ? { block } : { block, storedCols };
}

/**
 * [N / 128, 1, K / 128, 1] as [N / 128, K / 128], and [N, blocks, 1] as [N, blocks]:
 * how some tools keep axes for broadcasting.
 */
function withoutOnes(stored: readonly number[], dimensions: number): readonly number[] {
  if (dimensions !== 2) return stored;
  if (stored.length === 4 && stored[1] === 1 && stored[3] === 1) return [stored[0]!, stored[2]!];
  return stored.length === 3 && stored[2] === 1 ? [stored[0]!, stored[1]!] : stored;
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}
