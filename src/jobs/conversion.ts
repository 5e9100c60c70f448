import { basename, dirname } from "node:path";
import type { Document } from "../checkpoint/dialects/index.ts";
import type { Measure } from "../checkpoint/plan/conversion.ts";
import { planDequantize } from "../checkpoint/plan/dequantize.ts";
import type { Direction, OpenedCheckpoint } from "../checkpoint/plan/folder.ts";
import { conversionsOf, type FilePlan, type Plan } from "../checkpoint/plan/plan.ts";
import { planQuantize } from "../checkpoint/plan/quantize.ts";
import { shardsOf, sourceBytes } from "../checkpoint/run/outputs.ts";
import { fileBytes, type Progress, streamOf } from "../checkpoint/run/run.ts";
import type { Precision } from "../engine/precision.ts";
import {
  createAt,
  makeFolderAt,
  openAt,
  placeIn,
  removeAt,
  removeLeftoversAt,
  writeTextAt,
} from "../io/place.ts";
import { giveBack, type Source } from "../io/source.ts";
import { Fingerprint, fingerprintOf } from "./fingerprint.ts";
import type { Finished } from "./journal.ts";
import type { Workers } from "./threads.ts";

/** The settings of a conversion: together with the input, they decide every byte of the output. */
export interface Task {
  readonly direction: Direction;
  /** Options of `planQuantize` or `planDequantize`. */
  readonly options: object;
}

/** @throws BlockscaleError `option`, `dialect` or `format` */
export function planOf({ direction, options }: Task, { checkpoint }: OpenedCheckpoint): Plan {
  return direction.kind === "quantize"
    ? planQuantize(checkpoint, options)
    : planDequantize(checkpoint, options);
}

/** A conversion under way in this process. */
export interface Run {
  readonly opened: OpenedCheckpoint;
  readonly workers: Workers;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
  readonly measure: Measure;
  /** What was measured of the weights that are done. */
  readonly measured: Map<string, Precision>;
}

/**
 * Name, size, and time or tag of each file: what tells this input from another, or from what it was before.
 */
export function identityOf(files: ReadonlyMap<string, Source>): [string, number, number | string | null][] {
  return [...files].map(([name, source]) => {
    const { modified, tag } = source as { modified?: number; tag?: string | null };
    return [name, source.size, modified ?? tag ?? null];
  });
}

/** Removes what runs that were killed have left of one file. */
export async function removeLeftoversOf(path: string): Promise<void> {
  await removeLeftoversAt(dirname(path), (name) => name.startsWith(`.${basename(path)}.`));
}

/**
 * Makes one output file, in a folder that is there. It appears under its name when it is whole.
 * @param beforeRename told what was made, just before that
 * @param onBytes told of all its bytes, one piece after another
 * @throws BlockscaleError `io`; what the signal was aborted with
 */
export async function makeFile(
  run: Run,
  file: FilePlan,
  path: string,
  beforeRename?: (finished: Finished) => Promise<void>,
  onBytes?: (bytes: Uint8Array) => void,
): Promise<void> {
  const { opened, workers, measure, signal, onProgress } = run;
  const measured: [string, Precision][] = [];
  const fingerprint = new Fingerprint(file.size);
  const made = async () => {
    await refuseChange(shardsOf(file, opened.sources));
    await beforeRename?.({ measured, fingerprint: fingerprint.digest() });
  };
  const sink = await createAt(path, file.size, made, modeOf(shardsOf(file, opened.sources)[0]));
  const bytes = fileBytes(file, {
    sources: opened.sources,
    convert: workers.convert,
    ahead: workers.ahead,
    measure,
    signal,
    onProgress,
    onPrecision: (name, precision) => measured.push([name, precision]),
  });
  await writeAll(bytes, sink, (chunk) => {
    fingerprint.update(chunk);
    onBytes?.(chunk);
  });
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

/** Whether a file was made before, as noted, and is still there as it was, as far as a short look tells. */
export async function isMade(finished: Finished | undefined, file: FilePlan, path: string): Promise<boolean> {
  if (finished === undefined) return false;
  const { measured, fingerprint } = finished;
  const weights = conversionsOf({ files: [file] }).map(({ from }) => from.name);
  if (String(measured.map(([name]) => name)) !== String(weights)) return false;
  const found = await openAt(path).catch(() => undefined);
  try {
    if (found === undefined || !(await isOutput(found, file))) return false;
    return (await fingerprintOf(path, found)) === fingerprint;
  } finally {
    await found?.close();
  }
}

/** Whether a file is as long and begins as the output would. */
export async function isOutput(found: Source | undefined, { header, size }: FilePlan): Promise<boolean> {
  if (found?.size !== size) return false;
  return Buffer.from(await found.slice(0, header.length).arrayBuffer()).equals(header);
}

/** What a finished checkpoint has besides its shards: files carried over, and documents written anew. */
export async function completeFolder(
  folder: string,
  files: ReadonlyMap<string, Source>,
  opened: OpenedCheckpoint,
  documents: readonly Document[],
  signal: AbortSignal,
): Promise<void> {
  await refuseChange(files.values());
  for (const name of opened.others) {
    signal.throwIfAborted();
    await carry(files.get(name)!, placeIn(folder, name), signal);
  }
  for (const { name, text } of documents)
    await writeTextAt(placeIn(folder, name), text, modeOf(files.get(name)));
}

/** Copies a file that belongs to the checkpoint and holds no tensors. */
export async function carry(source: Source, path: string, signal: AbortSignal): Promise<void> {
  await makeFolderAt(dirname(path));
  await streamOf(sourceBytes(path, source)).pipeTo(
    await createAt(path, source.size, undefined, modeOf(source)),
    { signal },
  );
}

/** The mode of a file on disk, which what is made of it keeps. */
function modeOf(source: Source | undefined): number | undefined {
  return (source as { mode?: number } | undefined)?.mode;
}

/** Refuses an output made of files of which some are not what they were at first. */
async function refuseChange(sources: Iterable<Source>): Promise<void> {
  for (const source of sources) await source.refuseChange?.();
}

/** Removes what stands under the names of files to be made. */
export async function removeFiles(folder: string, files: readonly FilePlan[]): Promise<void> {
  await Promise.all(files.map(({ name }) => removeAt(placeIn(folder, name))));
}
