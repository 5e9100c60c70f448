import { policy, script, style } from "#report-assets";
import { ERROR_BINS } from "../checkpoint/sample.ts";
import { type Charts, type ChartTable, chartsOf, layerTable } from "./charts.ts";
import { type Figures, figuresOf, power } from "./figures.ts";
import type { Report } from "./report.ts";
import { summaryList, tableOfFiles, tableOfTensors, tableOfTypes } from "./tables.ts";
import { html, json } from "./text.ts";
import { languages, type Words } from "./words.ts";

/** By its first bytes, a file is known to be a report, which may be replaced by another. */
export const FIRST_BYTES = "<!doctype html>\n<!-- A report of blockscale -->\n";

/**
 * One page that opens offline, with nothing to fetch: figures, charts and tables. Its charts are drawn by a script,
 * which the page holds; what a script draws is in tables as well.
 * @param words of a language; English if left out
 */
export function reportPage(report: Report, words: Words = languages.en): string {
  const figures = figuresOf(words.locale);
  const charts = chartsOf(report, words);
  const names = [report.input, ...(report.output === null ? [] : [report.output])].map(html);
  return `${FIRST_BYTES}<html lang="${words.locale}">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${words.kinds[report.kind]}: ${names.join(" → ")} – blockscale</title>
<link rel="icon" href="data:,">
<style>${style}</style>
<body>
<main>
<header>
<p class="kind">blockscale · ${words.kinds[report.kind]}</p>
<h1>${names.map((name) => `<span>${name}</span>`).join(" <i>→</i> ")}</h1>
</header>
${summaryList(report, words, figures)}
<p class="note undrawn">${words.undrawn}</p>
${figuresIn(report, charts, words, figures).join("\n")}
${tableOfTypes(report, words, figures)}
${tableOfTensors(report, words, figures)}
${tableOfFiles(report, words, figures)}
</main>
<script type="application/json" id="charts">${json(charts)}</script>
<script>${script}</script>
</body>
</html>
`;
}

/** The charts there are data for, each with its numbers as a table. */
function figuresIn(report: Report, charts: Charts, words: Words, figures: Figures): string[] {
  const { points, exponents, values, errors, layers } = charts;
  const found: string[] = [];
  if (points !== null && points.names.length > 0) {
    found.push(
      figure("sqnr", words.sqnrByLayer, sqnrNotes(charts, words, figures), words, [
        layerTable(charts, words, figures.decibels),
      ]),
    );
  }
  if (exponents !== null && report.scales !== null) {
    const { of, isAll } = report.scales;
    const all = figures.whole(exponents.counts.reduce((a, b) => a + b, 0));
    const which = report.kind === "inspect" ? words.scales : words.scalesOf[of];
    const notes = [`${which}: ${(isAll ? words.allScales : words.someScales)(all)}.`];
    const rows = exponents.counts.map((n, i) => [power(exponents.first + i), figures.whole(n)]);
    found.push(
      figure("exponents", words.exponents, notes, words, [{ heads: [words.powerOfTwo, words.count], rows }]),
    );
    if (layers.length > 1) {
      found.push(
        figure("layers", words.exponentsByLayer, [words.exponentsByLayerNote], words, [
          layerTable(charts, words, figures.decibels),
        ]),
      );
    }
  }
  const looked = lookedAt(report, words, figures);
  if (errors !== null) {
    const rows = errors.counts.map((n, i) => [
      figures.percent(((2 * i + 1) / ERROR_BINS - 1) * errors.range),
      figures.whole(n),
    ]);
    found.push(
      figure("errors", words.errors, [words.errorsNote, ...looked], words, [
        { heads: [words.error, words.count], rows },
      ]),
    );
  }
  if (values !== null) {
    const { first, before, after } = values;
    const heads = after === null ? [words.count] : [words.before, words.after];
    const rows = before.map((n, i) => [
      power(first + i),
      figures.whole(n),
      ...(after === null ? [] : [figures.whole(after[i]!)]),
    ]);
    found.push(
      figure(
        "values",
        words.values,
        [words.valuesNote, ...looked],
        words,
        [{ heads: [words.powerOfTwo, ...heads], rows }],
        after === null ? [] : heads,
      ),
    );
  }
  return found;
}

function sqnrNotes({ points }: Charts, words: Words, { whole }: Figures): string[] {
  const { names, decibels, hidden, exact } = points!;
  return [
    words.sqnrNote,
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

function figure(
  id: string,
  title: string,
  notes: readonly string[],
  words: Words,
  tables: readonly ChartTable[],
  keys: readonly string[] = [],
): string {
  const legend = keys.map((key, i) => `<i class="key-${i}"></i>${key}`).join(" ");
  return `<figure id="${id}">
<figcaption><h2>${title}</h2><p class="note">${notes.join(" ")}</p>${legend && `<p class="keys">${legend}</p>`}</figcaption>
<div class="plot" role="img" aria-label="${title}"></div>
<p class="readout" aria-hidden="true"></p>
<details><summary>${words.numbers}</summary>${tables.map(chartTable).join("")}</details>
</figure>`;
}

function chartTable({ heads, rows }: ChartTable): string {
  const [head, ...others] = heads.map((head) => `<th scope="col">${head}</th>`);
  return `<div class="scroll" tabindex="0"><table class="small"><thead><tr>${head}${others.join("")}</tr></thead><tbody>${rows
    .map(
      ([first, ...cells]) =>
        `<tr><th scope="row">${html(first!)}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`,
    )
    .join("\n")}</tbody></table></div>`;
}
