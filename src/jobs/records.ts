import { createHash } from "node:crypto";
import { dirname } from "node:path";
import type { FilePlan } from "../checkpoint/plan/plan.ts";
import { inOrder } from "../io/concurrency.ts";
import { refuseObstacles, refuseOverlap } from "../io/node-folder.ts";
import { writerOf } from "../io/partial-files.ts";
import {
  makeFolderAt,
  namesAt,
  openAt,
  placeIn,
  readTextAt,
  removeAt,
  removeFolderAt,
  removeLeftoversAt,
  writeTextAt,
} from "../io/place.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { type ConversionRun, completeFolder, isMade, makeFile, removeLeftoversOf } from "./conversion.ts";
import { type FinishedFile, isMeasured } from "./journal.ts";
import { type ConversionSpec, checkConversion, hasKeys, parsed, type SharedPlan } from "./spec.ts";

/**
 * A folder in the output with what is known of an unfinished run: the run,
 * and a record for each file that is whole.
 */
const RECORDS = ".blockscale-run";
const RUN = "run.json";

/** The record of a finished file. */
export interface FileRecord extends FinishedFile {
  /** The SHA-256 of all its bytes. */
  readonly sha256: string;
  /** Fingerprint of the run that made it. */
  readonly run: string;
  readonly size: number;
}

/**
 * The run that an output folder belongs to; `null` where there is none.
 * @throws BlockscaleError `format`: its record is damaged
 */
export async function findRun(folder: string): Promise<ConversionSpec | null> {
  const path = placeIn(folder, RECORDS, RUN);
  const text = await readTextAt(path);
  return text === null ? null : checkConversion(path, parsed(text));
}

/**
 * Makes the output folder of a run that several processes share, or joins the run there.
 * @throws BlockscaleError `option`: the folder holds something else
 */
export async function joinRun(folder: string, { spec, plan, documents, opened }: SharedPlan): Promise<void> {
  await refuseOverlap(spec.from, folder);
  await refuseObstacles(folder, [...plan.files, ...documents].map(({ name }) => name).concat(opened.others));
  const found = await findRun(folder);
  if (found?.fingerprint === spec.fingerprint) return;
  if (found !== null) throw otherRun(folder, found, spec);
  await makeFolderAt(folder);
  const names = await namesAt(folder);
  const others = names.filter((name) => writerOf(name) === null && name !== RECORDS);
  if (others.length > 0) {
    // Another process may have begun the same run meanwhile, and already made a file.
    if ((await findRun(folder))?.fingerprint === spec.fingerprint) return;
    throw new BlockscaleError("option", {
      where: folder,
      expected: "a new or empty folder, or the unfinished run of this same command",
      got: `${others.length} files`,
      fix: "Choose another folder, or empty this one.",
    });
  }
  await makeFolderAt(placeIn(folder, RECORDS));
  await writeTextAt(placeIn(folder, RECORDS, RUN), JSON.stringify(spec));
}

/** @throws BlockscaleError `option`: another run goes on in a folder */
export function otherRun(
  folder: string,
  found: ConversionSpec,
  wanted: Pick<ConversionSpec, "version">,
): BlockscaleError {
  const isVersion = found.version !== wanted.version;
  return new BlockscaleError("option", {
    where: folder,
    expected: "the unfinished run of this same command, or an empty folder",
    got: isVersion
      ? `a run of version ${found.version}, and this is ${wanted.version}`
      : "the run of another command, or of an input that was changed since",
    fix: isVersion
      ? "Use the same version on all machines."
      : "Choose another folder, or empty this one; see that all machines have the same input.",
  });
}

/** The record of a file; `undefined` where this run has not made it. */
export async function recordOf(
  folder: string,
  spec: ConversionSpec,
  file: FilePlan,
): Promise<FileRecord | undefined> {
  const text = (await readTextAt(recordPath(folder, file))) ?? "";
  const record = recordIn(parsed(text));
  return record?.run === spec.fingerprint && record.size === file.size ? record : undefined;
}

/**
 * Makes one file of a run that several processes share, unless it is there already. Two processes may make
 * the same one: they write the same bytes, and each file appears whole.
 */
export async function makeRecorded(
  run: ConversionRun,
  folder: string,
  spec: ConversionSpec,
  file: FilePlan,
): Promise<{ entry: FileRecord; isNew: boolean }> {
  const path = placeIn(folder, file.name);
  const found = await recordOf(folder, spec, file);
  if (found !== undefined && (await isMade(found, file, path))) return { entry: found, isNew: false };
  await refuseObstacles(folder, [file.name]);
  let entry: FileRecord | undefined;
  await makeFolderAt(dirname(path));
  const hash = createHash("sha256");
  const record = async (finished: FinishedFile) => {
    entry = { ...finished, sha256: hash.digest("hex"), run: spec.fingerprint, size: file.size };
    await writeTextAt(recordPath(folder, file), storedRecord(entry));
  };
  await removeLeftoversOf(path);
  await makeFile(run, file, path, record, (bytes) => hash.update(bytes));
  return { entry: entry!, isNew: true };
}

/** Object storage answers slowly, but many at once. */
const LOOKS_AT_ONCE = 8;

/**
 * The files of a plan that are not there, or not whole.
 * @param options `verify`: every byte is read, and what is known of a file that differs is forgotten
 */
export async function missingFiles(
  folder: string,
  { spec, plan }: SharedPlan,
  options: { readonly verify?: boolean; readonly signal: AbortSignal },
): Promise<{ missing: FilePlan[]; entries: FileRecord[] }> {
  const look = async (file: FilePlan): Promise<{ file: FilePlan; entry: FileRecord | null }> => {
    const entry = await recordOf(folder, spec, file);
    const path = placeIn(folder, file.name);
    if (entry === undefined || !(await isMade(entry, file, path))) return { file, entry: null };
    if (options.verify !== true || (await sha256Of(path, options.signal)) === entry.sha256)
      return { file, entry };
    // A part that looks at some places alone would take it for whole again.
    await removeAt(recordPath(folder, file));
    return { file, entry: null };
  };
  function* looks() {
    for (const file of plan.files) yield look(file);
  }
  const missing: FilePlan[] = [];
  const entries: FileRecord[] = [];
  for await (const { file, entry } of inOrder(looks(), LOOKS_AT_ONCE, options.signal))
    if (entry === null) missing.push(file);
    else entries.push(entry);
  return { missing, entries };
}

async function sha256Of(path: string, signal: AbortSignal): Promise<string> {
  const source = await openAt(path);
  const hash = createHash("sha256");
  const step = 1 << 24;
  try {
    for (let at = 0; at < source.size; at += step) {
      signal.throwIfAborted();
      hash.update(new Uint8Array(await source.slice(at, Math.min(source.size, at + step)).arrayBuffer()));
    }
  } finally {
    await source.close();
  }
  return hash.digest("hex");
}

/**
 * Completes an output of which every shard is there: the files carried over,
 * config.json and the index; then forgets the run.
 * @throws BlockscaleError `io`
 */
export async function completeRun(folder: string, shared: SharedPlan, signal: AbortSignal): Promise<void> {
  await completeFolder(folder, shared.files, shared.opened, shared.documents, signal);
  await removeLeftoversAt(folder);
  await removeFolderAt(placeIn(folder, RECORDS));
}

/** Path of the record of a file. Names of files may hold folders, names of records do not. */
function recordPath(folder: string, { name }: FilePlan): string {
  return placeIn(folder, RECORDS, `${encodeURIComponent(name)}.done`);
}

/** A record as JSON, in which the sample hash is called fingerprint. */
function storedRecord({ sampleHash: fingerprint, ...record }: FileRecord): string {
  return JSON.stringify({ ...record, fingerprint });
}

/** Reads what {@link storedRecord} gives; `undefined` where it is damaged. */
function recordIn(value: unknown): FileRecord | undefined {
  if (!hasKeys(value, ["measured", "fingerprint", "sha256", "run", "size"])) return undefined;
  const { fingerprint: sampleHash, ...others } = value;
  const isRecord =
    isMeasured(others.measured) &&
    [sampleHash, others.sha256, others.run].every((hash) => typeof hash === "string") &&
    Number.isSafeInteger(others.size);
  return isRecord ? ({ ...others, sampleHash } as FileRecord) : undefined;
}
