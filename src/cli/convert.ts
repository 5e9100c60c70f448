import { basename, dirname } from "node:path";
import type { Document } from "../checkpoint/dialects/index.ts";
import { type Summary, summarize } from "../checkpoint/measure/summary.ts";
import type { Measure } from "../checkpoint/plan/conversion.ts";
import {
  chooseFiles,
  documentsOf,
  isOfCheckpoint,
  type OpenedCheckpoint,
  openCheckpoint,
} from "../checkpoint/plan/folder.ts";
import type { FilePlan, Plan } from "../checkpoint/plan/plan.ts";
import { warningsOf } from "../checkpoint/plan/warnings.ts";
import { isSameFile } from "../io/node.ts";
import { refuseObstacles, refuseOverlap } from "../io/node-folder.ts";
import { filesAt, makeFolderAt, openAt, placeIn, removeAt } from "../io/place.ts";
import {
  completeFolder,
  identityOf,
  isMade,
  isOutput,
  makeFile,
  planOf,
  type Run,
  removeFiles,
  type Task,
} from "../jobs/conversion.ts";
import { openJournal } from "../jobs/journal.ts";
import { startWorkers, threadsFor } from "../jobs/threads.ts";
import { reportPage } from "../report/page.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import * as figures from "./figures.ts";
import { type Input, openInput } from "./input.ts";
import { print, printJson } from "./print.ts";
import { startProgress } from "./progress.ts";
import { type ReservedReport, reportOfConversion, reserveReport } from "./report.ts";
import { otherFilesLines, planTable, summaryTable, warningLines } from "./tables.ts";

/** Options that quantize and dequantize share. */
export interface ConvertFlags {
  /** Worker threads; one for each core, as far as they pay, if left out. */
  readonly jobs?: number;
  readonly dryRun?: true;
  readonly json?: true;
  readonly overwrite?: true;
  readonly measure: Measure;
  /** Patterns of the .safetensors files that are the model. */
  readonly files?: readonly string[];
  /** Path of a page to be written besides. */
  readonly report?: string;
}

/** `blockscale quantize IN OUT` and `blockscale dequantize IN OUT` */
export async function convert(
  from: string,
  to: string,
  task: Task,
  flags: ConvertFlags,
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now();
  const input = await openInput(from, signal);
  let page: ReservedReport | null = null;
  try {
    const { files: chosen, leftOut: unchosen } = chooseFiles(input.files, flags.files);
    const found = await openCheckpoint(chosen, from);
    const opened = { ...found, leftOut: [...found.leftOut, ...unchosen] };
    const planned = planOf(task, opened);
    // The names of a folder's files stay; a single file has the name that it is given.
    const plan = input.isFolder
      ? planned
      : { ...planned, files: planned.files.map((file) => ({ ...file, name: basename(to) })) };
    const documents = input.isFolder ? documentsOf(opened, plan, task.direction) : [];
    refuseName(to, input.isFolder);
    if (flags.dryRun === true) {
      const { tensors, total } = summarize(plan, new Map());
      const warnings = warningsFor(task, plan);
      const files = plan.files.map(({ name, size }) => ({ name, bytes: size }));
      await report(
        flags,
        {
          input: from,
          output: to,
          ...task.direction,
          dryRun: true,
          warnings,
          files,
          tensors,
          total,
          leftOut: opened.leftOut,
          unread: opened.unread,
        },
        () => [planTable(plan), ...warningLines(warnings), ...otherFilesLines(opened)].join("\n"),
      );
      return;
    }
    if (input.isFolder) {
      await refuseOverlap(from, to);
      await refuseObstacles(to, [...plan.files, ...documents].map(({ name }) => name).concat(opened.others));
    } else {
      await refuseSameFile(from, to);
      await refuseObstacles(dirname(to), [basename(to)]);
      if (flags.overwrite !== true) await refuseTaken(to, plan.files[0]!);
    }
    page = await reserveReport(flags.report, [from, to]);
    const workers = await startWorkers(opened.sources, threadsFor(plan, flags.jobs));
    const progress = startProgress(plan.files.reduce((n, { size }) => n + size, 0));
    const run: Run = {
      opened,
      workers,
      measure: flags.measure,
      signal,
      onProgress: progress.update,
      measured: new Map(),
    };
    try {
      const folder: FolderRun = { ...run, chosen, plan, documents, task, finish: progress.finish };
      if (input.isFolder) await convertFolder(folder, to, flags.overwrite === true);
      else await makeFile(run, plan.files[0]!, to);
    } finally {
      progress.stop();
      await workers.stop();
    }
    const summary = summarize(plan, run.measured);
    await reportSummary(flags, { from, to, task, opened, plan, summary, started });
    const { direction } = task;
    await page?.write(
      reportPage(await reportOfConversion({ from, to, direction, opened, plan, summary, signal })),
    );
  } finally {
    await page?.discard();
    await input.close();
  }
}

/** A folder becomes a folder, a file a file: a name of the other kind would make something that is called what it is not. */
function refuseName(to: string, isFolder: boolean): void {
  const isFile = to.endsWith(".safetensors");
  if (isFolder ? !isFile : isFile) return;
  throw new BlockscaleError("option", {
    where: "OUT",
    expected: isFolder
      ? "a folder, since IN is one"
      : "a name that ends in .safetensors, since IN is a single file",
    got: to,
    fix: isFolder ? "Leave .safetensors out of the name." : "Add .safetensors to the name.",
  });
}

interface Converted {
  readonly from: string;
  readonly to: string;
  readonly task: Task;
  readonly opened: OpenedCheckpoint;
  readonly plan: Plan;
  readonly summary: Summary;
  /** By `performance.now()`. */
  readonly started: number;
}

/** Prints what became of a whole checkpoint. */
export function reportSummary(flags: Pick<ConvertFlags, "json">, converted: Converted): Promise<void> {
  const { from, to, task, opened, plan, summary, started } = converted;
  const { leftOut, unread } = opened;
  const warnings = warningsFor(task, plan);
  const record = { input: from, output: to, ...task.direction, ...summary, warnings, leftOut, unread };
  return report(flags, record, () =>
    [
      summaryTable(summary),
      ...warningLines(warnings),
      ...otherFilesLines(opened),
      "",
      lastLine(to, plan, started),
    ].join("\n"),
  );
}

function warningsFor({ direction }: Task, plan: Plan): string[] {
  return direction.kind === "quantize" ? warningsOf(plan, direction.to) : [];
}

/** What was written: how large, and how fast. */
function lastLine(to: string, { files }: Plan, started: number): string {
  const size = files.reduce((sum, file) => sum + file.size, 0);
  const seconds = Math.max(0.001, (performance.now() - started) / 1000);
  return `Wrote ${figures.text(to)}: ${figures.bytes(size)} in ${seconds.toFixed(1)} s, ${figures.bytes(size / seconds)}/s.`;
}

function report(flags: Pick<ConvertFlags, "json">, record: unknown, table: () => string): Promise<void> {
  return flags.json === true ? printJson(record) : print(table());
}

interface FolderRun extends Run {
  /** Of the input, those that are meant. */
  readonly chosen: Input["files"];
  readonly plan: Plan;
  readonly documents: readonly Document[];
  readonly task: Task;
  readonly finish: (size: number) => void;
}

async function convertFolder(run: FolderRun, folder: string, overwrite: boolean): Promise<void> {
  const { chosen, opened, plan, documents, task, signal } = run;
  const isOurs = overwrite || (await holdsThisOutput(folder, run));
  const identity = { format: 1, ...task, input: identityOf(chosen) };
  const journal = await openJournal(folder, identity, isOurs);
  for (const who of journal.others) {
    console.error(
      `blockscale: ${who} is writing into ${figures.text(folder)} too; both make the same files.`,
    );
  }
  // What another run has left under these names must not be taken for ours.
  if (!journal.goesOn) await removeFiles(folder, plan.files);
  if (overwrite) {
    await removeOther(folder, [...plan.files, ...documents].map(({ name }) => name).concat(opened.others));
  }
  for (const file of plan.files) {
    const path = placeIn(folder, file.name);
    const finished = journal.finished(file.name);
    if (finished !== undefined && (await isMade(finished, file, path)))
      for (const [name, precision] of finished.measured) run.measured.set(name, precision);
    else {
      await makeFolderAt(dirname(path));
      await makeFile(run, file, path, (made) => journal.add(file.name, made));
    }
    run.finish(file.size);
  }
  await completeFolder(folder, chosen, opened, documents, signal);
  await journal.remove();
}

/** Removes what would be read as a part of the new checkpoint, and is one of another that was there. */
async function removeOther(folder: string, names: readonly string[]): Promise<void> {
  const ours = new Set(names);
  for (const name of await filesAt(folder)) {
    if (isOfCheckpoint(name) && !ours.has(name)) await removeAt(placeIn(folder, name));
  }
}

/**
 * Whether a folder holds what this command would make, and nothing else: then it was run before, to the end, and may be
 * run again.
 */
async function holdsThisOutput(folder: string, run: FolderRun): Promise<boolean> {
  const found = await openInput(folder).catch(() => null);
  if (found === null) return false;
  const names = new Set([...run.opened.others, ...run.documents.map(({ name }) => name)]);
  try {
    for (const file of run.plan.files) {
      names.add(file.name);
      if (!(await isOutput(found.files.get(file.name), file))) return false;
    }
    return [...found.files.keys()].every((name) => names.has(name));
  } finally {
    await found.close();
  }
}

/** A file that is there already may be made again by the same command, and by no other. */
async function refuseTaken(path: string, file: FilePlan): Promise<void> {
  const found = await openAt(path).catch(() => undefined);
  if (found === undefined) return;
  try {
    if (await isOutput(found, file)) return;
  } finally {
    await found.close();
  }
  throw new BlockscaleError("option", {
    where: path,
    expected: "a new file, or the output of this same command",
    got: "another file",
    fix: "Choose another name, or pass --overwrite.",
  });
}

async function refuseSameFile(input: string, output: string): Promise<void> {
  if (input !== output && !(await isSameFile(input, output))) return;
  throw new BlockscaleError("option", {
    where: "OUT",
    expected: "another file than IN",
    got: `${output}, which is the same file`,
    fix: "Choose another name: the input is never changed.",
  });
}
