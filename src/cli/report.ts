import { open, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { ComparedTensor, Side } from "../checkpoint/measure/compare.ts";
import { type Inspection, inspect } from "../checkpoint/measure/inspect.ts";
import { type Summary, summarize } from "../checkpoint/measure/summary.ts";
import { joinSurveys, type ScaleCounts, type Survey, surveyPairs } from "../checkpoint/measure/survey.ts";
import { type Direction, type OpenedCheckpoint, openCheckpoint } from "../checkpoint/plan/folder.ts";
import type { Plan } from "../checkpoint/plan/plan.ts";
import type { Engine } from "../engine/engine.ts";
import type { Precision } from "../engine/precision.ts";
import { systemFault } from "../io/node.ts";
import { isWithin } from "../io/node-folder.ts";
import { removeLeftovers } from "../io/partial-files.ts";
import { createAt } from "../io/place.ts";
import { load } from "../load.ts";
import { FIRST_BYTES } from "../report/html-page.ts";
import {
  comparisonReport,
  conversionReport,
  type Inspected,
  type Report,
  scalesFound,
  scalesOf,
} from "../report/report.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { openInput } from "./input.ts";

/** A file to be written when the work is done. */
export interface ReservedFile {
  write(text: string): Promise<void>;
  /** Removes the file, unless it has been written. */
  discard(): Promise<void>;
}

/**
 * Creates the file of a report before the work begins, so that nobody waits
 * hours to learn that it cannot be written.
 * @param path as given with --report; without one there is no report
 * @param places inputs and outputs of the command: the report must not be one of them, nor lie in one
 * @throws BlockscaleError `io`; `option`: another file is there
 */
export async function reserveReport(
  path: string | undefined,
  places: readonly string[],
): Promise<ReservedFile | null> {
  if (path === undefined) return null;
  for (const place of places) {
    if (await isWithin(place, path))
      throw misplaced(path, "a file apart from what is read and written", place);
  }
  await refuseOther(path);
  await removeLeftovers(dirname(path), (name) => name.startsWith(`.${basename(path)}.`));
  return reserve(path);
}

/**
 * Creates a file before the work begins.
 * @throws BlockscaleError `io`
 */
export async function reserve(path: string): Promise<ReservedFile> {
  const writer = (await createAt(path)).getWriter();
  // `write` reports the error; `closed` must not count as an unhandled rejection as well.
  writer.closed.catch(() => {});
  let isOpen = true;
  return {
    async write(text) {
      isOpen = false;
      await writer.write(new TextEncoder().encode(text)).catch(() => {});
      await writer.close();
    },
    async discard() {
      if (isOpen) await writer.abort().catch(() => {});
      isOpen = false;
    },
  };
}

/** Refuses to replace anything but an earlier report, or an empty file. */
async function refuseOther(path: string): Promise<void> {
  if (path === "") throw misplaced("--report", "the name of a file", "an empty name");
  const found = await stat(path).catch((cause) => {
    if (cause.code === "ENOENT") return null;
    throw systemFault(path, "a file that can be written", cause);
  });
  if (found === null || (found.isFile() && (found.size === 0 || (await isReport(path))))) return;
  const got = found.isFile()
    ? "another file"
    : found.isDirectory()
      ? "a folder"
      : "a device, a pipe or a socket";
  throw misplaced(path, "a new file, or an earlier report", got);
}

async function isReport(path: string): Promise<boolean> {
  const wanted = Buffer.from(FIRST_BYTES);
  const found = Buffer.alloc(wanted.length);
  const file = await open(path, "r").catch(() => null);
  try {
    await file?.read(found, 0, found.length, 0);
  } finally {
    await file?.close();
  }
  return found.equals(wanted);
}

function misplaced(where: string, expected: string, got: string): BlockscaleError {
  return new BlockscaleError("option", { where, expected, got, fix: "Choose another name for --report." });
}

/** How a report reads: where missing scales are errors, the conversion has already refused them. */
const READING = { missingScale: "one" } as const;

/** A conversion that is done: of a checkpoint, or of one model of a pipeline. */
export interface ReportedConversion {
  readonly to: string;
  readonly opened: OpenedCheckpoint;
  readonly plan: Plan;
  readonly measured: ReadonlyMap<string, Precision>;
  readonly summary: Summary;
}

/** The folder of a model in a pipeline, which is put before names; "" where there is one model alone. */
export type Prefixed<T> = T & { readonly prefix: string };

/**
 * Makes the report of finished conversions. It reads all scales, and a sample of the values on both sides.
 * @param models a checkpoint, or the models of a pipeline
 */
export async function reportOfConversions(
  { from, to, direction }: { readonly from: string; readonly to: string; readonly direction: Direction },
  models: readonly Prefixed<ReportedConversion>[],
  signal: AbortSignal,
): Promise<Report> {
  const of = direction.kind === "quantize" ? "output" : "input";
  const found = [];
  for (const model of models) found.push(await surveyConversion(model, of, signal));
  const tensors = models.flatMap(({ plan, prefix }) => renamed(plan.tensors, prefix));
  const measured = new Map(
    models.flatMap((model) =>
      [...model.measured].map(([name, found]) => [model.prefix + name, found] as const),
    ),
  );
  return conversionReport({
    kind: direction.kind,
    input: from,
    output: to,
    format: direction.kind === "quantize" ? direction.to : direction.dtype,
    summary: summarize({ files: [], tensors }, measured),
    files: models.flatMap(({ plan, prefix }) =>
      renamed(plan.files, prefix).map(({ name, size }) => ({ name, bytes: size, checksum: null })),
    ),
    scales: scalesFound(
      of,
      found.flatMap(({ scales }) => scales),
    ),
    survey: joinSurveys(found.map(({ survey }) => survey)),
  });
}

async function surveyConversion(
  { to, opened, summary, prefix }: Prefixed<ReportedConversion>,
  of: "input" | "output",
  signal: AbortSignal,
): Promise<{ scales: ScaleCounts[]; survey: Survey }> {
  const output = await openInput(to);
  try {
    const made = await openCheckpoint(output.files, to);
    const { checkpoint, sources } = of === "output" ? made : opened;
    const scales = scalesOf(await inspect(checkpoint, sources, READING));
    const names = new Set(
      summary.tensors.flatMap(({ name, action }) => (action === "copy" || action === "drop" ? [] : [name])),
    );
    const survey = await surveyPairs([opened, made], names, await load(), { ...READING, signal });
    return { scales: renamed(scales, prefix), survey };
  } finally {
    await output.close();
  }
}

function renamed<T extends { readonly name: string }>(items: readonly T[], prefix: string): T[] {
  return items.map((item) => ({ ...item, name: prefix + item.name }));
}

/** Two checkpoints that were compared. */
export interface ReportedComparison {
  readonly sides: readonly [Side, Side];
  readonly tensors: readonly ComparedTensor[];
}

/**
 * Makes the report of a finished comparison. It reads scales, and a sample of the values on both sides.
 * @param pairs two checkpoints, or the models of two pipelines
 */
export async function reportOfComparisons(
  [a, b]: readonly [string, string],
  pairs: readonly Prefixed<ReportedComparison>[],
  engine: Engine,
  signal: AbortSignal,
): Promise<Report> {
  const inspections: [Prefixed<Inspection>, Prefixed<Inspection>][] = [];
  const surveys: Survey[] = [];
  for (const { sides, tensors, prefix } of pairs) {
    const names = new Set(tensors.flatMap(({ name, status }) => (status === "compared" ? [name] : [])));
    const second = await inspectSide(sides[1], true);
    const first = await inspectSide(sides[0], scalesOf(second).length === 0);
    inspections.push([
      { ...first, prefix },
      { ...second, prefix },
    ]);
    surveys.push(await surveyPairs(sides, names, engine, { ...READING, signal }));
  }
  return comparisonReport({
    a,
    b,
    tensors: pairs.flatMap(({ tensors, prefix }) => renamed(tensors, prefix)),
    inspections: [
      joinInspections(inspections.map(([first]) => first)),
      joinInspections(inspections.map(([, second]) => second)),
    ],
    survey: joinSurveys(surveys),
  });
}

/** What is inside the models of a pipeline, as if they were one checkpoint. */
export function joinInspections(models: readonly Prefixed<Inspected>[]): Inspected {
  return {
    files: models.flatMap(({ files, prefix }) => renamed(files, prefix)),
    dialect: [...new Set(models.map(({ dialect }) => dialect))].join(", "),
    tensors: models.flatMap(({ tensors, prefix }) => renamed(tensors, prefix)),
  };
}

function inspectSide({ checkpoint, sources }: Side, readsScales: boolean): Promise<Inspection> {
  return inspect(checkpoint, readsScales ? sources : null, READING);
}
