import type { Summary } from "../../checkpoint/summary.ts";
import { bytes, decibels, percent, shapeOf, sqnrText, whole } from "../strings/format.ts";
import { language, words } from "../strings/index.ts";
import type { Written } from "../workers/protocol.ts";

const ESCAPES: { readonly [c: string]: string } = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function text(value: string): string {
  return value.replace(/[&<>"]/g, (c) => ESCAPES[c]!);
}

/** A report as one page that opens offline, without scripts. */
export function htmlReport(title: string, { tensors, total }: Summary, written: readonly Written[]): string {
  const { table, precision, done } = words.value;
  const rows = tensors.map(
    ({ name, shape, before, after, precision: figures }) => `<tr>
<th scope="row">${text(name)}</th><td>${shapeOf(shape)}</td><td>${before.dtype ?? ""}${
      after.dtype === before.dtype ? "" : ` → ${after.dtype ?? table.dropped}`
    }</td><td>${bytes(after.bytes)}</td>${
      figures === null
        ? "<td></td><td></td><td></td><td></td>"
        : `<td>${sqnrText(figures.sqnrDb, figures.nonFinite)}</td><td>${percent(figures.maxErrorOfAmax)}</td><td>${whole(
            figures.saturated,
          )}</td><td>${whole(figures.flushedToZero)}</td>`
    }</tr>`,
  );
  const heads = [
    table.name,
    table.shape,
    table.type,
    table.size,
    table.sqnr,
    precision.maxError,
    precision.saturated,
    precision.flushed,
  ];
  return `<!doctype html>
<html lang="${language.value === "zh" ? "zh-Hans" : language.value}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${text(title)} – blockscale</title>
<style>${STYLE}</style>
<h1>${text(title)}</h1>
<p>${bytes(total.bytesBefore)} → ${bytes(total.bytesAfter)} · ${whole(total.converted)} / ${whole(total.tensors)}${
    total.precision === null
      ? ""
      : ` · ${done.total}: ${sqnrText(total.precision.sqnrDb, total.precision.nonFinite)}`
  }</p>
${picture(tensors)}
<table><thead><tr>${heads.map((head) => `<th scope="col">${text(head)}</th>`).join("")}</tr></thead>
<tbody>${rows.join("\n")}</tbody></table>
<ul>${written
    .map(
      ({ name, size, checksum }) =>
        `<li>${text(name)} · ${whole(size)} B · ${done.checksum} <code>${checksum}</code></li>`,
    )
    .join("")}</ul>
</html>
`;
}

/** SQNR of each tensor as a point. */
function picture(tensors: Summary["tensors"]): string {
  const points = tensors.flatMap(({ name, precision }) =>
    precision === null || precision.sqnrDb === null || precision.sqnrDb === -Infinity
      ? []
      : [{ name, db: precision.sqnrDb }],
  );
  if (points.length === 0) return "";
  const [least, most] = [
    Math.floor(Math.min(...points.map(({ db }) => db)) - 1),
    Math.ceil(Math.max(...points.map(({ db }) => db)) + 1),
  ];
  const y = (db: number) => 150 - (140 * (db - least)) / (most - least);
  const dots = points.map(
    ({ name, db }, i) =>
      `<circle cx="${(40 + (850 * (i + 0.5)) / points.length).toFixed(1)}" cy="${y(db).toFixed(1)}" r="3"><title>${text(
        name,
      )}: ${decibels(db)}</title></circle>`,
  );
  const lines = [least, (least + most) / 2, most].map(
    (db) =>
      `<line x1="40" x2="890" y1="${y(db)}" y2="${y(db)}"/><text x="34" y="${y(db) + 4}">${db.toFixed(0)}</text>`,
  );
  return `<h2>${text(words.value.precision.perTensor)} (dB)</h2>
<svg viewBox="0 0 900 160" role="img" aria-label="${text(words.value.precision.perTensor)}">${lines.join("")}${dots.join("")}</svg>`;
}

const STYLE = `:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:3rem auto;padding:0 1.5rem}
h1{font-size:1.6rem;overflow-wrap:anywhere}h2{font-size:1rem;margin-top:2rem}table{border-collapse:collapse;width:100%;margin-top:2rem;font-size:13px}
th,td{text-align:right;padding:.4rem .6rem;border-bottom:1px solid #8883;font-weight:400}th:first-child{text-align:left;overflow-wrap:anywhere}
thead th{font-weight:600}svg{width:100%}circle{fill:#0b6e55}line{stroke:#8884}text{font-size:11px;text-anchor:end;fill:#888}code{font-size:12px}`;
