import { matchesOf } from "../checkpoint/dialects/rules.ts";
import { type Summary, summarize } from "../checkpoint/measure/summary.ts";
import type { OpenedCheckpoint } from "../checkpoint/plan/folder.ts";
import type { Plan } from "../checkpoint/plan/plan.ts";
import { warningsOf } from "../checkpoint/plan/warnings.ts";
import type { ConversionSettings } from "../jobs/conversion.ts";
import * as figures from "./figures.ts";
import { print, printJson } from "./print.ts";
import { matchLines, otherFilesLines, planTable, summaryTable, warningLines } from "./tables.ts";

/** The result of a command: a record for machines, and lines for people. */
export interface CommandResult {
  readonly record: { readonly [key: string]: unknown };
  lines(): string;
}

/** Prints the record as JSON, or the lines for people. */
export function printResult(
  flags: { readonly json?: true },
  { record, lines }: CommandResult,
): Promise<void> {
  return flags.json === true ? printJson(record) : print(lines());
}

/** A conversion that is planned. */
export interface Planned {
  readonly from: string;
  readonly to: string;
  readonly task: ConversionSettings;
  readonly opened: OpenedCheckpoint;
  /** Files that `--files` did not choose, where it can be given. */
  readonly notChosen?: readonly string[];
  readonly plan: Plan;
}

export interface Converted extends Planned {
  readonly summary: Summary;
  /** Start of the run, by `performance.now()`. */
  readonly started: number;
}

/** The result of a conversion. */
export function resultOfSummary(converted: Converted): CommandResult {
  const { to, opened, notChosen = [], plan, summary, started } = converted;
  const warnings = warningsFor(converted);
  const record = recordOf(converted);
  return {
    record: { ...record, ...summary, warnings },
    lines: () =>
      [
        summaryTable(summary),
        ...matchLines(record.patterns),
        ...warningLines(warnings),
        ...otherFilesLines({ ...opened, notChosen }),
        "",
        lastLine(to, plan, started),
      ].join("\n"),
  };
}

/** The result of a dry run: the plan. */
export function resultOfPlan(planned: Planned): CommandResult {
  const { opened, notChosen = [], plan } = planned;
  const warnings = warningsFor(planned);
  const files = plan.files.map(({ name, size }) => ({ name, bytes: size }));
  const record = recordOf(planned);
  return {
    record: { ...record, dryRun: true, warnings, files, ...summarize(plan, new Map()) },
    lines: () =>
      [
        planTable(plan),
        ...matchLines(record.patterns),
        ...warningLines(warnings),
        ...otherFilesLines({ ...opened, notChosen }),
      ].join("\n"),
  };
}

/** The result of a conversion whose output was there already. */
export function resultOfExisting(planned: Planned): CommandResult {
  const { to, opened, notChosen = [], plan } = planned;
  const warnings = warningsFor(planned);
  return {
    record: { ...recordOf(planned), alreadyDone: true, warnings, ...summarize(plan, new Map()) },
    lines: () =>
      [
        ...warningLines(warnings),
        ...otherFilesLines({ ...opened, notChosen }),
        `Already done: ${figures.text(to)} holds this output. Checked: sizes, headers, and the first rows of each weight. --overwrite makes it anew.`,
      ].join("\n"),
  };
}

function recordOf({ from, to, task: { direction, options }, opened, notChosen = [], plan }: Planned) {
  const patterns = matchesOf(options, plan.tensors);
  const leftOut = [...opened.leftOut, ...notChosen];
  return { input: from, output: to, ...direction, patterns, leftOut, unread: opened.unread };
}

function warningsFor({ task: { direction }, plan }: Planned): string[] {
  return direction.kind === "quantize" ? warningsOf(plan, direction.to) : [];
}

/** What was written: how large, and how fast. */
function lastLine(to: string, { files }: Plan, started: number): string {
  const size = files.reduce((sum, file) => sum + file.size, 0);
  const seconds = Math.max(0.001, (performance.now() - started) / 1000);
  return `Wrote ${figures.text(to)}: ${figures.bytes(size)} in ${seconds.toFixed(1)} s, ${figures.bytes(size / seconds)}/s.`;
}
