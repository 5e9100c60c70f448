import { appendFile } from "node:fs/promises";
import { EMPTY_PRECISION, type Precision } from "../engine/precision.ts";
import { systemFault } from "../io/node.ts";
import { writerOf } from "../io/partial-files.ts";
import {
  makeFolderAt,
  namesAt,
  placeIn,
  readTextAt,
  removeAt,
  removeLeftoversAt,
  writeTextAt,
} from "../io/place.ts";
import { isS3 } from "../io/s3.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { parsed } from "./spec.ts";

const NAME = ".blockscale-unfinished.jsonl";

/** Whether a folder holds a run that is not finished. */
export async function hasJournal(folder: string): Promise<boolean> {
  return (await readTextAt(placeIn(folder, NAME))) !== null;
}

/** The journal's entry of a finished file. */
export interface FinishedFile {
  /** What was measured, weight by weight in the order of the file. */
  readonly measured: readonly (readonly [weight: string, precision: Precision])[];
  /** Hash over samples of the file, to recognise it by: see `SampleHash`. */
  readonly sampleHash: string;
}

/**
 * A file in the output folder that lists the finished files, so that a run that was cut off can continue. It
 * is removed at the end of the run.
 */
export interface Journal {
  /** Whether this continues an unfinished run. */
  readonly isContinued: boolean;
  /** Names of other processes that write into the folder, to show to people. */
  readonly others: readonly string[];
  /** The entry of a finished file; `undefined` for a file that still has to be made. */
  finished(file: string): FinishedFile | undefined;
  /**
   * Adds a finished file. Call it before the file gets its final name. If the run ends in between, the
   * sample hash tells an older file of this name from it.
   */
  add(file: string, finished: FinishedFile): Promise<void>;
  remove(): Promise<void>;
}

/**
 * Makes the output folder, or continues an unfinished run there.
 * @param task settings and input, as JSON: an unfinished run with others is not continued
 * @param other a file in the folder that the task does not make, or "" where it is not known which; left out,
 * the folder may be written anew
 * @throws BlockscaleError `option`: the folder holds something else
 */
export async function openJournal(folder: string, task: unknown, other?: string): Promise<Journal> {
  await makeFolderAt(folder);
  const files = await filesIn(folder);
  const wanted = JSON.stringify(task);
  const found = files.includes(NAME) ? await readJournal(placeIn(folder, NAME)) : null;
  const isSame = found !== null && JSON.stringify(found.task) === wanted;
  if (files.length > 0 && !isSame && other !== undefined) {
    throw new BlockscaleError("option", {
      where: folder,
      expected: "a new or empty folder, or the unfinished run of this same command",
      got:
        found === null
          ? `${files.length} files${files.includes(other) ? `, of which ${other} is damaged or of another command` : ""}`
          : found.task === undefined
            ? `an unfinished run whose record, ${NAME}, is damaged`
            : "the unfinished run of another command, or of a changed input",
      fix: "Choose another folder, empty this one, or pass --overwrite.",
    });
  }
  const others = await removeLeftoversAt(folder);
  const done = new Map<string, FinishedFile>(isSame ? found.done : []);
  const path = placeIn(folder, NAME);
  const writeAll = () =>
    writeTextAt(path, [task, ...[...done].map(lineOf)].map((line) => `${JSON.stringify(line)}\n`).join(""));
  // Rewritten even when a run is continued: nothing may be appended to a line that was cut off.
  await writeAll();
  return {
    isContinued: isSame,
    others,
    finished: (file) => done.get(file),
    add: async (file, finished) => {
      done.set(file, finished);
      // An S3 object cannot be appended to.
      await (isS3(path) ? writeAll() : appendLine(path, lineOf([file, finished])));
    },
    remove: () => removeAt(path),
  };
}

/** Names in the folder, without those of files being written. */
async function filesIn(folder: string): Promise<string[]> {
  return (await namesAt(folder)).filter((name) => writerOf(name) === null);
}

/** Appends a line without a sync: if a power cut loses it, the file is made again. */
async function appendLine(path: string, line: unknown): Promise<void> {
  try {
    await appendFile(path, `${JSON.stringify(line)}\n`);
  } catch (cause) {
    throw systemFault(path, "a file that can be written", cause);
  }
}

type JournalLine = readonly [file: string, measured: FinishedFile["measured"], sampleHash: string];

function lineOf([file, { measured, sampleHash }]: readonly [string, FinishedFile]): JournalLine {
  return [file, measured, sampleHash];
}

interface JournalContent {
  /** `undefined` where it cannot be read. */
  readonly task: unknown;
  readonly done: [string, FinishedFile][];
}

/**
 * Reads the task in the first line, and a line for each finished file. Damaged lines are ignored.
 */
async function readJournal(path: string): Promise<JournalContent> {
  const content = (await readTextAt(path)) ?? "";
  const [task, ...lines] = content.split("\n").slice(0, -1).map(parsed);
  const done = lines
    .filter(isLine)
    .map(([file, measured, sampleHash]): [string, FinishedFile] => [file, { measured, sampleHash }]);
  return { task, done };
}

function isLine(line: unknown): line is JournalLine {
  if (!Array.isArray(line) || line.length !== 3) return false;
  const [file, measured, sampleHash] = line;
  return typeof file === "string" && typeof sampleHash === "string" && isMeasured(measured);
}

/** Whether a value is what {@link FinishedFile} calls measured. */
export function isMeasured(value: unknown): value is FinishedFile["measured"] {
  return (
    Array.isArray(value) &&
    value.every(
      (pair) =>
        Array.isArray(pair) && pair.length === 2 && typeof pair[0] === "string" && isPrecision(pair[1]),
    )
  );
}

function isPrecision(value: unknown): value is Precision {
  if (typeof value !== "object" || value === null) return false;
  return Object.keys(EMPTY_PRECISION).every((key) =>
    Number.isFinite((value as { [key: string]: unknown })[key]),
  );
}
