import type uPlot from "uplot";
import type { RangeGrid, TrainingCharts } from "../training/charts.ts";
import { lines } from "./evaluation.ts";
import { heat } from "./heat.ts";
import { type ChartTarget, layerAxis } from "./plots.ts";

/** Loss by steps: of batches, and of held-out text. */
export function drawTraining(
  { loss: { steps, training, heldOut } }: TrainingCharts,
  target: ChartTarget,
): uPlot {
  return lines(target, steps, [training, heldOut]);
}

export function drawSpeed({ speed: { steps, rates } }: TrainingCharts, target: ChartTarget): uPlot {
  return lines(target, steps, [rates]);
}

const percent = (share: number) => `${Number((100 * share).toPrecision(3))} %`;

export function drawFlushed({ ranges }: TrainingCharts, target: ChartTarget): uPlot {
  return overTime(ranges!, ranges!.flushed, percent, target);
}

export function drawSaturated({ ranges }: TrainingCharts, target: ChartTarget): uPlot {
  return overTime(ranges!, ranges!.saturated, percent, target);
}

export function drawAmax({ ranges }: TrainingCharts, target: ChartTarget): uPlot {
  return overTime(ranges!, ranges!.amax, (log) => `2^${log.toFixed(1)}`, target);
}

/** What rounding did to operands of layers, by steps. */
function overTime(
  { steps, rows }: RangeGrid,
  values: readonly (readonly (number | null)[])[],
  shown: (value: number) => string,
  target: ChartTarget,
): uPlot {
  const known = values.flat().filter((value) => value !== null);
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const labels = steps.map((step) => `${step}`);
  return heat(target, {
    rows,
    columns: steps.length,
    axis: layerAxis(target, labels),
    strength: (row, i) => {
      const value = values[row]![i];
      return value == null ? null : most === least ? 0 : (value - least) / (most - least);
    },
    isMarked: () => false,
    tell: (row, i) => {
      const value = values[row]![i];
      return value == null ? "" : `${labels[i]}, ${rows[row]}: ${shown(value)}`;
    },
  });
}
