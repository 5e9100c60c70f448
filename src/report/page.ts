import { ERROR_BINS } from "../checkpoint/measure/sample.ts";
import { type Charts, chartsOf, layerTable } from "./charts.ts";
import { type Figures, figuresOf, power } from "./figures.ts";
import { type Figure, figure, frame } from "./frame.ts";
import type { Report } from "./report.ts";
import { summaryOf, tableOfFiles, tableOfTensors, tableOfTypes } from "./tables.ts";
import { languages, type Words } from "./words.ts";

/**
 * One page that opens offline, with nothing to fetch: figures, charts and tables. Its charts are drawn by a
 * script, which the page holds; what a script draws is in tables as well.
 * @param words of a language; English if left out
 */
export function reportPage(report: Report, words: Words = languages.en): string {
  const figures = figuresOf(words.locale);
  const charts = chartsOf(report, words);
  const names = [report.input, ...(report.output === null ? [] : [report.output])];
  return frame({
    kind: words.kinds[report.kind],
    names,
    words,
    charts,
    summary: summaryOf(report, words, figures),
    body: [
      ...figuresIn(report, charts, words, figures),
      tableOfTypes(report, words, figures),
      tableOfTensors(report, words, figures),
      tableOfFiles(report, words, figures),
    ],
  });
}

/** The charts there are data for. */
function figuresIn(report: Report, charts: Charts, words: Words, figures: Figures): string[] {
  const parts = [report, charts, words, figures] as const;
  const found = [sqnrFigure(...parts), ...scaleFigures(...parts), ...valueFigures(...parts)];
  return found.flatMap((one) => (one === null ? [] : [figure(one, words)]));
}

function sqnrFigure(report: Report, charts: Charts, words: Words, figures: Figures): Figure | null {
  if (charts.points === null || charts.points.names.length === 0) return null;
  const table = layerTable(charts, words, figures.decibels);
  return { id: "sqnr", title: words.sqnrByLayer, notes: sqnrNotes(report, charts, words, figures), table };
}

function scaleFigures(report: Report, charts: Charts, words: Words, figures: Figures): Figure[] {
  const { exponents, layers } = charts;
  if (exponents === null || report.scales === null) return [];
  const { of, isAll } = report.scales;
  const all = figures.whole(exponents.counts.reduce((a, b) => a + b, 0));
  const which = report.kind === "inspect" ? words.scales : words.scalesOf[of];
  const rows = exponents.counts.map((n, i) => [power(exponents.first + i), figures.whole(n)]);
  const together: Figure = {
    id: "exponents",
    title: words.exponents,
    notes: [`${which}: ${(isAll ? words.allScales : words.someScales)(all)}.`],
    table: { heads: [words.powerOfTwo, words.count], rows },
  };
  const byLayer: Figure = {
    id: "layers",
    title: words.exponentsByLayer,
    notes: [words.exponentsByLayerNote],
    table: layerTable(charts, words, figures.decibels),
  };
  return layers.length > 1 ? [together, byLayer] : [together];
}

function valueFigures(report: Report, charts: Charts, words: Words, figures: Figures): Figure[] {
  const { values, errors } = charts;
  const looked = lookedAt(report, words, figures);
  const found: Figure[] = [];
  if (errors !== null) {
    const centre = (i: number) => ((2 * i + 1) / ERROR_BINS - 1) * errors.range;
    const rows = errors.counts.map((n, i) => [figures.percent(centre(i)), figures.whole(n)]);
    const table = { heads: [words.error, words.count], rows };
    found.push({ id: "errors", title: words.errors, notes: [words.errorsNote, ...looked], table });
  }
  if (values !== null) {
    const { first, before, after } = values;
    const series = after === null ? [before] : [before, after];
    const keys = after === null ? [] : [words.before, words.after];
    const heads = [words.powerOfTwo, ...(after === null ? [words.count] : keys)];
    const rows = before.map((_, i) => [
      power(first + i),
      ...series.map((counts) => figures.whole(counts[i]!)),
    ]);
    const notes = [words.valuesNote, ...looked];
    found.push({ id: "values", title: words.values, notes, table: { heads, rows }, keys });
  }
  return found;
}

function sqnrNotes(
  { total, totalValues }: Report,
  { points }: Charts,
  words: Words,
  { whole }: Figures,
): string[] {
  const { names, decibels, hidden, exact } = points!;
  return [
    words.sqnrNote,
    ...(total !== null && totalValues !== null && total.values < totalValues
      ? [words.sampled(whole(total.values), whole(totalValues))]
      : []),
    ...(hidden > 0 ? [words.sqnrShown(whole(names.length))] : []),
    ...(exact > 0 ? [words.sqnrExact(whole(exact))] : []),
    ...(decibels.includes(null) ? [words.sqnrNotFinite] : []),
  ];
}

function lookedAt({ survey }: Report, words: Words, { whole }: Figures): string[] {
  if (survey === null) return [];
  const { values, totalValues, weights, totalWeights, notFinite } = survey;
  return [
    words.looked(whole(values), whole(totalValues), whole(weights), whole(totalWeights)),
    ...(notFinite > 0 ? [words.lookedNotFinite(whole(notFinite))] : []),
  ];
}
