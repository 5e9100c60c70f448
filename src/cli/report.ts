import { open, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { ComparedTensor, Side } from "../checkpoint/measure/compare.ts";
import { type Inspection, inspect } from "../checkpoint/measure/inspect.ts";
import type { Summary } from "../checkpoint/measure/summary.ts";
import { surveyPairs } from "../checkpoint/measure/survey.ts";
import { type Direction, type OpenedCheckpoint, openCheckpoint } from "../checkpoint/plan/folder.ts";
import type { Plan } from "../checkpoint/plan/plan.ts";
import type { Engine } from "../engine/engine.ts";
import { systemFault } from "../io/node.ts";
import { isWithin } from "../io/node-folder.ts";
import { createAt } from "../io/place.ts";
import { removeLeftovers } from "../io/writers.ts";
import { load } from "../load.ts";
import { FIRST_BYTES } from "../report/frame.ts";
import { comparisonReport, conversionReport, type Report, scalesFound, scalesOf } from "../report/report.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { openInput } from "./input.ts";

/** A file to be written when the work is done. */
export interface ReservedFile {
  write(text: string): Promise<void>;
  /** Leaves nothing of it, unless it has been written. */
  discard(): Promise<void>;
}

/**
 * Begins the file of a report before the work begins, so that nobody waits
 * hours to learn that it cannot be written.
 * @param path as given with --report; without one there is no report
 * @param places what is read and written besides: the report must be apart from it
 * @throws BlockscaleError `io`; `option`: something else stands in its place
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
 * Begins a file before the work begins.
 * @throws BlockscaleError `io`
 */
export async function reserve(path: string): Promise<ReservedFile> {
  const writer = (await createAt(path)).getWriter();
  // What went wrong is told by write; closed must not count as unhandled besides.
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

/** How the report reads: the conversion has refused codes without scales already, if it was asked to. */
const READING = { missingScale: "one" } as const;

interface Conversion {
  readonly from: string;
  readonly to: string;
  readonly direction: Direction;
  readonly opened: OpenedCheckpoint;
  readonly plan: Plan;
  readonly summary: Summary;
  readonly signal: AbortSignal;
}

/** Looks once more at a conversion that is done: at all scales, and at a part of the values on both sides. */
export async function reportOfConversion(conversion: Conversion): Promise<Report> {
  const { from, to, direction, opened, plan, summary, signal } = conversion;
  const output = await openInput(to);
  try {
    const made = await openCheckpoint(output.files, to);
    const of = direction.kind === "quantize" ? "output" : "input";
    const { checkpoint, sources } = of === "output" ? made : opened;
    const weights = scalesOf(await inspect(checkpoint, sources, READING));
    const names = new Set(
      summary.tensors.flatMap(({ name, action }) => (action === "copy" || action === "drop" ? [] : [name])),
    );
    return conversionReport({
      kind: direction.kind,
      input: from,
      output: to,
      form: direction.kind === "quantize" ? direction.to : direction.dtype,
      summary,
      files: plan.files.map(({ name, size }) => ({ name, bytes: size, checksum: null })),
      scales: scalesFound(of, weights),
      survey: await surveyPairs([opened, made], names, await load(), { ...READING, signal }),
    });
  } finally {
    await output.close();
  }
}

/** Looks once more at two checkpoints that were compared. */
export async function reportOfComparison(
  [a, b]: readonly [string, string],
  sides: readonly [Side, Side],
  tensors: readonly ComparedTensor[],
  engine: Engine,
  signal: AbortSignal,
): Promise<Report> {
  const names = new Set(tensors.flatMap(({ name, status }) => (status === "compared" ? [name] : [])));
  const second = await inspectSide(sides[1], true);
  const first = await inspectSide(sides[0], scalesOf(second).length === 0);
  const survey = await surveyPairs(sides, names, engine, { ...READING, signal });
  return comparisonReport({ a, b, tensors, inspections: [first, second], survey });
}

function inspectSide({ checkpoint, sources }: Side, reads: boolean): Promise<Inspection> {
  return inspect(checkpoint, reads ? sources : null, READING);
}
