import { type FigureRow, figureRows } from "../../evaluate/figure-rows.ts";
import type { FormatEffect } from "../../evaluate/sensitivity.ts";
import { type Entry, type Figure, figure, htmlPage, section } from "../html-page.ts";
import { type NumberFormats, numberFormats } from "../numbers.ts";
import { html } from "../text.ts";
import { type EvaluationCharts, evaluationCharts, formatsIn } from "./charts.ts";
import { type EvaluationReport, mixCells } from "./report.ts";
import { type EvaluationWords, evaluationLanguages } from "./words.ts";

/**
 * One page that opens offline: what a model lost against its original, where, and which format did it.
 * What its script draws is in tables as well.
 * @param words of a language; English if left out
 */
export function evaluationPage(
  report: EvaluationReport,
  words: EvaluationWords = evaluationLanguages.en,
): string {
  const numbers = numberFormats(words.locale);
  const charts = evaluationCharts(report, words);
  const drawn = figuresIn(report, charts, words, numbers).map((one) => figure(one, words));
  return htmlPage({
    kind: report.sensitivity === null ? words.evaluation : words.sensitivity,
    names: [...(report.reference === null ? [] : [report.reference]), report.model],
    words,
    charts,
    summary: summaryOf(report, words),
    body: [
      ...drawn,
      groupTable(report, words, numbers),
      worstTable(report, words),
      figureTable(report, words),
    ],
  });
}

/** Whether there is an original beside the model. */
function isCompared({ reference, sensitivity }: EvaluationReport): boolean {
  return reference !== null || sensitivity !== null;
}

function summaryOf(report: EvaluationReport, words: EvaluationWords): Entry[] {
  const { evaluation: e, sensitivity } = report;
  const figure = (value: number, error: number, digits: number) =>
    `${value.toFixed(digits)} <small>± ${error.toFixed(digits)}</small>`;
  const entries: Entry[] = [];
  if (e !== null) {
    entries.push([words.perplexity, figure(e.perplexity, e.errors.perplexity, 3)]);
    if (isCompared(report))
      entries.push(
        [words.perplexityBase, figure(e.perplexityBase, e.errors.perplexityBase, 3)],
        [words.kldMean, figure(e.kldMean, e.errors.kldMean, 5)],
        [words.sameTop, `${(100 * e.sameTop).toFixed(2)} %`],
      );
    entries.push([words.tokens, `${e.tokens}`], [words.context, `${e.context}`]);
  }
  if (report.activations !== null) entries.push([words.activations, html(report.activations)]);
  if (report.weights !== null) entries.push([words.weights, html(report.weights)]);
  if (sensitivity !== null) {
    entries.push(
      [words.budget, `${sensitivity.bits}`],
      [words.chosenBits, sensitivity.chosenBits.toFixed(3)],
      [words.measure, words.measures[sensitivity.measure]],
    );
  }
  return entries;
}

/** The charts that the report has data for. */
function figuresIn(
  report: EvaluationReport,
  charts: EvaluationCharts,
  words: EvaluationWords,
  numbers: NumberFormats,
): Figure[] {
  return [
    ...curveFigure(report, charts, words),
    ...heatFigure(charts, words, numbers),
    ...positionFigures(charts, words, isCompared(report)),
  ];
}

function curveFigure(
  { sensitivity }: EvaluationReport,
  { curve }: EvaluationCharts,
  words: EvaluationWords,
): Figure[] {
  if (curve === null || sensitivity === null) return [];
  const rows = sensitivity.points.map(mixCells);
  const { mix, bits, score, perplexity, kldMean, overChosen, sameTop } = words;
  const heads = [mix, bits, score, perplexity, kldMean, overChosen, sameTop];
  const notes = [words.curveNote, ...(curve.exact > 0 ? [words.curveExact] : [])];
  return [{ id: "curve", title: words.curve, notes, table: { heads, rows } }];
}

function heatFigure(
  { heat }: EvaluationCharts,
  words: EvaluationWords,
  { decibels }: NumberFormats,
): Figure[] {
  if (heat === null) return [];
  const rows = heat.rows.map(({ format, part }, i) => [
    `${format} ${part}`,
    ...heat.decibels[i]!.map((db) => (db === null ? "" : decibels(db))),
  ]);
  const heads = [`${words.format}, ${words.part}`, ...heat.layers.map((label) => html(label))];
  return [{ id: "heat", title: words.heat, notes: [words.heatNote], table: { heads, rows } }];
}

function positionFigures(
  { positions }: EvaluationCharts,
  words: EvaluationWords,
  hasOriginal: boolean,
): Figure[] {
  if (positions === null) return [];
  const { first, mean, median, lossBase, loss } = positions;
  const table = (keys: readonly string[], series: readonly (readonly number[])[]) => ({
    heads: [words.position, ...keys],
    rows: first.map((position, i) => [`${position}`, ...series.map((values) => `${values[i]}`)]),
  });
  const keys = [words.median, words.mean];
  const models = [words.original, words.model];
  const divergences: Figure = {
    id: "positions",
    title: words.positions,
    notes: [words.positionsNote],
    table: table(keys, [median, mean]),
    keys,
  };
  const losses: Figure = {
    id: "losses",
    title: words.losses,
    notes: [words.lossesNote],
    table: hasOriginal ? table(models, [lossBase, loss]) : table(models.slice(1), [loss]),
    ...(hasOriginal ? { keys: models } : {}),
  };
  return hasOriginal ? [divergences, losses] : [losses];
}

/** What each format does to each group, as numbers. */
function groupTable(
  { sensitivity }: EvaluationReport,
  words: EvaluationWords,
  numbers: NumberFormats,
): string {
  if (sensitivity === null) return "";
  const { groups, chosen } = sensitivity;
  const formats = formatsIn(groups);
  const cells = (effect: FormatEffect | undefined) =>
    effect === undefined
      ? "<td>–</td><td>–</td>"
      : `<td data-value="${effect.sqnr}">${numbers.decibels(effect.sqnr)} dB</td><td data-value="${effect.score}">${effect.score.toExponential(2)}</td>`;
  const rows = groups.map(({ name, weights, effects }) => {
    const found = formats.map((format) => cells(effects.find((effect) => effect.format === format)));
    return `<tr><th scope="row">${html(name)}</th>${found.join("")}<td>${chosen.get(weights[0]!)}</td></tr>`;
  });
  const heads = [
    words.part,
    ...formats.flatMap((format) => [`${format}: ${words.sqnr}`, `${format}: ${words.score}`]),
    words.chosen,
  ];
  return section("groups", words.groups, "", "sortable", heads, rows);
}

/** The tokens that differ most, marked in their text. */
function worstTable({ worst }: EvaluationReport, words: EvaluationWords): string {
  if (worst.length === 0) return "";
  const rows = worst.map(
    ({ divergence, p, q, before, token, after }) =>
      `<tr><td>${divergence.toFixed(4)}</td><td>${p.toFixed(4)}</td><td>${q.toFixed(4)}</td><td class="said">${visibleText(before)}<mark>${visibleText(token)}</mark>${visibleText(after)}</td></tr>`,
  );
  return section("worst", words.worst, words.worstNote, "", [words.divergence, "p", "q", words.text], rows);
}

/** Untrusted text as HTML, with line ends made visible. */
function visibleText(text: string): string {
  return html(text.replaceAll("\n", "⏎"));
}

function figureTable(report: EvaluationReport, words: EvaluationWords): string {
  const { evaluation } = report;
  if (evaluation === null || !isCompared(report)) return "";
  const shown = (value: number, { isShare }: FigureRow) =>
    isShare ? `${(100 * value).toFixed(3)} %` : value.toFixed(6);
  const rows = figureRows(evaluation).flatMap(({ rows }) =>
    rows.map((row) => {
      const error = row.error === undefined ? "" : shown(row.error, row);
      return `<tr><th scope="row">${html(row.name)}</th><td>${shown(row.value, row)}</td><td>${error}</td></tr>`;
    }),
  );
  return section("figures", words.figures, "", "small", [words.figure, words.value, words.error], rows);
}
