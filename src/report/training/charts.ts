import type { RangeCounts } from "../../train/counts.ts";
import type { TrainingReport } from "./report.ts";

/** Data of the charts of a run, which the page holds as JSON. */
export interface TrainingCharts {
  readonly locale: string;
  readonly loss: {
    readonly steps: readonly number[];
    /** Mean over the steps since the previous point. */
    readonly training: readonly number[];
    /** `null` where it was not measured. */
    readonly heldOut: readonly (number | null)[];
  };
  /** Tokens a second, and the number of steps after which each was taken. */
  readonly speed: { readonly steps: readonly number[]; readonly rates: readonly number[] };
  /** `null` where nothing was rounded. */
  readonly ranges: RangeGrid | null;
}

/** What rounding did: a row for each operand of a layer, a column for each step. */
export interface RangeGrid {
  readonly steps: readonly number[];
  readonly rows: readonly string[];
  /** Shares of values. */
  readonly flushed: readonly (readonly (number | null)[])[];
  readonly saturated: readonly (readonly (number | null)[])[];
  /** Powers of two; `null` for 0. */
  readonly amax: readonly (readonly (number | null)[])[];
}

/** Most points of a line: a page with more is slow. */
const MOST_POINTS = 500;

export function trainingCharts({ losses, validation, speeds, ranges }: TrainingReport): TrainingCharts {
  const every = Math.max(1, Math.ceil(losses.length / MOST_POINTS));
  const heldOut = new Map(validation);
  const ends = new Set(heldOut.keys());
  for (let step = every; step < losses.length; step += every) ends.add(step);
  ends.add(losses.length);
  const steps = [...ends].sort((a, b) => a - b).filter((step) => step > 0);
  const means = steps.map((end, i) => mean(losses.slice(steps[i - 1] ?? 0, end)));
  return {
    locale: "en",
    loss: { steps, training: means, heldOut: steps.map((step) => heldOut.get(step) ?? null) },
    speed: { steps: speeds.map(([step]) => step), rates: speeds.map(([, rate]) => Math.round(rate)) },
    ranges: rangesOf(ranges),
  };
}

function rangesOf(ranges: TrainingReport["ranges"]): RangeGrid | null {
  const rows = [...new Set(ranges.flatMap(([, found]) => Object.keys(found)))];
  if (rows.length === 0) return null;
  const grid = (of: (counts: RangeCounts) => number | null) =>
    rows.map((row) => ranges.map(([, found]) => (found[row] === undefined ? null : of(found[row]))));
  return {
    steps: ranges.map(([step]) => step),
    rows,
    flushed: grid(({ flushed, count }) => flushed / count),
    saturated: grid(({ saturated, count }) => saturated / count),
    amax: grid(({ amax }) => (amax > 0 ? Math.log2(amax) : null)),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
