import { countOf } from "../checkpoint/read/weights.ts";
import { decibelsOf } from "./charts.ts";
import { type Entry, section } from "./html-page.ts";
import { type NumberFormats, shapeOf } from "./numbers.ts";
import type { Report, ReportedTensor } from "./report.ts";
import { html } from "./text.ts";
import type { ReportWords } from "./words.ts";

/** The list at the top of a report. Values are HTML. */
export function summaryOf(report: Report, words: ReportWords, numbers: NumberFormats): Entry[] {
  return [...sizeEntries(report, words, numbers), ...lossEntries(report, words, numbers)];
}

function sizeEntries({ kind, format, tensors }: Report, words: ReportWords, numbers: NumberFormats): Entry[] {
  const sum = (side: "before" | "after") => tensors.reduce((n, tensor) => n + (tensor[side]?.bytes ?? 0), 0);
  const sizes = kind === "inspect" ? [sum("before")] : [sum("before"), sum("after")];
  const parameters = tensors.reduce((n, { shape }) => n + countOf(shape), 0);
  const touched = tensors.filter(({ precision }) => precision !== null).length;
  const all = numbers.whole(tensors.length);
  return [
    ...(format === null ? [] : [[words.form, html(format)] as const]),
    [words.size, sizes.map(numbers.bytes).join(" → ")],
    ...(kind === "inspect"
      ? ([
          [words.tensors, all],
          [words.parameters, numbers.whole(parameters)],
        ] as const)
      : [
          [
            kind === "compare" ? words.compared : words.converted,
            words.of(numbers.whole(touched), all),
          ] as const,
        ]),
  ];
}

function lossEntries({ tensors, total }: Report, words: ReportWords, numbers: NumberFormats): Entry[] {
  const measured = tensors.filter(({ precision }) => precision !== null);
  if (measured.length === 0) return [];
  const count = (field: "saturated" | "flushedToZero" | "nonFinite") =>
    measured.reduce((n, { precision }) => n + precision![field], 0);
  const exact = measured.filter((tensor) => decibelsOf(tensor) === Infinity).length;
  const worst = measured.reduce((a, b) => ((decibelsOf(b) ?? -1e9) < (decibelsOf(a) ?? -1e9) ? b : a));
  const notFinite = count("nonFinite");
  return [
    ...(total === null
      ? []
      : [[words.sqnr, sqnr({ ...worst, precision: total }, words, numbers), total.nonFinite > 0] as const]),
    ...(exact === measured.length
      ? []
      : [[words.lowest, `${sqnr(worst, words, numbers)} <small>${html(worst.name)}</small>`] as const]),
    [words.exactTensors, words.of(numbers.whole(exact), numbers.whole(measured.length))],
    [words.saturated, numbers.whole(count("saturated"))],
    [words.flushed, numbers.whole(count("flushedToZero"))],
    ...(notFinite > 0 ? [[words.notFinite, numbers.whole(notFinite), true] as const] : []),
  ];
}

function sqnr(tensor: ReportedTensor, words: ReportWords, numbers: NumberFormats): string {
  const db = decibelsOf(tensor);
  return db === null ? words.notFinite : db === Infinity ? words.exact : `${numbers.decibels(db)} dB`;
}

/** Bytes by dtype, scales counted with their codes. */
export function tableOfTypes({ kind, tensors }: Report, words: ReportWords, numbers: NumberFormats): string {
  const sides = kind === "inspect" ? (["before"] as const) : (["before", "after"] as const);
  const bytes = sides.map((side) => {
    const found = new Map<string, number>();
    for (const tensor of tensors) {
      const stored = tensor[side];
      if (stored !== null && stored.dtype !== null) {
        found.set(stored.dtype, (found.get(stored.dtype) ?? 0) + stored.bytes);
      }
    }
    return found;
  });
  const totals = bytes.map((found) => [...found.values()].reduce((a, b) => a + b, 0));
  const most = Math.max(1, ...totals);
  const dtypes = [...new Set(bytes.flatMap((found) => [...found.keys()]))];
  const rows = dtypes.map((dtype) => {
    const cells = bytes.map((found) => {
      const n = found.get(dtype) ?? 0;
      return `<td data-value="${n}">${n === 0 ? "" : numbers.bytes(n)}</td><td class="bar">${bar(n / most)}</td>`;
    });
    return `<tr><th scope="row">${dtype}</th>${cells.join("")}</tr>`;
  });
  const heads = sides.length === 1 ? [words.bytes] : [words.before, words.after];
  return `<section id="types"><h2>${words.byDtype}</h2>
<table class="small"><thead><tr><th scope="col">${words.dtype}</th>${heads
    .map((head) => `<th scope="col" colspan="2">${head}</th>`)
    .join("")}</tr></thead><tbody>${rows.join("")}</tbody></table></section>`;
}

/** A bar as SVG: it needs no script, and no style attribute, which the page's policy forbids. */
function bar(share: number): string {
  return `<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect width="${(100 * share).toFixed(2)}" height="10"/></svg>`;
}

/** Most rows of a table: a page with more is slow. */
const MOST_ROWS = 4000;

interface Column {
  readonly head: string;
  /** HTML; empty where the tensor has no such figure. */
  cell(tensor: ReportedTensor): string;
  /** Key for sorting, where that is a number. */
  value?(tensor: ReportedTensor): number;
}

/** Every tensor, or the worst where there are too many. */
export function tableOfTensors(report: Report, words: ReportWords, numbers: NumberFormats): string {
  const { tensors } = report;
  const columns = columnsOf(report, words, numbers);
  const shown = tensors.length <= MOST_ROWS ? tensors : worstOf(tensors);
  const heads = [words.tensor, ...columns.map(({ head }) => head)];
  const rows = shown.map((tensor) => {
    const cells = columns.map(({ cell, value }) => {
      const key = value === undefined ? "" : ` data-value="${value(tensor)}"`;
      return `<td${key}>${cell(tensor)}</td>`;
    });
    return `<tr><th scope="row">${html(tensor.name)}</th>${cells.join("")}</tr>`;
  });
  const note =
    shown.length < tensors.length
      ? words.listed(numbers.whole(shown.length), numbers.whole(tensors.length))
      : "";
  const sorting = `${note}<span class="sorting" hidden> ${words.sort}</span>`;
  return section("tensors", words.tensors, sorting, "sortable", heads, rows);
}

function worstOf(tensors: readonly ReportedTensor[]): ReportedTensor[] {
  const order = tensors.map((tensor, i) => ({ tensor, i, db: decibelsOf(tensor) ?? -Infinity }));
  return order
    .sort((a, b) => (a.db === b.db ? a.i - b.i : a.db < b.db ? -1 : 1))
    .slice(0, MOST_ROWS)
    .sort((a, b) => a.i - b.i)
    .map(({ tensor }) => tensor);
}

function columnsOf({ kind, tensors }: Report, words: ReportWords, numbers: NumberFormats): Column[] {
  const size: Column[] = [
    {
      head: words.shape,
      cell: ({ shape }) => shapeOf(shape),
      value: ({ shape }) => countOf(shape),
    },
    { head: words.dtype, cell: (tensor) => dtypes(tensor, words) },
    {
      head: words.size,
      cell: ({ before, after }) => change(before?.bytes, after?.bytes, numbers),
      value: ({ before, after }) => after?.bytes ?? before?.bytes ?? 0,
    },
  ];
  const note: Column = { head: words.note, cell: (tensor) => html(tensor.note ?? "") };
  return kind === "inspect"
    ? [...size, note]
    : [...size, ...lossColumns(kind, words, numbers, tensors), note];
}

function lossColumns(
  kind: Report["kind"],
  words: ReportWords,
  numbers: NumberFormats,
  tensors: readonly ReportedTensor[],
): Column[] {
  type Precision = NonNullable<ReportedTensor["precision"]>;
  const column = (head: string, value: (p: Precision) => number, cell: (n: number) => string): Column => ({
    head,
    cell: ({ precision }) => (precision === null ? "" : cell(value(precision))),
    value: ({ precision }) => (precision === null ? -1 : value(precision)),
  });
  const hasNotFinite = tensors.some(({ precision }) => precision !== null && precision.nonFinite > 0);
  return [
    {
      head: words.sqnr,
      cell: (tensor) => (tensor.precision === null ? "" : sqnr(tensor, words, numbers)),
      value: (tensor) => decibelsOf(tensor) ?? -1e9,
    },
    column(words.maxError, (p) => p.maxErrorOfAmax, numbers.percent),
    column(words.maxRelative, (p) => p.maxRelativeError, numbers.percent),
    ...(kind === "compare"
      ? [
          column(
            words.cosine,
            (p) => p.cosine ?? 0,
            (n) => n.toFixed(6),
          ),
          {
            head: words.worstBlock,
            cell: ({ worstBlock }: ReportedTensor) => block(worstBlock, words, numbers),
          },
        ]
      : []),
    column(words.saturated, (p) => p.saturated, numbers.whole),
    column(words.flushed, (p) => p.flushedToZero, numbers.whole),
    ...(hasNotFinite ? [column(words.notFinite, (p) => p.nonFinite, numbers.whole)] : []),
  ];
}

function block(worst: ReportedTensor["worstBlock"], words: ReportWords, numbers: NumberFormats): string {
  if (worst === null) return "";
  const { row, col, noiseToSignal } = worst;
  const loss =
    noiseToSignal < Infinity ? `${numbers.decibels(-10 * Math.log10(noiseToSignal))} dB` : words.notFinite;
  return `[${row}, ${col}]: ${loss}`;
}

function dtypes({ before, after }: ReportedTensor, words: ReportWords): string {
  const from = before?.dtype ?? "–";
  const to = after === null ? from : (after.dtype ?? words.dropped);
  return from === to ? from : `${from} → ${to}`;
}

function change(before: number | undefined, after: number | undefined, { bytes }: NumberFormats): string {
  if (before === undefined || after === undefined || before === after) return bytes(before ?? after ?? 0);
  return `${bytes(before)} → ${bytes(after)}`;
}

/** The table of files, with checksums where they are known. */
export function tableOfFiles({ files }: Report, words: ReportWords, numbers: NumberFormats): string {
  if (files.length === 0) return "";
  const hasChecksums = files.some(({ checksum }) => checksum !== null);
  const rows = files.map(
    ({ name, bytes, checksum }) =>
      `<tr><th scope="row">${html(name)}</th><td>${numbers.whole(bytes)}</td>${
        hasChecksums ? `<td><code>${html(checksum ?? "")}</code></td>` : ""
      }</tr>`,
  );
  return `<section id="files"><h2>${words.files}</h2><div class="scroll" tabindex="0"><table class="small"><thead><tr><th scope="col">${words.file}</th><th scope="col">${words.bytes}</th>${
    hasChecksums ? `<th scope="col">${words.checksum}</th>` : ""
  }</tr></thead><tbody>${rows.join("\n")}</tbody></table></div></section>`;
}
