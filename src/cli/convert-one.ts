import { basename, dirname } from "node:path";
import { summarize } from "../checkpoint/measure/summary.ts";
import type { Measure } from "../checkpoint/plan/conversion.ts";
import { chooseFiles, documentsOf, openCheckpoint } from "../checkpoint/plan/folder.ts";
import type { FilePlan } from "../checkpoint/plan/plan.ts";
import type { Precision } from "../engine/precision.ts";
import { isSameFile } from "../io/node.ts";
import { refuseObstacles, refuseOverlap } from "../io/node-folder.ts";
import { openAt } from "../io/place.ts";
import {
  beginsAsOutput,
  type ConversionRun,
  type ConversionSettings,
  makeFile,
  planOf,
  removeLeftoversOf,
} from "../jobs/conversion.ts";
import { isFinished } from "../jobs/finished.ts";
import { startConversionThreads, threadsFor } from "../jobs/threads.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { convertFolder, type FolderRun, isFinishedFolder } from "./convert-folder.ts";
import type { Input } from "./input.ts";
import { startProgress } from "./progress.ts";
import type { ReportedConversion } from "./report.ts";
import {
  type CommandResult,
  type Planned,
  resultOfExisting,
  resultOfPlan,
  resultOfSummary,
} from "./results.ts";

/** Options that quantize and dequantize share. */
export interface ConvertFlags {
  /** Worker threads; one for each core, as far as they pay, if left out. */
  readonly threads?: number;
  readonly dryRun?: true;
  readonly json?: true;
  readonly overwrite?: true;
  readonly measure: Measure;
  /** Patterns of the .safetensors files that are the model. */
  readonly files?: readonly string[];
  /** Path of a page to be written besides. */
  readonly report?: string;
}

/** One conversion to be done: what, where from and where to. */
export interface ConversionJob {
  readonly from: string;
  readonly to: string;
  readonly task: ConversionSettings;
  readonly flags: ConvertFlags;
  readonly signal: AbortSignal;
}

/**
 * Converts one checkpoint, a file or a folder.
 * @param print prints the result
 * @returns what a report can tell of; `null` where nothing was converted
 */
export async function convertOne(
  input: Pick<Input, "isFolder" | "files">,
  job: ConversionJob,
  print: (result: CommandResult) => Promise<void>,
): Promise<ReportedConversion | null> {
  const { from, to, task, flags, signal } = job;
  const started = performance.now();
  const { files: chosen, leftOut: notChosen } = chooseFiles(input.files, flags.files);
  const opened = await openCheckpoint(chosen, from);
  const whole = planOf(task, opened);
  // The names of a folder's files stay; a single file has the name that it is given.
  const plan = input.isFolder
    ? whole
    : { ...whole, files: whole.files.map((file) => ({ ...file, name: basename(to) })) };
  const planned: Planned = { from, to, task, opened, notChosen, plan };
  const documents = input.isFolder ? documentsOf(opened, plan, task.direction) : [];
  refuseName(to, input.isFolder);
  if (flags.dryRun === true) {
    await print(resultOfPlan(planned));
    return null;
  }
  if (input.isFolder) {
    await refuseOverlap(from, to);
    await refuseObstacles(to, [...plan.files, ...documents].map(({ name }) => name).concat(opened.others));
  } else {
    await refuseSameFile(from, to);
    await refuseObstacles(dirname(to), [basename(to)]);
    if (flags.overwrite !== true) await refuseTaken(to, plan.files[0]!);
  }
  const workers = await startConversionThreads(opened.sources, threadsFor(plan, flags.threads));
  const progress = startProgress(plan.files.reduce((n, { size }) => n + size, 0));
  const { measure } = flags;
  const measured = new Map<string, Precision>();
  const run: ConversionRun = { opened, workers, measure, signal, onProgress: progress.update, measured };
  try {
    const folder: FolderRun = { ...run, chosen, plan, documents, task, finish: progress.finish };
    // Figures of all values, and what a page shows, come only from a run: then it is made again.
    const mayBeDone = flags.overwrite !== true && flags.report === undefined && measure !== "all";
    if (mayBeDone && (await (input.isFolder ? isFinishedFolder(folder, to) : isFinishedFile(run, planned)))) {
      await print(resultOfExisting(planned));
      return null;
    }
    if (input.isFolder) await convertFolder(folder, to, flags.overwrite === true);
    else {
      await removeLeftoversOf(to);
      await makeFile(run, plan.files[0]!, to);
    }
  } finally {
    progress.stop();
    await workers.stop();
  }
  const summary = summarize(plan, measured);
  await print(resultOfSummary({ ...planned, summary, started }));
  return { to, opened, plan, measured, summary };
}

async function isFinishedFile(run: ConversionRun, { to, plan, opened }: Planned): Promise<boolean> {
  const found = await openAt(to).catch(() => undefined);
  if (found === undefined) return false;
  try {
    const expected = { plan, documents: [], others: new Map(), inputs: opened.sources };
    return await isFinished(run, expected, new Map([[plan.files[0]!.name, found]]));
  } finally {
    await found.close();
  }
}

/**
 * A folder becomes a folder, a file a file: a name of the other kind would make
 * something that is called what it is not.
 */
function refuseName(to: string, isFolder: boolean): void {
  if (to === "-") {
    throw new BlockscaleError("option", {
      where: "OUT",
      expected: "the name of a file or folder",
      got: "-, which stands for standard output elsewhere",
      fix: "Outputs appear when they are whole: give a name, or ./- for a folder of that name.",
    });
  }
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

/** Refuses an OUT that is there already, unless this very command has made it. */
async function refuseTaken(path: string, file: FilePlan): Promise<void> {
  const found = await openAt(path).catch(() => undefined);
  if (found === undefined) return;
  try {
    if (await beginsAsOutput(found, file)) return;
  } finally {
    await found.close();
  }
  throw new BlockscaleError("option", {
    where: path,
    expected: "a new file, or the output of this same command",
    got: "another file, or a damaged one",
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
