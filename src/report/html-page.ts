import { policy, script, style } from "#report-assets";
import type { ChartTable } from "./charts.ts";
import { html, json } from "./text.ts";
import type { ReportWords } from "./words.ts";

/** The first bytes of a report. A file that begins with them may be replaced by another report. */
export const FIRST_BYTES = "<!doctype html>\n<!-- A report of blockscale -->\n";

/** Words that every report needs. */
export type PageWords = Pick<ReportWords, "locale" | "numbers" | "undrawn">;

/** An entry of the list at the top of a report. The value is HTML. */
export type Entry = readonly [label: string, value: string, isBad?: boolean];

/** The parts of a report's page. */
interface HtmlPage {
  /** The kind of report in words, such as "Quantisation". */
  readonly kind: string;
  /** What the report is about: input and output, for example. */
  readonly names: readonly string[];
  readonly words: PageWords;
  /** Data of the charts, which the script draws. */
  readonly charts: object;
  readonly summary: readonly Entry[];
  /** HTML of the sections after the summary. */
  readonly body: readonly string[];
}

/** A whole page with style, script and data inside. Its policy lets it fetch nothing. */
export function htmlPage({ kind, names, words, charts, summary, body }: HtmlPage): string {
  const titles = names.map(html);
  return `${FIRST_BYTES}<html lang="${words.locale}">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${kind}: ${titles.join(" → ")} – blockscale</title>
<link rel="icon" href="data:,">
<style>${style}</style>
<body>
<main>
<header>
<p class="kind">blockscale · ${kind}</p>
<h1>${titles.map((name) => `<span>${name}</span>`).join(" <i>→</i> ")}</h1>
</header>
${entryList(summary)}
<p class="note undrawn">${words.undrawn}</p>
${body.join("\n")}
</main>
<script type="application/json" id="charts">${json(charts)}</script>
<script>${script}</script>
</body>
</html>
`;
}

function entryList(entries: readonly Entry[]): string {
  return `<dl>${entries
    .map(
      ([label, value, isBad]) =>
        `<div${isBad ? ' class="bad"' : ""}><dt>${label}</dt><dd>${value}</dd></div>`,
    )
    .join("")}</dl>`;
}

/** A chart with its numbers as a table. */
export interface Figure {
  readonly id: string;
  readonly title: string;
  readonly notes: readonly string[];
  readonly table: ChartTable;
  /** What the colours mean, where there are two. */
  readonly keys?: readonly string[];
}

/** HTML of a chart: the script draws it, and a table below holds its numbers. */
export function figure({ id, title, notes, table, keys = [] }: Figure, words: PageWords): string {
  const legend = keys.map((key, i) => `<i class="key-${i}"></i>${key}`).join(" ");
  return `<figure id="${id}">
<figcaption><h2>${title}</h2><p class="note">${notes.join(" ")}</p>${legend && `<p class="keys">${legend}</p>`}</figcaption>
<div class="plot" role="img" aria-label="${title}"></div>
<p class="readout" aria-hidden="true"></p>
<details><summary>${words.numbers}</summary>${chartTable(table)}</details>
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

/**
 * HTML of a section with a table. Note, heads and rows are HTML. A click on a heading of a
 * "sortable" table sorts by its column.
 */
export function section(
  id: string,
  title: string,
  note: string,
  kind: "small" | "sortable" | "",
  heads: readonly string[],
  rows: readonly string[],
): string {
  const columns = heads.map((head) => `<th scope="col">${head}</th>`).join("");
  return `<section id="${id}"><h2>${title}</h2>${note && `<p class="note">${note}</p>`}
<div class="scroll" tabindex="0" role="region" aria-label="${title}"><table class="${kind}"><thead><tr>${columns}</tr></thead>
<tbody>${rows.join("\n")}</tbody></table></div></section>`;
}
