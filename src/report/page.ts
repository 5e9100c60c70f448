import { ERROR_BINS } from "../checkpoint/measure/sample.ts";
import { type Charts, chartsOf, layerTable } from "./charts.ts";
import { type Figure, figure, htmlPage } from "./html-page.ts";
import { type NumberFormats, numberFormats, power } from "./numbers.ts";
import type { Report } from "./report.ts";
import { summaryOf, tableOfFiles, tableOfTensors, tableOfTypes } from "./tables.ts";
import { languages, type ReportWords } from "./words.ts";

/**
 * One page that opens offline, with nothing to fetch: figures, charts and tables. Its charts are drawn by a
 * script, which the page holds; what a script draws is in tables as well.
 * @param words of a language; English if left out
 */
export function reportPage(report: Report, words: ReportWords = languages.en): string {
  const numbers = numberFormats(words.locale);
  const charts = chartsOf(report, words);
  const names = [report.input, ...(report.output === null ? [] : [report.output])];
  return htmlPage({
    kind: words.kinds[report.kind],
    names,
    words,
    charts,
    summary: summaryOf(report, words, numbers),
    body: [
      ...figuresIn(report, charts, words, numbers),
      tableOfTypes(report, words, numbers),
      tableOfTensors(report, words, numbers),
      tableOfFiles(report, words, numbers),
    ],
  });
}

/** The charts that the report has data for. */
function figuresIn(report: Report, charts: Charts, words: ReportWords, numbers: NumberFormats): string[] {
  const parts = [report, charts, words, numbers] as const;
  const found = [sqnrFigure(...parts), ...scaleFigures(...parts), ...valueFigures(...parts)];
  return found.flatMap((one) => (one === null ? [] : [figure(one, words)]));
}

function sqnrFigure(
  report: Report,
  charts: Charts,
  words: ReportWords,
  numbers: NumberFormats,
): Figure | null {
  if (charts.points === null || charts.points.names.length === 0) return null;
  const table = layerTable(charts, words, numbers.decibels);
  return { id: "sqnr", title: words.sqnrByLayer, notes: sqnrNotes(report, charts, words, numbers), table };
}

function scaleFigures(report: Report, charts: Charts, words: ReportWords, numbers: NumberFormats): Figure[] {
  const { exponents, layers } = charts;
  if (exponents === null || report.scales === null) return [];
  const { of, isAll } = report.scales;
  const all = numbers.whole(exponents.counts.reduce((a, b) => a + b, 0));
  const which = report.kind === "inspect" ? words.scales : words.scalesOf[of];
  const rows = exponents.counts.map((n, i) => [power(exponents.first + i), numbers.whole(n)]);
  const allLayers: Figure = {
    id: "exponents",
    title: words.exponents,
    notes: [`${which}: ${(isAll ? words.allScales : words.someScales)(all)}.`],
    table: { heads: [words.powerOfTwo, words.count], rows },
  };
  const byLayer: Figure = {
    id: "layers",
    title: words.exponentsByLayer,
    notes: [words.exponentsByLayerNote],
    table: layerTable(charts, words, numbers.decibels),
  };
  return layers.length > 1 ? [allLayers, byLayer] : [allLayers];
}

function valueFigures(report: Report, charts: Charts, words: ReportWords, numbers: NumberFormats): Figure[] {
  const { values, errors } = charts;
  const looked = sampleNotes(report, words, numbers);
  const found: Figure[] = [];
  if (errors !== null) {
    const centre = (i: number) => ((2 * i + 1) / ERROR_BINS - 1) * errors.range;
    const rows = errors.counts.map((n, i) => [numbers.percent(centre(i)), numbers.whole(n)]);
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
      ...series.map((counts) => numbers.whole(counts[i]!)),
    ]);
    const notes = [words.valuesNote, ...looked];
    found.push({ id: "values", title: words.values, notes, table: { heads, rows }, keys });
  }
  return found;
}

function sqnrNotes(
  { total, totalValues }: Report,
  { points }: Charts,
  words: ReportWords,
  { whole }: NumberFormats,
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

function sampleNotes({ survey }: Report, words: ReportWords, { whole }: NumberFormats): string[] {
  if (survey === null) return [];
  const { values, totalValues, weights, totalWeights, notFinite } = survey;
  return [
    words.looked(whole(values), whole(totalValues), whole(weights), whole(totalWeights)),
    ...(notFinite > 0 ? [words.lookedNotFinite(whole(notFinite))] : []),
  ];
}
