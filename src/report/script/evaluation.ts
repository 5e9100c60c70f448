import uPlot from "uplot";
import type { EvaluationCharts } from "../evaluation/charts.ts";
import { figuresOf } from "../figures.ts";
import { heat } from "./heat.ts";
import { axis, type ChartFrame, layerAxis, plot, WHOLE } from "./plots.ts";

/** KL divergence by position in the chunk. */
export function drawPositions(charts: EvaluationCharts, place: ChartFrame): uPlot {
  const { first, mean, median } = charts.positions!;
  return lines(place, first, [median, mean]);
}

/** Loss of both models by position in the chunk; of one, where there is no other. */
export function drawLosses(charts: EvaluationCharts, place: ChartFrame): uPlot {
  const { first, lossBase, loss, mean } = charts.positions!;
  return lines(place, first, mean.some((kld) => kld > 0) ? [lossBase, loss] : [loss]);
}

/** Series over the same xs, the last one in the accent colour; `null` where a series has no value. */
export function lines(
  place: ChartFrame,
  xs: readonly number[],
  series: readonly (readonly (number | null)[])[],
): uPlot {
  const { colours } = place;
  const looks = [colours.muted, colours.accent].slice(-series.length);
  return plot(place, [[...xs], ...series.map((values) => [...values])], {
    axes: [axis(place, { grid: { show: false }, size: 30, incrs: WHOLE }), axis(place, { size: 56 })],
    series: looks.map((stroke) => ({
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

/** Noise of outputs by format and part, and by layer: one cell each, the stronger the noisier. */
export function drawHeat(charts: EvaluationCharts, place: ChartFrame): uPlot {
  const { layers, rows, decibels, chosen } = charts.heat!;
  const figures = figuresOf(charts.locale);
  const known = decibels.flat().filter((db) => db !== null);
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const labels = rows.map(({ format, part }) => `${format} ${part}`);
  const marked = new Set(chosen.map(([row, layer]) => `${row} ${layer}`));
  return heat(place, {
    rows: labels,
    columns: layers.length,
    axis: layerAxis(place, layers),
    strength: (row, layer) => {
      const db = decibels[row]![layer];
      return db == null ? null : most === least ? 0.625 : (most - db) / (most - least);
    },
    isMarked: (row, layer) => marked.has(`${row} ${layer}`),
    tell: (row, layer) => {
      const db = decibels[row]![layer];
      return db == null ? "" : `${layers[layer]}, ${labels[row]}: ${figures.decibels(db)} dB`;
    },
  });
}

type CurvePoint = NonNullable<EvaluationCharts["curve"]>["uniform"][number];

/** Writes the names of points beside them. */
function names(named: readonly CurvePoint[], colours: ChartFrame["colours"]): (u: uPlot) => void {
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
      // Left of its point, where it would run into the next.
      const isClose =
        next !== undefined && u.valToPos(next.bits, "x", true) - x < ctx.measureText(name).width;
      ctx.textAlign = isClose ? "right" : "left";
      ctx.fillText(name, x + (isClose ? -gap : gap), u.valToPos(kld, "y", true) - gap);
    }
    ctx.restore();
  };
}

/** Draws one standard error up and down from each point. */
function errorBars(points: readonly CurvePoint[], colours: ChartFrame["colours"]): (u: uPlot) => void {
  return (u) => {
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = colours.muted;
    ctx.lineWidth = uPlot.pxRatio;
    for (const { bits, kld, error } of points) {
      const x = u.valToPos(bits, "x", true);
      // A logarithm has no place for what reaches 0: the bar ends at a tenth.
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
export function drawCurve(charts: EvaluationCharts, place: ChartFrame): uPlot {
  const { uniform, mixes } = charts.curve!;
  const { colours } = place;
  const points = [...uniform, ...mixes].sort((a, b) => a.bits - b.bits);
  const xs = points.map(({ bits }) => bits);
  const of = (wanted: readonly object[]) =>
    points.map((point) => (wanted.includes(point) ? point.kld : null));
  const named = [...uniform, ...mixes.filter(({ name }) => name === "chosen")].sort(
    (a, b) => a.bits - b.bits,
  );
  return plot(place, [xs, of(mixes), of(uniform)], {
    axes: [
      axis(place, { grid: { show: false }, size: 30 }),
      axis(place, {
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
    hooks: { draw: [errorBars(points, colours), names(named, colours)] },
    isPointed: true,
    tell: (i) => {
      const { name, bits, kld, error } = points[i]!;
      return `${name}, ${bits}: ${kld} ± ${error}`;
    },
  });
}
