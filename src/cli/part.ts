import { resolve } from "node:path";
import { summarize } from "../checkpoint/measure/summary.ts";
import type { Measure } from "../checkpoint/plan/conversion.ts";
import { openCheckpoint, shardSetOf } from "../checkpoint/plan/folder.ts";
import type { Precision } from "../engine/precision.ts";
import { isAddress, namesAt } from "../io/place.ts";
import type { ConversionSettings } from "../jobs/conversion.ts";
import { filesOfPart, type PartNumber } from "../jobs/parts.ts";
import {
  completeRun,
  type FileRecord,
  findRun,
  joinRun,
  makeRecorded,
  missingFiles,
  otherRun,
} from "../jobs/records.ts";
import { planShared, type SharedPlan } from "../jobs/spec.ts";
import { startConversionThreads, threadsFor } from "../jobs/threads.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { isFinishedFolder, openIfIdle } from "./convert-folder.ts";
import * as figures from "./figures.ts";
import { type Input, openInput } from "./input.ts";
import { print, printJson } from "./print.ts";
import { startProgress } from "./progress.ts";
import { printResult, resultOfExisting, resultOfSummary } from "./results.ts";
import { version } from "./version.ts";

/** A path as every process of a machine understands it, or an address as it is. */
export function placeOf(text: string): string {
  return isAddress(text) ? text : resolve(text);
}

/**
 * Opens an input that several machines are to read.
 * @throws BlockscaleError `option`: a single file, which is one job
 */
export async function openShared(from: string, signal: AbortSignal): Promise<Input> {
  const input = await openInput(from, signal);
  if (input.isFolder) return input;
  await input.close();
  throw new BlockscaleError("option", {
    where: "IN",
    expected: "a folder: its shards are what is shared out",
    got: from,
    fix: "Convert a single file on one machine.",
  });
}

/**
 * Says so where OUT is the finished output of these very options already: there is nothing to share out.
 * @returns whether it is
 */
export async function tellFinished(
  to: string,
  shared: SharedPlan,
  flags: { readonly json?: true },
  signal: AbortSignal,
): Promise<boolean> {
  if ((await findRun(to)) !== null || (await namesAt(to).catch(() => [])).length === 0) return false;
  const { files: chosen, opened, plan, documents, spec } = shared;
  const workers = await startConversionThreads(opened.sources, 1);
  const run = {
    opened,
    workers,
    measure: "sample",
    signal,
    onProgress: () => {},
    measured: new Map(),
  } as const;
  const isFinished = await isFinishedFolder({ ...run, chosen, plan, documents }, to);
  await workers.stop();
  if (isFinished)
    await printResult(flags, resultOfExisting({ from: spec.from, to, task: spec, opened, plan }));
  return isFinished;
}

interface PartFlags {
  readonly threads?: number;
  readonly measure: Measure;
  readonly json?: true;
}

/** `blockscale quantize IN OUT --part i/N`: makes the output files of one part. */
export async function convertPart(
  from: string,
  to: string,
  part: PartNumber,
  task: ConversionSettings,
  flags: PartFlags,
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now();
  const input = await openShared(from, signal);
  try {
    const shared = await planShared({ from: placeOf(from), version: version(), ...task }, input.files);
    if (await tellFinished(to, shared, flags, signal)) return;
    await joinRun(to, shared);
    const mine = filesOfPart(shared.plan.files, part);
    const workers = await startConversionThreads(
      shared.opened.sources,
      threadsFor({ ...shared.plan, files: mine }, flags.threads),
    );
    const size = mine.reduce((sum, file) => sum + file.size, 0);
    const progress = startProgress(size);
    let made = 0;
    try {
      const measured = new Map<string, Precision>();
      const { opened } = shared;
      const run = { opened, workers, measure: flags.measure, signal, onProgress: progress.update, measured };
      for (const file of mine) {
        signal.throwIfAborted();
        const { isNew } = await makeRecorded(run, to, shared.spec, file);
        if (isNew) made++;
        progress.finish(file.size);
      }
    } finally {
      progress.stop();
      await workers.stop();
    }
    const seconds = (performance.now() - started) / 1000;
    if (flags.json === true)
      await printJson({
        input: from,
        output: to,
        ...part,
        files: mine.map(({ name, size }) => ({ name, bytes: size })),
        made,
      });
    else
      await print(
        `Part ${part.part} of ${part.of}: ${mine.length} of ${shared.plan.files.length} files, ${figures.bytes(size)}, ${made} of them made now, in ${seconds.toFixed(1)} s. When all parts are done: blockscale finish ${figures.text(to)}`,
      );
  } finally {
    await input.close();
  }
}

interface FinishFlags {
  readonly verify?: true;
  readonly json?: true;
}

/** `blockscale finish OUT` of a conversion: completes what parts have made. */
export async function finishConversion(to: string, flags: FinishFlags, signal: AbortSignal): Promise<void> {
  const started = performance.now();
  const spec = await findRun(to);
  if (spec === null) {
    if (flags.verify !== true && (await holdsFinished(to))) return tellNothingLeft(to, flags);
    throw noRun(to);
  }
  if (spec.version !== version()) throw otherRun(to, spec, { version: version() });
  const input = await openShared(spec.from, signal);
  try {
    const shared = await planShared(spec, input.files);
    if (shared.spec.fingerprint !== spec.fingerprint) throw otherRun(to, spec, shared.spec);
    const { missing, entries } = await missingFiles(to, shared, { verify: flags.verify === true, signal });
    if (missing.length > 0) throw incomplete(to, missing.length, shared.plan.files.length, missing[0]!.name);
    await finishRun(to, shared, entries, { ...flags, started }, signal);
  } finally {
    await input.close();
  }
}

/**
 * Completes an output of which every file is there and whole, and reports.
 * @param entries what is known of each file
 */
export async function finishRun(
  to: string,
  shared: SharedPlan,
  entries: readonly FileRecord[],
  flags: { readonly json?: true; readonly started: number },
  signal: AbortSignal,
): Promise<void> {
  const { spec, opened, plan } = shared;
  await completeRun(to, shared, signal);
  const summary = summarize(plan, new Map(entries.flatMap(({ measured }) => measured)));
  const { from } = spec;
  await printResult(
    flags,
    resultOfSummary({ from, to, task: spec, opened, plan, summary, started: flags.started }),
  );
}

/** Whether a folder holds a checkpoint, and no run on this machine that is not finished. */
async function holdsFinished(folder: string): Promise<boolean> {
  const input = await openIfIdle(folder);
  if (input === null) return false;
  try {
    const { index } = await openCheckpoint(input.files, folder);
    // Without their index, not all numbered shards may be there.
    return index !== null || ![...input.files.keys()].some((name) => shardSetOf(name) !== undefined);
  } catch (error) {
    if (!(error instanceof BlockscaleError)) throw error;
    return false;
  } finally {
    await input.close();
  }
}

function tellNothingLeft(to: string, flags: { readonly json?: true }): Promise<void> {
  return printResult(flags, {
    record: { output: to, alreadyDone: true },
    lines: () => `Nothing to finish: ${figures.text(to)} holds a checkpoint and no unfinished parts.`,
  });
}

function noRun(to: string): BlockscaleError {
  return new BlockscaleError("option", {
    where: to,
    expected: "an unfinished run of parts",
    got: "none",
    fix: "Give the OUT of `blockscale quantize IN OUT --part i/N`; one that is finished needs nothing more.",
  });
}

function incomplete(to: string, missing: number, all: number, first: string): BlockscaleError {
  return new BlockscaleError("io", {
    where: to,
    expected: `all ${all} output files, whole`,
    got: `${missing} missing, or damaged: ${first}${missing > 1 ? " and others" : ""}`,
    fix: "Run the parts that are not done again; what is whole is not made twice.",
  });
}
