import { appendFile, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { BlockscaleError } from "../errors.ts";
import { makeFolder, systemFault, writerOf, writeText } from "../io/node.ts";
import { removeLeftovers } from "../io/node-folder.ts";
import type { Precision } from "../precision.ts";

const NAME = ".blockscale-unfinished.jsonl";

/** What was measured in one finished file, by weight. */
type Measured = readonly (readonly [weight: string, precision: Precision])[];

/**
 * Remembers in the output folder which files are whole, so that a run that was cut off can go on. It disappears with
 * the end of the run.
 */
export interface Journal {
  /** Whether an unfinished run is taken up. */
  readonly goesOn: boolean;
  /** What was measured in a file that an earlier run finished; `undefined` where it still has to be made. */
  finished(file: string): Measured | undefined;
  /** To be told before a whole file appears under its name: what happens to stand there already does not count. */
  add(file: string, measured: Measured): Promise<void>;
  remove(): Promise<void>;
}

/**
 * Makes the output folder, or takes up an unfinished run there.
 * @param task what is being done to which input: an unfinished run of another task is not taken up
 * @throws BlockscaleError `option`: the folder holds something else
 */
export async function openJournal(folder: string, task: unknown, overwrite: boolean): Promise<Journal> {
  await makeFolder(folder);
  const files = await filesIn(folder);
  const wanted = JSON.stringify(task);
  const found = files.includes(NAME) ? await readJournal(join(folder, NAME)) : null;
  const isSame = found !== null && JSON.stringify(found.task) === wanted;
  if (files.length > 0 && !isSame && !overwrite) {
    throw new BlockscaleError("option", {
      where: folder,
      expected: "a new or empty folder, or the unfinished run of this same command",
      got:
        found === null
          ? `${files.length} files`
          : "the unfinished run of another command, or of a changed input",
      fix: "Choose another folder, empty this one, or pass --overwrite.",
    });
  }
  await removeLeftovers(folder);
  const done = new Map<string, Measured>(isSame ? found.done : []);
  const path = join(folder, NAME);
  // Written anew even where a run is taken up: a line that was cut off must not be continued.
  await writeText(path, [task, ...done].map((line) => `${JSON.stringify(line)}\n`).join(""));
  return {
    goesOn: isSame,
    finished: (file) => done.get(file),
    add: async (file, measured) => {
      done.set(file, measured);
      await appendLine(path, [file, measured]);
    },
    remove: () => rm(path, { force: true }),
  };
}

/** Names in the folder, without those of files being written. */
async function filesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((cause) => {
    throw systemFault(folder, "a readable folder", cause);
  });
  return names.filter((name) => writerOf(name) === null);
}

/** Not synced: what a power cut may take from the journal is done again. */
async function appendLine(path: string, line: unknown): Promise<void> {
  try {
    await appendFile(path, `${JSON.stringify(line)}\n`);
  } catch (cause) {
    throw systemFault(path, "a file that can be written", cause);
  }
}

/** The task in the first line, and a line for each finished file; what was cut off is left out. */
async function readJournal(path: string): Promise<{ task: unknown; done: [string, Measured][] }> {
  const lines = (await readFile(path, "utf8").catch(() => "")).split("\n").slice(0, -1);
  const parsed = lines.flatMap((line): unknown[] => {
    try {
      return [JSON.parse(line)];
    } catch {
      return [];
    }
  });
  return { task: parsed[0], done: parsed.slice(1) as [string, Measured][] };
}
