import type { OperandName, RangeCounts } from "../../train/counts.ts";

/** All that the report of a run of training tells: a plain record, which `trainingPage` makes a page of. */
export interface TrainingReport {
  /** Paths of the texts. */
  readonly texts: readonly string[];
  readonly out: string;
  readonly recipe: string;
  readonly parameters: number;
  /** Training loss of every step, in nats. */
  readonly losses: readonly number[];
  /** Loss on held-out text, each with the number of steps before it. */
  readonly validation: readonly (readonly [steps: number, loss: number])[];
  /** Tokens a second. */
  readonly speeds: readonly (readonly [steps: number, rate: number])[];
  /** What rounding has done since the previous entry, by operand of a layer: see {@link byLayer}. */
  readonly ranges: readonly (readonly [steps: number, counts: RangesByLayer])[];
}

/** Counts of each row of the heat map, by "layer operand". */
export type RangesByLayer = { readonly [row: string]: RangeCounts };

/**
 * Counts of linear layers, such as `0.mlp.up_proj`, put together by the layer of the model
 * that they belong to: "0 x", "0 w", "0 dy".
 */
export function byLayer(ranges: ReadonlyMap<string, Record<OperandName, RangeCounts>>): RangesByLayer {
  const found: { [row: string]: RangeCounts } = {};
  for (const [name, operands] of ranges) {
    for (const [operand, counts] of Object.entries(operands)) {
      const row = `${name.split(".")[0]} ${operand}`;
      const sums = found[row] ?? { amax: 0, count: 0, flushed: 0, saturated: 0 };
      found[row] = {
        amax: Math.max(sums.amax, counts.amax),
        count: sums.count + counts.count,
        flushed: sums.flushed + counts.flushed,
        saturated: sums.saturated + counts.saturated,
      };
    }
  }
  return found;
}
