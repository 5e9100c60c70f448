import { basename, dirname } from "node:path";
import type { OutputText } from "../checkpoint/dialects/index.ts";
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
import type { FinishedFile } from "./journal.ts";
import { SampleHash, sampleHashOf } from "./sample-hash.ts";
import type { ConversionThreads } from "./threads.ts";

/** The settings of a conversion. Together with the input, they determine every byte of the output. */
export interface ConversionSettings {
  readonly direction: Direction;
  /** Options of `planQuantize` or `planDequantize`. */
  readonly options: object;
}

/** @throws BlockscaleError `option`, `dialect` or `format` */
export function planOf({ direction, options }: ConversionSettings, { checkpoint }: OpenedCheckpoint): Plan {
  return direction.kind === "quantize"
    ? planQuantize(checkpoint, options)
    : planDequantize(checkpoint, options);
}

/** A conversion that this process is running. */
export interface ConversionRun {
  readonly opened: OpenedCheckpoint;
  readonly workers: ConversionThreads;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
  readonly measure: Measure;
  /** The measured errors of the weights that are done. */
  readonly measured: Map<string, Precision>;
}

/**
 * Name, size, and time or ETag of each file. They tell whether an input is the same, and unchanged.
 */
export function identityOf(files: ReadonlyMap<string, Source>): [string, number, number | string | null][] {
  return [...files].map(([name, source]) => {
    const { modified, tag } = source as { modified?: number; tag?: string | null };
    return [name, source.size, modified ?? tag ?? null];
  });
}

/** Removes temporary files that killed runs have left of one output file. */
export async function removeLeftoversOf(path: string): Promise<void> {
  await removeLeftoversAt(dirname(path), (name) => name.startsWith(`.${basename(path)}.`));
}

/**
 * Makes one output file in an existing folder. It gets its name when it is complete.
 * @param beforeRename called with the result just before the file gets its name
 * @param onBytes called with all bytes of the file, one piece after another
 * @throws BlockscaleError `io`; what the signal was aborted with
 */
export async function makeFile(
  run: ConversionRun,
  file: FilePlan,
  path: string,
  beforeRename?: (finished: FinishedFile) => Promise<void>,
  onBytes?: (bytes: Uint8Array) => void,
): Promise<void> {
  const { opened, workers, measure, signal, onProgress } = run;
  const measured: [string, Precision][] = [];
  const sampleHash = new SampleHash(file.size);
  const made = async () => {
    await checkUnchanged(shardsOf(file, opened.sources));
    await beforeRename?.({ measured, sampleHash: sampleHash.digest() });
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
    sampleHash.update(chunk);
    onBytes?.(chunk);
  });
  for (const [name, precision] of measured) run.measured.set(name, precision);
}

/** Like pipeTo, but reuses the memory of each chunk after it has been written. */
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

/**
 * Whether a file that an earlier run finished is still there and, as far as its sample hash tells, unchanged.
 */
export async function isMade(
  finished: FinishedFile | undefined,
  file: FilePlan,
  path: string,
): Promise<boolean> {
  if (finished === undefined) return false;
  const { measured, sampleHash } = finished;
  const weights = conversionsOf({ files: [file] }).map(({ from }) => from.name);
  if (String(measured.map(([name]) => name)) !== String(weights)) return false;
  const found = await openAt(path).catch(() => undefined);
  try {
    if (found === undefined || !(await beginsAsOutput(found, file))) return false;
    return (await sampleHashOf(path, found)) === sampleHash;
  } finally {
    await found?.close();
  }
}

/** Whether a file has the size and the header of the planned output. */
export async function beginsAsOutput(
  found: Source | undefined,
  { header, size }: FilePlan,
): Promise<boolean> {
  if (found?.size !== size) return false;
  return Buffer.from(await found.slice(0, header.length).arrayBuffer()).equals(header);
}

/** Writes the files of a checkpoint besides its shards: copies the other files, and writes the documents. */
export async function completeFolder(
  folder: string,
  files: ReadonlyMap<string, Source>,
  opened: OpenedCheckpoint,
  documents: readonly OutputText[],
  signal: AbortSignal,
): Promise<void> {
  await checkUnchanged(files.values());
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

/** The file mode of an input on disk. Outputs get the same one. */
function modeOf(source: Source | undefined): number | undefined {
  return (source as { mode?: number } | undefined)?.mode;
}

/** Throws if one of the input files has changed since it was opened. */
async function checkUnchanged(sources: Iterable<Source>): Promise<void> {
  for (const source of sources) await source.checkUnchanged?.();
}

/** Removes existing files with the names of the planned ones. */
export async function removeFiles(folder: string, files: readonly FilePlan[]): Promise<void> {
  await Promise.all(files.map(({ name }) => removeAt(placeIn(folder, name))));
}
