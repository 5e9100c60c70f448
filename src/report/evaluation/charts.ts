import type { ScoredToken } from "../../evaluate/evaluate.ts";
import type { WeightFormat } from "../../evaluate/formats.ts";
import type { SensitiveGroup } from "../../evaluate/sensitivity.ts";
import { layersOf } from "../layers.ts";
import { plain } from "../text.ts";
import type { EvaluationReport, MeasuredMix } from "./report.ts";
import type { EvaluationWords } from "./words.ts";

/** Data of all charts of a report, which the page holds as JSON. */
export interface EvaluationCharts {
  readonly locale: string;
  readonly positions: Positions | null;
  readonly heat: Heat | null;
  readonly curve: Curve | null;
}

/**
 * KL divergences and losses of tokens by their position in the chunk, in nats: mean and median divergence,
 * mean loss of the original and of the model. Neighbouring positions share a bin.
 */
export interface Positions {
  /** The first position of each bin. */
  readonly first: readonly number[];
  readonly mean: readonly number[];
  readonly median: readonly number[];
  readonly lossBase: readonly number[];
  readonly loss: readonly number[];
}

/** Rows are a format and a part of a layer, columns are layers. */
export interface Heat {
  readonly layers: readonly string[];
  readonly rows: readonly { readonly format: string; readonly part: string }[];
  /** Decibels by row and layer; `null` where a layer has no such part. */
  readonly decibels: readonly (readonly (number | null)[])[];
  /** Row and layer of each chosen format. */
  readonly chosen: readonly (readonly [row: number, layer: number])[];
}

export interface Curve {
  readonly uniform: readonly Point[];
  /** Mixes of formats, in the order of their bits. */
  readonly mixes: readonly Point[];
  /** How many mixes lost nothing: a logarithmic axis cannot show them. */
  readonly exact: number;
}

/** A mix: bits a weight, mean KL divergence in nats, and its standard error. */
interface Point {
  readonly name: string;
  readonly bits: number;
  readonly kld: number;
  readonly error: number;
}

/** Most bins of a chart of positions. */
const MOST_BINS = 64;

/** Gathers what the charts show. */
export function evaluationCharts(report: EvaluationReport, words: EvaluationWords): EvaluationCharts {
  const { evaluation, sensitivity } = report;
  return {
    locale: words.locale,
    positions: evaluation === null ? null : positionsOf(evaluation.scores, evaluation.context),
    heat: sensitivity === null ? null : heatOf(sensitivity.groups, sensitivity.chosen, words.outside),
    curve: sensitivity === null ? null : curveOf(sensitivity.points),
  };
}

function positionsOf(scores: readonly ScoredToken[], context: number): Positions {
  const start = context / 2;
  const width = Math.ceil(start / MOST_BINS);
  const bins = Array.from({ length: Math.ceil(start / width) }, (): ScoredToken[] => []);
  for (const score of scores) bins[Math.floor(((score.index % context) - start) / width)]!.push(score);
  const means = (of: (score: ScoredToken) => number) =>
    bins.map((bin) => rounded(bin.reduce((sum, score) => sum + of(score), 0) / bin.length));
  return {
    first: bins.map((_, i) => start + i * width),
    mean: means(({ divergence }) => divergence),
    median: bins.map((bin) => rounded(medianOf(bin.map(({ divergence }) => divergence)))),
    lossBase: means(({ base }) => -base),
    loss: means(({ other }) => -other),
  };
}

function medianOf(values: number[]): number {
  const sorted = values.sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** A number rounded to five digits: a chart shows fewer. */
function rounded(value: number): number {
  return Number(value.toPrecision(5));
}

function heatOf(
  groups: readonly SensitiveGroup[],
  chosen: ReadonlyMap<string, WeightFormat>,
  outside: string,
): Heat {
  const { labels, of } = layersOf(
    groups.map(({ name }) => name),
    outside,
  );
  const parts = groups.map(({ name }) => partOf(name));
  const rows = formatsIn(groups).flatMap((format) => [...new Set(parts)].map((part) => ({ format, part })));
  const decibels = rows.map(() => labels.map((): number | null => null));
  const marked: [number, number][] = [];
  for (const [i, { weights, effects }] of groups.entries()) {
    for (const { format, sqnr } of effects) {
      const row = rows.findIndex((one) => one.format === format && one.part === parts[i]);
      if (row < 0) continue;
      decibels[row]![of[i]!] = Math.round(100 * sqnr) / 100;
      if (chosen.get(weights[0]!) === format) marked.push([row, of[i]!]);
    }
  }
  return {
    layers: labels.map(plain),
    rows: rows.map(({ format, part }) => ({ format, part: plain(part) })),
    decibels,
    chosen: marked,
  };
}

/** The formats of codes that groups were rounded to. */
export function formatsIn(groups: readonly SensitiveGroup[]): WeightFormat[] {
  const all = groups.flatMap(({ effects }) => effects.map(({ format }) => format));
  return [...new Set(all)].filter((format) => format !== "bf16");
}

/** The part of a name that is the same in all layers: "gate, up" of "model.layers.3.mlp.gate, up". */
export function partOf(name: string): string {
  return name.replace(/^.*?\.\d+\./, "").replace(/^(self_attn|attention|mlp)\./, "");
}

function curveOf(points: readonly MeasuredMix[]): Curve {
  const shown = points.filter(({ kldMean }) => kldMean > 0);
  const pointOf = ({ mix, bitsPerWeight, kldMean, kldError }: MeasuredMix): Point => ({
    name: mix,
    bits: rounded(bitsPerWeight),
    kld: rounded(kldMean),
    error: rounded(kldError),
  });
  const isMix = ({ mix }: MeasuredMix) => mix === "mixed" || mix === "chosen";
  return {
    uniform: shown.filter((point) => !isMix(point)).map(pointOf),
    mixes: shown
      .filter(isMix)
      .sort((a, b) => a.bitsPerWeight - b.bitsPerWeight)
      .map(pointOf),
    exact: points.length - shown.length,
  };
}
