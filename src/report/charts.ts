import type { ErrorHistogram } from "../checkpoint/measure/sample.ts";
import { errorHistogram, FIRST_BINADE } from "../checkpoint/measure/sample.ts";
import type { ScaleCounts, Survey } from "../checkpoint/measure/survey.ts";
import { layersOf } from "./layers.ts";
import { power } from "./numbers.ts";
import type { Report, ReportedTensor } from "./report.ts";
import { plain } from "./text.ts";
import type { ReportWords } from "./words.ts";

/** Data of all charts of a report, which the page holds as JSON. */
export interface Charts {
  readonly locale: string;
  readonly layers: readonly string[];
  readonly points: Points | null;
  readonly exponents: Exponents | null;
  readonly values: ValueCounts | null;
  readonly errors: ErrorHistogram | null;
}

/** SQNR of the tensors that lost something, in the order of their layers. */
export interface Points {
  readonly names: readonly string[];
  /** Index of the layer. */
  readonly layers: readonly number[];
  /** `null` where values were or became NaN or Inf. */
  readonly decibels: readonly (number | null)[];
  /** Tensors that lost something and are not drawn, since there are too many: the best ones. */
  readonly hidden: number;
  /** Tensors that lost nothing, which have no point. */
  readonly exact: number;
}

/** How many scales have each exponent: index i is for the exponent `first + i`. */
export interface Exponents {
  readonly first: number;
  readonly counts: readonly number[];
  /** Scale exponents of each layer; empty where a layer has no scales. */
  readonly byLayer: readonly (readonly number[])[];
}

/** How many values lie in each power of two: index i is for 2^(first + i). */
export interface ValueCounts {
  readonly first: number;
  readonly before: readonly number[];
  /** `null` where rounding is not shown, as of a dequantisation. */
  readonly after: readonly number[] | null;
}

/** Most points of a chart: a page with more is slow. */
const MOST_POINTS = 50_000;

/** Gathers what the charts of a report show. */
export function chartsOf(report: Report, words: ReportWords): Charts {
  const measured = report.tensors.filter(({ precision }) => precision !== null);
  const scaled = report.scales?.weights ?? [];
  const names = [...measured, ...scaled].map(({ name }) => name);
  const layers = layersOf(names, words.outside);
  return {
    locale: words.locale,
    layers: layers.labels.map(plain),
    points: pointsOf(measured, layers.of),
    exponents: exponentsOf(scaled, layers.of.slice(measured.length), layers.labels.length),
    values: report.survey === null ? null : valuesOf(report.survey),
    errors: report.survey?.hasAfter ? errorHistogram(report.survey) : null,
  };
}

/** Decibels of a tensor; Infinity where nothing was lost, `null` where values were or became NaN or Inf. */
export function decibelsOf({ precision }: ReportedTensor): number | null {
  if (precision === null) return Infinity;
  if (precision.nonFinite > 0) return null;
  return precision.sqnrDb ?? Infinity;
}

function pointsOf(tensors: readonly ReportedTensor[], layers: readonly number[]): Points | null {
  const all = tensors.map((tensor, i) => ({
    name: tensor.name,
    layer: layers[i]!,
    db: decibelsOf(tensor),
  }));
  const lossy = all.filter(({ db }) => db !== Infinity);
  if (all.length === 0) return null;
  const worst = [...lossy].sort((a, b) => (a.db ?? -Infinity) - (b.db ?? -Infinity)).slice(0, MOST_POINTS);
  // `filter` keeps the order of the file, and sorting is stable: within a layer, tensors are in that order.
  const kept = new Set(worst);
  const shown = lossy.filter((point) => kept.has(point)).sort((a, b) => a.layer - b.layer);
  return {
    names: shown.map(({ name }) => plain(name)),
    layers: shown.map(({ layer }) => layer),
    decibels: shown.map(({ db }) => (db === null ? null : Math.round(db * 100) / 100)),
    hidden: lossy.length - shown.length,
    exact: all.length - lossy.length,
  };
}

function exponentsOf(
  weights: readonly ScaleCounts[],
  layers: readonly number[],
  n: number,
): Exponents | null {
  if (weights.length === 0) return null;
  const bounds = weights.map(
    ({ minExponent, counts }) => [minExponent, minExponent + counts.length] as const,
  );
  const first = bounds.reduce((least, [from]) => Math.min(least, from), Infinity);
  const end = bounds.reduce((most, [, to]) => Math.max(most, to), -Infinity);
  const all = new Array<number>(end - first).fill(0);
  const byLayer = Array.from({ length: n }, (): number[] => []);
  for (const [i, { minExponent, counts }] of weights.entries()) {
    const layer = byLayer[layers[i]!]!;
    if (layer.length === 0) layer.push(...all.map(() => 0));
    for (const [j, count] of counts.entries()) {
      all[minExponent - first + j]! += count;
      layer[minExponent - first + j]! += count;
    }
  }
  return { first, counts: all, byLayer };
}

function valuesOf({ before, after, values, hasAfter }: Survey): ValueCounts {
  // Each smaller power of two holds about half as many values: counts too small to be seen are not drawn.
  const least = Math.max(1, values / 100_000);
  const used = before.flatMap((n, i) => (n >= least || after[i]! >= least ? [i] : []));
  const [first, last] = [used[0] ?? 0, used.at(-1) ?? 0];
  return {
    first: FIRST_BINADE + first,
    before: before.slice(first, last + 1),
    after: hasAfter ? after.slice(first, last + 1) : null,
  };
}

/** The numbers of a chart as a table. */
export interface ChartTable {
  readonly heads: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Most rows of a table of layers. */
const MOST_LAYERS = 2000;

/** The table of the charts by layer: lowest and median SQNR, tensors, and range of scale exponents. */
export function layerTable(
  { layers, points, exponents }: Charts,
  words: ReportWords,
  decibels: (db: number) => string,
): ChartTable {
  const found = layers.map((): (number | null)[] => []);
  points?.decibels.forEach((db, i) => {
    found[points.layers[i]!]!.push(db);
  });
  const shown = (db: number | null | undefined) =>
    db === undefined ? "" : db === null ? words.notFinite : decibels(db);
  const rows = layers.slice(0, MOST_LAYERS).map((label, i) => {
    const sorted = found[i]!.sort((a, b) => (a ?? -Infinity) - (b ?? -Infinity));
    const range = rangeOf(exponents, i);
    return [label, shown(sorted[0]), shown(sorted[sorted.length >> 1]), `${sorted.length}`, range];
  });
  return { heads: [words.layer, words.lowest, words.median, words.tensors, words.exponents], rows };
}

function rangeOf(exponents: Exponents | null, layer: number): string {
  const counts = exponents?.byLayer[layer] ?? [];
  const used = counts.flatMap((n, i) => (n > 0 ? [i + exponents!.first] : []));
  return used.length === 0 ? "" : `${power(used[0]!)} … ${power(used.at(-1)!)}`;
}
