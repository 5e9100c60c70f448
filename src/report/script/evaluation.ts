import uPlot from "uplot";
import type { EvaluationCharts } from "../evaluation/charts.ts";
import { numberFormats } from "../numbers.ts";
import { heat } from "./heat.ts";
import { axis, type ChartTarget, layerAxis, plot, WHOLE } from "./plots.ts";

/** KL divergence by position in the chunk. */
export function drawPositions(charts: EvaluationCharts, target: ChartTarget): uPlot {
  const { first, mean, median } = charts.positions!;
  return lines(target, first, [median, mean]);
}

/** Loss of both models by position in the chunk; of one, where there is no other. */
export function drawLosses(charts: EvaluationCharts, target: ChartTarget): uPlot {
  const { first, lossBase, loss, mean } = charts.positions!;
  return lines(target, first, mean.some((kld) => kld > 0) ? [lossBase, loss] : [loss]);
}

/** Series over the same xs, the last one in the accent colour; `null` where a series has no value. */
export function lines(
  target: ChartTarget,
  xs: readonly number[],
  series: readonly (readonly (number | null)[])[],
): uPlot {
  const { colours } = target;
  const strokes = [colours.muted, colours.accent].slice(-series.length);
  return plot(target, [[...xs], ...series.map((values) => [...values])], {
    axes: [
      axis(target, { grid: { show: false }, size: 30, incrs: WHOLE }),
      // Also of less than a thousandth, which uPlot would show as 0.
      axis(target, { size: 56, values: (_, ticks) => ticks.map((tick) => `${Number(tick.toPrecision(6))}`) }),
    ],
    series: strokes.map((stroke) => ({
      stroke,
      width: 1.75,
      spanGaps: true,
      points: { show: xs.length === 1 },
    })),
    scales: { x: { time: false } },
    isPointed: true,
    tell: (i) => `${xs[i]}: ${series.map((values) => values[i]).join(" → ")}`,
  });
}

/**
 * Noise of outputs: a row for each format and part, a column for each layer. Stronger colour is more noise.
 */
export function drawHeat(charts: EvaluationCharts, target: ChartTarget): uPlot {
  const { layers, rows, decibels, chosen } = charts.heat!;
  const numbers = numberFormats(charts.locale);
  const known = decibels.flat().filter((db) => db !== null);
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const labels = rows.map(({ format, part }) => `${format} ${part}`);
  const marked = new Set(chosen.map(([row, layer]) => `${row} ${layer}`));
  return heat(target, {
    rows: labels,
    columns: layers.length,
    axis: layerAxis(target, layers),
    strength: (row, layer) => {
      const db = decibels[row]![layer];
      return db == null ? null : most === least ? 0.625 : (most - db) / (most - least);
    },
    isMarked: (row, layer) => marked.has(`${row} ${layer}`),
    tell: (row, layer) => {
      const db = decibels[row]![layer];
      return db == null ? "" : `${layers[layer]}, ${labels[row]}: ${numbers.decibels(db)} dB`;
    },
  });
}

type CurvePoint = NonNullable<EvaluationCharts["curve"]>["uniform"][number];

/** Writes the names of points beside them. */
function pointNames(named: readonly CurvePoint[], colours: ChartTarget["colours"]): (u: uPlot) => void {
  return (u) => {
    const { ctx } = u;
    const gap = 6 * uPlot.pxRatio;
    ctx.save();
    ctx.fillStyle = colours.text;
    ctx.font = `${12 * uPlot.pxRatio}px system-ui, sans-serif`;
    ctx.textBaseline = "bottom";
    for (const [i, { name, bits, kld }] of named.entries()) {
      const x = u.valToPos(bits, "x", true);
      const next = named[i + 1];
      // A name that would overlap the next one goes to the left of its point.
      const isClose =
        next !== undefined && u.valToPos(next.bits, "x", true) - x < ctx.measureText(name).width;
      ctx.textAlign = isClose ? "right" : "left";
      ctx.fillText(name, x + (isClose ? -gap : gap), u.valToPos(kld, "y", true) - gap);
    }
    ctx.restore();
  };
}

/** Draws one standard error up and down from each point. */
function errorBars(points: readonly CurvePoint[], colours: ChartTarget["colours"]): (u: uPlot) => void {
  return (u) => {
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = colours.muted;
    ctx.lineWidth = uPlot.pxRatio;
    for (const { bits, kld, error } of points) {
      const x = u.valToPos(bits, "x", true);
      // A logarithmic axis has no 0: a bar that would reach it ends at a tenth of the value.
      const [low, high] = [Math.max(kld / 10, kld - error), kld + error];
      ctx.beginPath();
      ctx.moveTo(x, u.valToPos(low, "y", true));
      ctx.lineTo(x, u.valToPos(high, "y", true));
      ctx.stroke();
    }
    ctx.restore();
  };
}

/** Bits a weight against KL divergence: uniform formats by their names, and a line through the mixes. */
export function drawCurve(charts: EvaluationCharts, target: ChartTarget): uPlot {
  const { uniform, mixes } = charts.curve!;
  const { colours } = target;
  const points = [...uniform, ...mixes].sort((a, b) => a.bits - b.bits);
  const xs = points.map(({ bits }) => bits);
  const of = (wanted: readonly object[]) =>
    points.map((point) => (wanted.includes(point) ? point.kld : null));
  const named = [...uniform, ...mixes.filter(({ name }) => name === "chosen")].sort(
    (a, b) => a.bits - b.bits,
  );
  return plot(target, [xs, of(mixes), of(uniform)], {
    axes: [
      axis(target, { grid: { show: false }, size: 30 }),
      axis(target, {
        size: 64,
        // Powers of ten alone.
        filter: (_, ticks) => ticks.map((tick) => (Number.isInteger(Math.log10(tick)) ? tick : null)),
        values: (_, ticks) => ticks.map((tick) => (tick == null ? "" : `${Number(tick.toPrecision(2))}`)),
      }),
    ],
    series: [
      {
        stroke: colours.accent,
        width: 1.5,
        spanGaps: true,
        points: { show: true, size: 6, width: 0, fill: colours.accent },
      },
      {
        stroke: colours.text,
        width: 0,
        points: { show: true, size: 9, width: 2, stroke: colours.text, fill: colours.page },
      },
    ],
    scales: { x: { time: false, range: (_, least, most) => [least - 0.6, most + 0.8] }, y: { distr: 3 } },
    hooks: { draw: [errorBars(points, colours), pointNames(named, colours)] },
    isPointed: true,
    tell: (i) => {
      const { name, bits, kld, error } = points[i]!;
      return `${name}, ${bits}: ${kld} ± ${error}`;
    },
  });
}
