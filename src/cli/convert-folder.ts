import { dirname } from "node:path";
import type { OutputText } from "../checkpoint/dialects/index.ts";
import { isOfCheckpoint } from "../checkpoint/plan/folder.ts";
import type { FilePlan, Plan } from "../checkpoint/plan/plan.ts";
import { forEachOf } from "../io/concurrency.ts";
import { filesAt, makeFolderAt, placeIn, removeAt } from "../io/place.ts";
import { isS3 } from "../io/s3.ts";
import {
  beginsAsOutput,
  type ConversionRun,
  type ConversionSettings,
  completeFolder,
  identityOf,
  isMade,
  makeFile,
  removeFiles,
} from "../jobs/conversion.ts";
import { isFinished } from "../jobs/finished.ts";
import { hasJournal, openJournal } from "../jobs/journal.ts";
import * as figures from "./figures.ts";
import { type Input, openInput } from "./input.ts";

/** The conversion of a folder. */
export interface FolderRun extends ConversionRun {
  /** The files of the input that are to be converted. */
  readonly chosen: Input["files"];
  readonly plan: Plan;
  readonly documents: readonly OutputText[];
  readonly task: ConversionSettings;
  readonly finish: (size: number) => void;
}

/** Makes the files of a folder that are not there yet. */
export async function convertFolder(run: FolderRun, folder: string, overwrite: boolean): Promise<void> {
  const { chosen, opened, plan, documents, task, signal } = run;
  const other = overwrite ? undefined : await otherFileIn(folder, run);
  const identity = { format: 1, ...task, input: identityOf(chosen) };
  const journal = await openJournal(folder, identity, other);
  for (const who of journal.others) {
    console.error(
      `blockscale: ${who} is writing into ${figures.text(folder)} too; both make the same files.`,
    );
  }
  // What another run has left under these names must not be taken for ours.
  if (!journal.isContinued) await removeFiles(folder, plan.files);
  if (overwrite) {
    await removeOther(folder, [...plan.files, ...documents].map(({ name }) => name).concat(opened.others));
  }
  await makeAll(plan.files, isS3(folder) ? 1 : AT_ONCE, async (file) => {
    const path = placeIn(folder, file.name);
    const finished = journal.finished(file.name);
    if (finished !== undefined && (await isMade(finished, file, path)))
      for (const [name, precision] of finished.measured) run.measured.set(name, precision);
    else {
      await makeFolderAt(dirname(path));
      await makeFile(run, file, path, (made) => journal.add(file.name, made));
    }
    run.finish(file.size);
  });
  await completeFolder(folder, chosen, opened, documents, signal);
  await journal.remove();
}

/**
 * Files of at most so many bytes are made several at a time, where there are
 * many: each waits for the disk at its end.
 */
const SMALL = 1 << 22;
const MANY = 32;
const AT_ONCE = 8;

/**
 * Makes large files one after the other, and small ones side by side. After a failure nothing more is begun.
 */
async function makeAll(
  files: readonly FilePlan[],
  atOnce: number,
  make: (file: FilePlan) => Promise<void>,
): Promise<void> {
  for (const file of files) if (file.size > SMALL) await make(file);
  const small = files.filter(({ size }) => size <= SMALL);
  await forEachOf(small, small.length < MANY ? 1 : atOnce, make);
}

/** Opens a folder; `null` where that cannot be done, or a run is not finished. */
export async function openIfIdle(folder: string): Promise<Input | null> {
  return (await hasJournal(folder)) ? null : openInput(folder).catch(() => null);
}

/** Whether a folder holds all of this output, and no run that is not finished. */
export async function isFinishedFolder(
  run: Omit<FolderRun, "task" | "finish">,
  folder: string,
): Promise<boolean> {
  const found = await openIfIdle(folder);
  if (found === null) return false;
  const { chosen, opened, plan, documents } = run;
  const others = new Map(opened.others.map((name) => [name, chosen.get(name)!]));
  try {
    return await isFinished(run, { plan, documents, others, inputs: chosen.values() }, found.files);
  } finally {
    await found.close();
  }
}

/** Removes what would be read as a part of the new checkpoint, and is one of another that was there. */
async function removeOther(folder: string, names: readonly string[]): Promise<void> {
  const ours = new Set(names);
  for (const name of await filesAt(folder)) {
    if (isOfCheckpoint(name) && !ours.has(name)) await removeAt(placeIn(folder, name));
  }
}

/**
 * A file that is not what this command makes, if there is one. Without one, a folder that holds anything was
 * made by this command, to the end, and may be made again.
 */
async function otherFileIn(folder: string, run: FolderRun): Promise<string | undefined> {
  const found = await openInput(folder).catch(() => null);
  if (found === null) return "";
  const names = new Set([...run.opened.others, ...run.documents.map(({ name }) => name)]);
  try {
    for (const file of run.plan.files) {
      names.add(file.name);
      if (!(await beginsAsOutput(found.files.get(file.name), file))) return file.name;
    }
    return [...found.files.keys()].find((name) => !names.has(name));
  } finally {
    await found.close();
  }
}
