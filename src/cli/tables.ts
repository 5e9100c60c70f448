import { markdownTable } from "markdown-table";
import type { Matched } from "../checkpoint/dialects/rules.ts";
import type { ComparedTensor } from "../checkpoint/measure/compare.ts";
import type { Inspection } from "../checkpoint/measure/inspect.ts";
import type { PrecisionSummary, Summary, TensorSummary } from "../checkpoint/measure/summary.ts";
import type { WorstBlock } from "../checkpoint/measure/worst-block.ts";
import type { OpenedCheckpoint } from "../checkpoint/plan/folder.ts";
import type { Plan, PlannedTensor } from "../checkpoint/plan/plan.ts";
import * as figures from "./figures.ts";

/** The report of a conversion: a row per tensor, a total, and what was kept for which reason. */
export function summaryTable({ tensors, total }: Summary): string {
  const head = [
    "tensor",
    "shape",
    "dtype",
    "bytes",
    "SQNR dB",
    "max rel. error",
    "max error / amax",
    "saturated",
    "to zero",
  ];
  const rows = tensors.map(({ name, shape, before, after, precision }) => [
    figures.cell(name),
    figures.shape(shape),
    before.dtype === after.dtype ? `${before.dtype}` : `${before.dtype} -> ${after.dtype ?? "dropped"}`,
    change(before.bytes, after.bytes),
    ...precisionCells(precision),
  ]);
  const sum = [
    `total: ${figures.count(total.converted)} of ${figures.count(total.tensors)} converted`,
    "",
    "",
    change(total.bytesBefore, total.bytesAfter),
    ...precisionCells(total.precision),
  ];
  const table = markdownTable([head, ...rows, sum], { align: ["l", "l", "l", "r", "r", "r", "r", "r", "r"] });
  return [
    table,
    ...sampleLines(total),
    ...notFiniteLines(total.precision),
    ...keptLines(tensors),
    ...scaleLines(tensors),
  ].join("\n");
}

/** Lines that name each weight whose missing scale was taken as 1, since that may be wrong. */
function scaleLines(tensors: readonly PlannedTensor[]): string[] {
  const names = tensors
    .filter(({ scaleTakenAsOne }) => scaleTakenAsOne)
    .map(({ name }) => `- ${figures.text(name)}`);
  return names.length === 0 ? [] : ["", "No scale was found, and 1 was taken, for:", ...names];
}

/** How many tensors each pattern fits. */
export function matchLines(matched: readonly Matched[]): string[] {
  return matched.map(
    ({ option, pattern, tensors }) =>
      `--${option} ${figures.text(pattern)}: ${figures.count(tensors)} of the tensors`,
  );
}

/** Lines of warnings, for people. */
export function warningLines(warnings: readonly string[]): string[] {
  return warnings.map((warning) => `Warning: ${figures.text(warning)}`);
}

/** The line that says that a sample was measured, where it was. */
function sampleLines({ precision, values }: Summary["total"]): string[] {
  if (precision === null || precision.values >= values) return [];
  return [
    "",
    `A sample: figures are of ${figures.count(precision.values)} of ${figures.values(values)}, in rows spread evenly. --measure all takes every one.`,
  ];
}

/** Lines that explain figures in place of decibels. */
function notFiniteLines(precision: PrecisionSummary | null): string[] {
  const n = precision?.nonFinite ?? 0;
  if (n === 0) return [];
  return ["", `Not finite: ${figures.values(n)} became NaN or Inf, and are counted in no other figure.`];
}

function change(before: number, after: number): string {
  return before === after ? figures.bytes(before) : `${figures.bytes(before)} -> ${figures.bytes(after)}`;
}

function precisionCells(precision: PrecisionSummary | null): string[] {
  if (precision === null) return ["", "", "", "", ""];
  return [
    figures.decibels(precision),
    figures.percent(precision.maxRelativeError),
    figures.percent(precision.maxErrorOfAmax),
    figures.count(precision.saturated),
    figures.count(precision.flushedToZero),
  ];
}

/** Lines that count the tensors that stayed as they are, by reason. */
function keptLines(tensors: readonly TensorSummary[]): string[] {
  const counts = new Map<string, number>();
  for (const { reason, action } of tensors) {
    const line = action === "drop" ? `dropped: ${reason}` : reason;
    if (line !== null) counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  if (counts.size === 0) return [];
  return ["", "Not converted:", ...[...counts].map(([reason, n]) => `- ${figures.count(n)}: ${reason}`)];
}

/** Files of a checkpoint that are not converted. */
interface OtherFiles extends Pick<OpenedCheckpoint, "leftOut" | "unread"> {
  /** Files that `--files` did not choose. */
  readonly notChosen: readonly string[];
}

/** Lines about files that a conversion does not convert, and what happened to them. */
export function otherFilesLines(
  { leftOut, unread, notChosen }: OtherFiles,
  what = "Copied as they are",
): string[] {
  const list = (names: readonly string[]): string => names.map((name) => figures.text(name)).join(", ");
  return [
    ...(leftOut.length > 0
      ? [`Left out, a second copy of the model in another layout: ${list(leftOut)}`]
      : []),
    ...(notChosen.length > 0 ? [`Left out, not chosen by --files: ${list(notChosen)}`] : []),
    ...(unread.length > 0 ? [`${what}, no part of the model: ${list(unread)}`] : []),
  ];
}

/** What a conversion would do, and the exact size of every file it would write. */
export function planTable({ tensors, files }: Plan): string {
  const head = ["tensor", "shape", "action", "dtype", "bytes"];
  const rows = tensors.map(({ name, shape, action, reason, before, after }) => [
    figures.cell(name),
    figures.shape(shape),
    reason === null ? action : `${action}: ${reason}`,
    before.dtype === after.dtype ? `${before.dtype}` : `${before.dtype} -> ${after.dtype ?? "dropped"}`,
    change(before.bytes, after.bytes),
  ]);
  return [
    markdownTable([head, ...rows], { align: ["l", "l", "l", "l", "r"] }),
    ...scaleLines(tensors),
    "",
    "Nothing was written. Files to be written:",
    ...files.map(({ name, size }) => `- ${figures.text(name)}: ${figures.count(size)} bytes`),
    `Together ${figures.count(files.reduce((sum, { size }) => sum + size, 0))} bytes; ${tensors.filter(({ action }) => action !== "copy" && action !== "drop").length} of ${tensors.length} tensors would be converted.`,
  ].join("\n");
}

/** Warnings that are printed; `--json` has all. */
const WARNINGS = 20;

/** The table of `inspect`: tensors by format, scales, sizes and oddities. */
export function inspectionTable({
  files,
  dialect,
  tensors,
  warnings,
  bytesByDtype,
  metadata,
}: Inspection): string {
  const head = ["tensor", "shape", "dtype", "bytes", "block", "scales", "scale exponents"];
  const rows = tensors.map(({ name, shape, dtype, bytes, scaled }) => [
    figures.cell(name),
    figures.shape(shape),
    dtype,
    figures.bytes(bytes),
    scaled === null ? "" : scaled.block.join("x"),
    scaled === null ? "" : (scaled.scaleDtype ?? "none"),
    scaled?.facts == null || scaled.facts.count === 0
      ? ""
      : `${scaled.facts.minExponent} to ${scaled.facts.maxExponent}${scaled.facts.nonPowersOfTwo > 0 ? ", not powers of two" : ""}`,
  ]);
  const total = files.reduce((n, { bytes }) => n + bytes, 0);
  return [
    markdownTable([head, ...rows], { align: ["l", "l", "l", "r", "l", "l", "l"] }),
    "",
    `Files:     ${figures.count(files.length)}, ${figures.bytes(total)}`,
    `Tensors:   ${figures.count(tensors.length)}`,
    `Dialect:   ${dialect}`,
    ...Object.entries(bytesByDtype).map(([dtype, n]) => `${`${dtype}:`.padEnd(10)} ${figures.bytes(n)}`),
    ...Object.entries(metadata).map(
      ([key, value]) => `Metadata:  ${figures.text(key)} = ${figures.text(value)}`,
    ),
    ...warnings.slice(0, WARNINGS).map((warning) => `Warning:   ${figures.text(warning)}`),
    ...(warnings.length > WARNINGS ? [`Warning:   ${warnings.length - WARNINGS} more`] : []),
  ].join("\n");
}

/** The table of `compare`: a row for each tensor. */
export function comparisonTable(tensors: readonly ComparedTensor[]): string {
  const head = [
    "tensor",
    "shape",
    "SQNR dB",
    "cosine",
    "max error",
    "max rel. error",
    "saturated",
    "to zero",
    "worst block",
  ];
  const rows = tensors.map(({ name, shape, status, precision, worstBlock }) => {
    const cells =
      precision === null
        ? [status, "", "", "", "", "", ""]
        : [
            figures.decibels(precision),
            precision.cosine.toFixed(6),
            precision.maxAbsoluteError.toPrecision(3),
            figures.percent(precision.maxRelativeError),
            figures.count(precision.saturated),
            figures.count(precision.flushedToZero),
            worstBlock === null ? "" : `[${worstBlock.row}, ${worstBlock.col}]${noiseIn(worstBlock)}`,
          ];
    return [figures.cell(name), figures.shape(shape), ...cells];
  });
  return markdownTable([head, ...rows], { align: ["l", "l", "r", "r", "r", "r", "r", "r", "l"] });
}

/** SQNR of one block; "" where zeros became other values, or where values are not finite. */
function noiseIn({ noiseToSignal }: WorstBlock): string {
  return noiseToSignal === Infinity ? "" : `: ${(-10 * Math.log10(noiseToSignal)).toFixed(2)} dB`;
}
