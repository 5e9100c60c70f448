import { appendFile } from "node:fs/promises";
import { NOTHING, type Precision } from "../engine/precision.ts";
import { systemFault } from "../io/node.ts";
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
import { writerOf } from "../io/writers.ts";
import { BlockscaleError } from "../tensor/errors.ts";

const NAME = ".blockscale-unfinished.jsonl";

/** Whether a folder holds a run that is not finished. */
export async function hasJournal(folder: string): Promise<boolean> {
  return (await readTextAt(placeIn(folder, NAME))) !== null;
}

/** The journal's entry of a finished file. */
export interface Finished {
  /** What was measured, weight by weight in the order of the file. */
  readonly measured: readonly (readonly [weight: string, precision: Precision])[];
  /** Hash of the whole file, to recognise it by. */
  readonly fingerprint: string;
}

/**
 * Remembers in the output folder which files are whole, so that a run that was cut off can go
 * on. It disappears with the end of the run.
 */
export interface Journal {
  /** Whether an unfinished run is taken up. */
  readonly goesOn: boolean;
  /** Other processes that write into the folder, for people. */
  readonly others: readonly string[];
  /** What an earlier run noted of a file that it finished; `undefined` where it still has to be made. */
  finished(file: string): Finished | undefined;
  /**
   * Notes a file as finished. Call it before the file appears under its name: a file
   * that stands there already does not count.
   */
  add(file: string, finished: Finished): Promise<void>;
  remove(): Promise<void>;
}

/**
 * Makes the output folder, or takes up an unfinished run there.
 * @param task what is being done to which input: an unfinished run of another task is not taken up
 * @throws BlockscaleError `option`: the folder holds something else
 */
export async function openJournal(folder: string, task: unknown, overwrite: boolean): Promise<Journal> {
  await makeFolderAt(folder);
  const files = await filesIn(folder);
  const wanted = JSON.stringify(task);
  const found = files.includes(NAME) ? await readJournal(placeIn(folder, NAME)) : null;
  const isSame = found !== null && JSON.stringify(found.task) === wanted;
  if (files.length > 0 && !isSame && !overwrite) {
    throw new BlockscaleError("option", {
      where: folder,
      expected: "a new or empty folder, or the unfinished run of this same command",
      got:
        found === null
          ? `${files.length} files`
          : found.task === undefined
            ? `an unfinished run whose record, ${NAME}, is damaged`
            : "the unfinished run of another command, or of a changed input",
      fix: "Choose another folder, empty this one, or pass --overwrite.",
    });
  }
  const others = await removeLeftoversAt(folder);
  const done = new Map<string, Finished>(isSame ? found.done : []);
  const path = placeIn(folder, NAME);
  const writeAll = () =>
    writeTextAt(path, [task, ...[...done].map(lineOf)].map((line) => `${JSON.stringify(line)}\n`).join(""));
  // Written anew even where a run is taken up: a line that was cut off must not be continued.
  await writeAll();
  return {
    goesOn: isSame,
    others,
    finished: (file) => done.get(file),
    add: async (file, finished) => {
      done.set(file, finished);
      // Objects cannot grow.
      await (isS3(path) ? writeAll() : appendLine(path, lineOf([file, finished])));
    },
    remove: () => removeAt(path),
  };
}

/** Names in the folder, without those of files being written. */
async function filesIn(folder: string): Promise<string[]> {
  return (await namesAt(folder)).filter((name) => writerOf(name) === null);
}

/** Appends a line to the journal, without a sync: what a power cut takes from the journal is done again. */
async function appendLine(path: string, line: unknown): Promise<void> {
  try {
    await appendFile(path, `${JSON.stringify(line)}\n`);
  } catch (cause) {
    throw systemFault(path, "a file that can be written", cause);
  }
}

type Line = readonly [file: string, measured: Finished["measured"], fingerprint: string];

function lineOf([file, { measured, fingerprint }]: readonly [string, Finished]): Line {
  return [file, measured, fingerprint];
}

interface Noted {
  /** `undefined` where it cannot be read. */
  readonly task: unknown;
  readonly done: [string, Finished][];
}

/**
 * The task in the first line, and a line for each finished file. What is
 * damaged or cut off is as good as not done.
 */
async function readJournal(path: string): Promise<Noted> {
  const content = (await readTextAt(path)) ?? "";
  const [task, ...lines] = content.split("\n").slice(0, -1).map(parsed);
  const done = lines
    .filter(isLine)
    .map(([file, measured, fingerprint]): [string, Finished] => [file, { measured, fingerprint }]);
  return { task, done };
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function isLine(line: unknown): line is Line {
  if (!Array.isArray(line) || line.length !== 3) return false;
  const [file, measured, fingerprint] = line;
  return typeof file === "string" && typeof fingerprint === "string" && isMeasured(measured);
}

/** Whether a value is what {@link Finished} calls measured. */
export function isMeasured(value: unknown): value is Finished["measured"] {
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
  return Object.keys(NOTHING).every((key) => Number.isFinite((value as { [key: string]: unknown })[key]));
}
