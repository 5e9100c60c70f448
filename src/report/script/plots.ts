import uPlot from "uplot";
import type { Charts } from "../charts.ts";
import { numberFormats, power } from "../numbers.ts";

/** Where a chart is drawn, how wide, and in which colours. */
export interface ChartTarget {
  readonly element: HTMLElement;
  /** Shows the text about the point under the pointer. */
  readonly readout: HTMLElement;
  readonly width: number;
  readonly colours: Colours;
}

type Name = "text" | "line" | "accent" | "faint" | "muted" | "bad" | "page";

export type Colours = Readonly<Record<Name, string>>;

/** The colours of the style sheet, as a canvas needs them. */
export function coloursOf(element: Element): Colours {
  const style = getComputedStyle(element);
  const names: readonly Name[] = ["text", "line", "accent", "faint", "muted", "bad", "page"];
  return Object.fromEntries(
    names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]),
  ) as unknown as Colours;
}

const FONT = "12px system-ui, sans-serif";
const HEIGHT = 240;
/** Steps between the numbers of an axis that counts. */
export const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

export function axis({ colours }: ChartTarget, more: uPlot.Axis): uPlot.Axis {
  const grid = { stroke: colours.line, width: 1, ...more.grid };
  return { stroke: colours.text, font: FONT, ticks: { show: false }, gap: 6, ...more, grid };
}

/** An axis of layers, which are numbered from 0 and called by their labels. */
export function layerAxis(target: ChartTarget, layers: readonly string[]): uPlot.Axis {
  const long = layers.reduce((most, label) => Math.max(most, label.length), 0);
  return axis(target, {
    grid: { show: false },
    size: 30,
    incrs: WHOLE,
    space: Math.min(160, 24 + 7 * long),
    values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? (layers[tick] ?? "") : "")),
  });
}

interface Drawing {
  readonly axes: readonly [uPlot.Axis, uPlot.Axis];
  readonly series: readonly uPlot.Series[];
  readonly scales: uPlot.Scales;
  readonly hooks?: uPlot.Hooks.Arrays;
  readonly isPointed?: boolean;
  readonly height?: number;
  /** Text about the point under the pointer. */
  tell(index: number, u: uPlot): string;
}

export function plot(target: ChartTarget, data: uPlot.AlignedData, drawing: Drawing): uPlot {
  const { element, readout, width } = target;
  const { axes, series, scales, hooks, isPointed = false, height = HEIGHT, tell } = drawing;
  const showReadout = (u: uPlot) => {
    readout.textContent = u.cursor.idx == null ? "" : tell(u.cursor.idx, u);
  };
  const options: uPlot.Options = {
    width,
    height,
    legend: { show: false },
    cursor: { x: true, y: false, drag: { x: false, y: false }, points: { show: isPointed } },
    axes: [...axes],
    series: [{}, ...series],
    scales,
    hooks: { ...hooks, setCursor: [showReadout] },
  };
  return new uPlot(options, data, element);
}

const fromZero: uPlot.Scale = { range: (_, __, most) => [0, Math.max(1, most * 1.05)] };

/** SQNR of every tensor that lost something, by layer, and a line through the lowest. */
export function drawSqnr(charts: Charts, target: ChartTarget): uPlot {
  const { names, layers, decibels } = charts.points!;
  const { colours } = target;
  const numbers = numberFormats(charts.locale);
  const known = decibels.filter((db) => db !== null);
  const least = known.reduce((a, b) => Math.min(a, b), Infinity);
  const most = known.reduce((a, b) => Math.max(a, b), -Infinity);
  const floor = known.length === 0 ? 0 : Math.floor(least - 1);
  const worst = lowestOf(layers, decibels);
  const data: uPlot.AlignedData = [
    spreadOut(layers),
    [...decibels],
    decibels.map((db, i) => (worst.has(i) ? db : null)),
    decibels.map((db) => (db === null ? floor : null)),
  ];
  const dots = (colour: string, size: number): uPlot.Series => ({
    stroke: colour,
    width: 0,
    points: { show: true, size, width: 0, fill: colour },
  });
  return plot(target, data, {
    axes: [
      layerAxis(target, charts.layers),
      axis(target, { size: 48, values: (_, ticks) => ticks.map((t) => `${t}`) }),
    ],
    series: [
      dots(decibels.length > 2000 ? colours.faint : colours.accent, decibels.length > 2000 ? 3 : 5),
      { stroke: colours.accent, width: 1.5, spanGaps: true, points: { show: false } },
      dots(colours.bad, 8),
    ],
    scales: {
      x: { time: false, range: [-0.6, charts.layers.length - 0.4] },
      y: { range: [floor, known.length === 0 ? 1 : Math.ceil(most + 1)] },
    },
    isPointed: true,
    tell: (i) =>
      `${names[i]}: ${decibels[i] === null ? "NaN / Inf" : `${numbers.decibels(decibels[i]!)} dB`}`,
  });
}

/** Points of one layer side by side, around its number. Layers are in order. */
function spreadOut(layers: readonly number[]): number[] {
  const sizes = new Map<number, number>();
  for (const layer of layers) sizes.set(layer, (sizes.get(layer) ?? 0) + 1);
  const seen = new Map<number, number>();
  return layers.map((layer) => {
    const i = seen.get(layer) ?? 0;
    seen.set(layer, i + 1);
    return layer + ((i + 0.5) / sizes.get(layer)! - 0.5) * 0.7;
  });
}

function lowestOf(layers: readonly number[], decibels: readonly (number | null)[]): Set<number> {
  const lowest = new Map<number, number>();
  layers.forEach((layer, i) => {
    const best = lowest.get(layer);
    if (decibels[i] !== null && (best === undefined || decibels[i]! < decibels[best]!)) lowest.set(layer, i);
  });
  return new Set(lowest.values());
}

/** One or two series of counts as bars over `xs`; `label` names an x in the readout. */
function bars(
  charts: Charts,
  target: ChartTarget,
  xs: readonly number[],
  counts: readonly (readonly number[])[],
  label: (x: number) => string,
  xAxis: uPlot.Axis,
): uPlot {
  const { colours } = target;
  const numbers = numberFormats(charts.locale);
  const short = new Intl.NumberFormat(charts.locale, { notation: "compact", maximumFractionDigits: 1 });
  const step = xs.length < 2 ? 1 : xs[1]! - xs[0]!;
  const before = { stroke: colours.muted, fill: colours.muted, width: 0, size: 0.9 };
  const after = {
    stroke: colours.accent,
    fill: colours.accent,
    width: 0,
    size: counts.length > 1 ? 0.5 : 0.85,
  };
  const styles = counts.length > 1 ? [before, after] : [after];
  return plot(target, [[...xs], ...counts.map((series) => [...series])], {
    axes: [
      axis(target, { grid: { show: false }, size: 30, ...xAxis }),
      axis(target, { size: 56, values: (_, ticks) => ticks.map((tick) => short.format(tick)) }),
    ],
    series: styles.map(({ size, ...style }) => ({
      ...style,
      points: { show: false },
      paths: uPlot.paths.bars!({ size: [size, 60] }),
    })),
    scales: {
      x: { time: false, range: (_, least, most) => [least - 0.7 * step, most + 0.7 * step] },
      y: fromZero,
    },
    tell: (i) => `${label(xs[i]!)}: ${counts.map((series) => numbers.whole(series[i]!)).join(" → ")}`,
  });
}

const powers: uPlot.Axis = {
  incrs: WHOLE,
  values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? power(tick) : "")),
};

/** All scales by power of two. */
export function drawExponents(charts: Charts, target: ChartTarget): uPlot {
  const { first, counts } = charts.exponents!;
  const xs = counts.map((_, i) => first + i);
  return bars(charts, target, xs, [counts], power, powers);
}

/** Values by power of two, before and after. */
export function drawValues(charts: Charts, target: ChartTarget): uPlot {
  const { first, before, after } = charts.values!;
  const xs = before.map((_, i) => first + i);
  return bars(charts, target, xs, after === null ? [before] : [before, after], power, powers);
}

/** Relative errors. */
export function drawErrors(charts: Charts, target: ChartTarget): uPlot {
  const { range, counts } = charts.errors!;
  const xs = counts.map((_, i) => ((2 * i + 1) / counts.length - 1) * range);
  const percent = numberFormats(charts.locale).percent;
  return bars(charts, target, xs, [counts], percent, {
    space: 64,
    values: (_, ticks) => ticks.map((tick) => percent(Number(tick.toPrecision(6)))),
  });
}

/** Scales by power of two and layer: the stronger the colour of a cell, the more scales. */
export function drawLayers(charts: Charts, target: ChartTarget): uPlot {
  const { first, byLayer, counts } = charts.exponents!;
  const { colours } = target;
  const xs = byLayer.map((_, i) => i);
  const cells = (u: uPlot) => {
    const { ctx } = u;
    const x = (layer: number) => u.valToPos(layer, "x", true);
    const y = (exponent: number) => u.valToPos(exponent, "y", true);
    ctx.save();
    ctx.fillStyle = colours.accent;
    for (const [layer, layerCounts] of byLayer.entries()) {
      const most = layerCounts.reduce((a, b) => Math.max(a, b), 0);
      const [left, right] = [Math.round(x(layer - 0.5)), Math.round(x(layer + 0.5))];
      const gap = right - left > 6 ? 1 : 0;
      for (const [i, count] of layerCounts.entries()) {
        if (count === 0) continue;
        const [top, bottom] = [Math.round(y(first + i + 0.5)), Math.round(y(first + i - 0.5))];
        // The square root keeps small counts visible.
        ctx.globalAlpha = 0.08 + 0.92 * Math.sqrt(count / most);
        ctx.fillRect(left, top, Math.max(1, right - left - gap), Math.max(1, bottom - top - gap));
      }
    }
    ctx.restore();
  };
  const used = (layer: number) => byLayer[layer]!.flatMap((n, i) => (n > 0 ? [first + i] : []));
  return plot(target, [xs, xs.map((layer) => used(layer)[0] ?? null)], {
    axes: [layerAxis(target, charts.layers), axis(target, { size: 48, grid: { show: false }, ...powers })],
    series: [{ stroke: "transparent", width: 0, points: { show: false } }],
    scales: {
      x: { time: false, range: [-0.6, byLayer.length - 0.4] },
      y: { range: [first - 0.6, first + counts.length - 0.4] },
    },
    hooks: { draw: [cells] },
    tell: (layer) => {
      const exponents = used(layer);
      const range = exponents.length === 0 ? "–" : `${power(exponents[0]!)} … ${power(exponents.at(-1)!)}`;
      return `${charts.layers[layer]}: ${range}`;
    },
  });
}
