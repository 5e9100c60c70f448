import { readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Document } from "../checkpoint/dialects/index.ts";
import { summarize } from "../checkpoint/measure/summary.ts";
import {
  type Direction,
  documentsOf,
  isOfCheckpoint,
  type OpenedCheckpoint,
  openCheckpoint,
} from "../checkpoint/plan/folder.ts";
import { conversionsOf, type FilePlan, type Plan } from "../checkpoint/plan/plan.ts";
import { placesOfWeight } from "../checkpoint/read/weights.ts";
import { fileBytes } from "../checkpoint/run/run.ts";
import type { Precision } from "../engine/precision.ts";
import {
  changedFault,
  createFile,
  type FileSource,
  fileFacts,
  isSameFile,
  makeFolder,
  openFile,
  writeText,
} from "../io/node.ts";
import { openLocal, refuseObstacles, refuseOverlap } from "../io/node-folder.ts";
import { giveBack, type Source } from "../io/source.ts";
import { removeLeftovers } from "../io/writers.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import * as figures from "./figures.ts";
import { Fingerprint, fingerprintOf } from "./fingerprint.ts";
import { type Input, openInput } from "./input.ts";
import { type Finished, type Journal, openJournal } from "./journal.ts";
import { print, printJson } from "./print.ts";
import { type ProgressBar, startProgress } from "./progress.ts";
import { type ReservedReport, reportOfConversion, reserveReport } from "./report.ts";
import { otherFilesLines, planTable, summaryTable } from "./tables.ts";
import { startWorkers, threadsFor, type Workers } from "./workers.ts";

/** Options that quantize and dequantize share. */
export interface ConvertFlags {
  /** Worker threads; one for each core, as far as they pay, if left out. */
  readonly jobs?: number;
  readonly dryRun?: true;
  readonly json?: true;
  readonly overwrite?: true;
  /** Path of a page to be written besides. */
  readonly report?: string;
}

/** What to make of an input. */
export interface Task {
  readonly direction: Direction;
  /** Everything that decides the bytes of the output, to recognise an unfinished run by. */
  readonly options: unknown;
  plan(opened: OpenedCheckpoint): Plan;
}

interface Run {
  readonly input: Input;
  readonly opened: OpenedCheckpoint;
  readonly plan: Plan;
  readonly workers: Workers;
  readonly progress: ProgressBar;
  readonly signal: AbortSignal;
  readonly measured: Map<string, Precision>;
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
    const opened = await openCheckpoint(input.files, from);
    const planned = task.plan(opened);
    // The names of a folder's files stay; a single file has the name that it is given.
    const plan = input.isFolder
      ? planned
      : { ...planned, files: planned.files.map((file) => ({ ...file, name: basename(to) })) };
    const documents = input.isFolder ? documentsOf(opened, plan, task.direction) : [];
    refuseName(to, input.isFolder);
    if (flags.dryRun === true) {
      const { tensors, total } = summarize(plan, new Map());
      const files = plan.files.map(({ name, size }) => ({ name, bytes: size }));
      await report(
        flags,
        {
          input: from,
          output: to,
          ...task.direction,
          dryRun: true,
          files,
          tensors,
          total,
          leftOut: opened.leftOut,
          unread: opened.unread,
        },
        () => [planTable(plan), ...otherFilesLines(opened)].join("\n"),
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
    const run: Run = { input, opened, plan, workers, progress, signal, measured: new Map() };
    try {
      if (input.isFolder) await convertFolder(run, to, task, documents, flags.overwrite === true);
      else await convertFile(run, plan.files[0]!, to);
    } finally {
      progress.stop();
      await workers.stop();
    }
    const summary = summarize(plan, run.measured);
    const { leftOut, unread } = opened;
    await report(flags, { input: from, output: to, ...task.direction, ...summary, leftOut, unread }, () =>
      [summaryTable(summary), ...otherFilesLines(opened), "", lastLine(to, plan, started)].join("\n"),
    );
    const { direction } = task;
    await page?.write(await reportOfConversion({ from, to, direction, opened, plan, summary, signal }));
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

/** What was written: how large, and how fast. */
function lastLine(to: string, { files }: Plan, started: number): string {
  const size = files.reduce((sum, file) => sum + file.size, 0);
  const seconds = Math.max(0.001, (performance.now() - started) / 1000);
  return `Wrote ${figures.text(to)}: ${figures.bytes(size)} in ${seconds.toFixed(1)} s, ${figures.bytes(size / seconds)}/s.`;
}

function report(flags: ConvertFlags, record: unknown, table: () => string): Promise<void> {
  return flags.json === true ? printJson(record) : print(table());
}

async function convertFile(
  run: Run,
  file: FilePlan,
  path: string,
  beforeRename?: (finished: Finished) => Promise<void>,
): Promise<void> {
  const { opened, workers, progress, signal } = run;
  const measured: [string, Precision][] = [];
  const fingerprint = new Fingerprint(file.size);
  await removeLeftovers(dirname(path), (name) => name.startsWith(`.${basename(path)}.`));
  const sink = await createFile(path, async () => {
    await refuseChange(inputsOf(file, run));
    await beforeRename?.({ measured, fingerprint: fingerprint.digest() });
  });
  const bytes = fileBytes(file, {
    sources: opened.sources,
    convert: workers.convert,
    ahead: workers.ahead,
    signal,
    onProgress: progress.update,
    onPrecision: (name, precision) => measured.push([name, precision]),
  });
  await writeAll(bytes, sink, (chunk) => fingerprint.update(chunk));
  for (const [name, precision] of measured) run.measured.set(name, precision);
}

/** Like pipeTo, but knows when a chunk has been written, and gives its memory back. */
async function writeAll(
  chunks: AsyncIterable<Uint8Array>,
  sink: WritableStream<Uint8Array>,
  onChunk: (chunk: Uint8Array) => void,
): Promise<void> {
  const writer = sink.getWriter();
  try {
    for await (const chunk of chunks) {
      onChunk(chunk);
      await writer.write(chunk);
      giveBack(chunk);
    }
    await writer.close();
  } catch (error) {
    await writer.abort(error).catch(() => {});
    throw error;
  }
}

async function convertFolder(
  run: Run,
  folder: string,
  { direction, options }: Task,
  documents: readonly Document[],
  overwrite: boolean,
): Promise<void> {
  const { input, opened, plan, progress, signal } = run;
  const facts = [...input.files].map(([name, source]) => [
    name,
    source.size,
    "modified" in source ? (source as FileSource).modified : null,
  ]);
  const isOurs = overwrite || (await holdsThisOutput(folder, run, documents));
  const journal = await openJournal(folder, { format: 1, direction, options, input: facts }, isOurs);
  const paths = plan.files.map(({ name }) => join(folder, name));
  // What another run has left under these names must not be taken for ours.
  if (!journal.goesOn) for (const path of paths) await rm(path, { force: true });
  if (overwrite) {
    await removeOther(folder, [...plan.files, ...documents].map(({ name }) => name).concat(opened.others));
  }
  for (const [i, file] of plan.files.entries()) {
    const path = paths[i]!;
    if (!(await isFinished(run, journal, file, path))) {
      await makeFolder(dirname(path));
      await convertFile(run, file, path, (finished) => journal.add(file.name, finished));
    }
    progress.finish(file.size);
  }
  await refuseChange(input.files.values());
  for (const name of opened.others) {
    signal.throwIfAborted();
    await carry(input.files.get(name)!, join(folder, name));
  }
  for (const { name, text } of documents) await writeText(join(folder, name), text);
  await journal.remove();
}

/** Removes what would be read as a part of the new checkpoint, and is one of another that was there. */
async function removeOther(folder: string, names: readonly string[]): Promise<void> {
  const ours = new Set(names);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const isOther = !entry.isDirectory() && isOfCheckpoint(entry.name) && !ours.has(entry.name);
    if (isOther) await rm(join(folder, entry.name));
  }
}

/**
 * Whether a folder holds what this command would make, and nothing else: then it was run before, to the end, and may be
 * run again.
 */
async function holdsThisOutput(folder: string, run: Run, documents: readonly Document[]): Promise<boolean> {
  const found = await openLocal(folder).catch(() => null);
  if (found === null) return false;
  const names = new Set([...run.opened.others, ...documents.map(({ name }) => name)]);
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

/** Whether a file is as long and begins as the output would. */
async function isOutput(found: Source | undefined, { header, size }: FilePlan): Promise<boolean> {
  if (found?.size !== size) return false;
  return Buffer.from(await found.slice(0, header.length).arrayBuffer()).equals(header);
}

/** Whether an earlier run made a file, and it is still there as it was, as far as a short look tells. */
async function isFinished(run: Run, journal: Journal, file: FilePlan, path: string): Promise<boolean> {
  const finished = journal.finished(file.name);
  if (finished === undefined) return false;
  const { measured, fingerprint } = finished;
  const weights = conversionsOf({ files: [file] }).map(({ from }) => from.name);
  if (String(measured.map(([name]) => name)) !== String(weights)) return false;
  const found = await openFile(path).catch(() => undefined);
  try {
    if (found === undefined || !(await isOutput(found, file))) return false;
    if ((await fingerprintOf(path, found)) !== fingerprint) return false;
  } finally {
    await found?.close();
  }
  for (const [name, precision] of measured) run.measured.set(name, precision);
  return true;
}

/** Copies a file that belongs to the checkpoint and holds no tensors. */
async function carry(source: Source, path: string): Promise<void> {
  await makeFolder(dirname(path));
  const step = 1 << 22;
  let at = 0;
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (at >= source.size) return controller.close();
        const end = Math.min(source.size, at + step);
        controller.enqueue(new Uint8Array(await source.slice(at, end).arrayBuffer()));
        at = end;
      },
    },
    { highWaterMark: 0 },
  );
  await stream.pipeTo(await createFile(path));
}

/** The shards that an output file is made from. */
function inputsOf({ steps }: FilePlan, { opened }: Run): Source[] {
  const places = steps.flatMap((step) =>
    step.kind === "copy" ? [step.from] : placesOfWeight(step.conversion.from),
  );
  return [...new Set(places.map(({ shard }) => opened.sources[shard]!))];
}

/** Refuses an output made of files of which some are not what they were at first. */
async function refuseChange(sources: Iterable<Source>): Promise<void> {
  for (const source of sources) {
    if (!("path" in source)) continue;
    const { path, size, modified } = source as FileSource;
    const now = await fileFacts(path);
    if (now.size === size && now.modified === modified) continue;
    throw changedFault(path);
  }
}

/** A file that is there already may be made again by the same command, and by no other. */
async function refuseTaken(path: string, file: FilePlan): Promise<void> {
  const found = await openFile(path).catch(() => undefined);
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
  if (!(await isSameFile(input, output))) return;
  throw new BlockscaleError("option", {
    where: "OUT",
    expected: "another file than IN",
    got: `${output}, which is the same file`,
    fix: "Choose another name: the input is never changed.",
  });
}
