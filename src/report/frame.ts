import { policy, script, style } from "#report-assets";
import type { ChartTable } from "./charts.ts";
import { html, json } from "./text.ts";
import type { Words } from "./words.ts";

/** By its first bytes, a file is known to be a report, which may be replaced by another. */
export const FIRST_BYTES = "<!doctype html>\n<!-- A report of blockscale -->\n";

/** What a page holds. */
interface Frame {
  /** What was done, in words. */
  readonly kind: string;
  /** What it was done with: input and output, say. */
  readonly names: readonly string[];
  readonly words: Pick<Words, "locale">;
  /** What the script draws. */
  readonly charts: object;
  /** Parts in HTML, one after the other. */
  readonly body: readonly string[];
}

/** A whole page: style, script and data are in it, and its policy lets it fetch nothing. */
export function frame({ kind, names, words, charts, body }: Frame): string {
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
${body.join("\n")}
</main>
<script type="application/json" id="charts">${json(charts)}</script>
<script>${script}</script>
</body>
</html>
`;
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

/** A chart, which the script draws, with what it says as a table. */
export function figure(
  { id, title, notes, table, keys = [] }: Figure,
  words: Pick<Words, "numbers">,
): string {
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
