import type { FilePlan } from "../../checkpoint/plan/plan.ts";
import { placeIn } from "../../io/place.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { isMade } from "../conversion.ts";
import { type FileRecord, findRun, makeRecorded, otherRun, recordOf } from "../records.ts";
import {
  type ConversionSpec,
  checkConversion,
  hasKeys,
  isText,
  LONGEST_PATH,
  planShared,
  type SharedPlan,
} from "../spec.ts";
import { type ConversionThreads, startConversionThreads, threadsFor } from "../threads.ts";
import { refusePlaces } from "./places.ts";
import {
  idOf,
  type JobHandler,
  type QueueWorkerOptions,
  refuseJob,
  type Work,
  type WorkItem,
} from "./work.ts";

/** One output file of a run. */
export interface FileJob {
  readonly spec: ConversionSpec;
  /** The output folder, as every machine sees it. */
  readonly to: string;
  readonly file: string;
}

/** What a worker reports about a file that it has made. */
interface FileResult {
  readonly size: number;
  readonly sha256: string;
}

/** @throws BlockscaleError `format`: no job of ours */
export function checkFileJob(value: unknown): FileJob {
  if (!hasKeys(value, ["spec", "to", "file"]) || !isText(value.to, LONGEST_PATH) || !isText(value.file, 1024))
    return refuseJob("a run, its output and a file", value);
  return { spec: checkConversion("a job of the queue", value.spec), to: value.to, file: value.file };
}

function isResult(value: unknown): value is FileResult {
  return hasKeys(value, ["size", "sha256"]) && Number.isSafeInteger(value.size) && isText(value.sha256, 64);
}

/**
 * A job for every file of a plan. What a worker reports is checked before it counts.
 * @returns the work, and a list that grows: the record of each file whose result was accepted
 */
export function conversionWork(
  to: string,
  { spec, plan }: SharedPlan,
): { readonly work: Work; readonly entries: readonly FileRecord[] } {
  const files = new Map<WorkItem, FilePlan>();
  const entries: FileRecord[] = [];
  for (const file of plan.files) {
    const data: FileJob = { spec, to, file: file.name };
    const id = idOf(spec.fingerprint, to, file.name);
    files.set({ id, name: file.name, size: file.size, data }, file);
  }
  const accept = async (item: WorkItem, result: unknown): Promise<boolean> => {
    const file = files.get(item)!;
    const entry = await recordOf(to, spec, file);
    const isRecorded =
      entry !== undefined && isResult(result) && result.size === file.size && result.sha256 === entry.sha256;
    if (!isRecorded || !(await isMade(entry, file, placeIn(to, file.name)))) return false;
    entries.push(entry);
    return true;
  };
  return { entries, work: { kind: spec.direction.kind, unit: "bytes", items: [...files.keys()], accept } };
}

/** A run that has been opened: kept from one job to the next. */
interface OpenedRun {
  readonly key: string;
  readonly shared: SharedPlan;
  readonly workers: ConversionThreads;
  close(): Promise<void>;
}

/** Runs the jobs of a conversion: each makes one output file. */
export class ConversionHandler implements JobHandler<FileJob> {
  readonly #options: QueueWorkerOptions;
  #opened: OpenedRun | null = null;

  constructor(options: QueueWorkerOptions) {
    this.#options = options;
  }

  async work(data: FileJob, tell: (bytes: number, size: number) => void): Promise<FileResult> {
    await refusePlaces({ reads: [data.spec.from], writes: [data.to] }, this.#options.allowed);
    await this.#refuseOther(data);
    const { shared, workers } = await this.#open(data.spec);
    const file = shared.plan.files.find(({ name }) => name === data.file);
    if (file === undefined) return refuseJob("a file of the plan", data.file);
    const { entry } = await makeRecorded(
      {
        opened: shared.opened,
        workers,
        signal: new AbortController().signal,
        onProgress: ({ bytes }) => tell(bytes, file.size),
        measure: "sample",
        measured: new Map(),
      },
      data.to,
      shared.spec,
      file,
    );
    return { size: entry.size, sha256: entry.sha256 };
  }

  /**
   * Refuses an output folder that the coordinator of this run has not made: a worker writes to no other one.
   */
  async #refuseOther({ spec, to }: FileJob): Promise<void> {
    const { version } = this.#options;
    if (spec.version !== version) throw otherRun(to, spec, { version });
    const found = await findRun(to);
    if (found?.fingerprint === spec.fingerprint) return;
    throw new BlockscaleError("option", {
      where: to,
      expected: "the output folder of this run, as its coordinator made it",
      got: found === null ? "no such folder, or one without a run" : "that of another run",
      fix: "Make sure that all machines see the folder under the same path.",
    });
  }

  async #open(spec: ConversionSpec): Promise<OpenedRun> {
    const key = JSON.stringify(spec);
    if (this.#opened?.key === key) return this.#opened;
    await this.close();
    const input = await this.#options.open(spec.from);
    try {
      const shared = await planShared(spec, input.files);
      if (shared.spec.fingerprint !== spec.fingerprint) throw otherRun(spec.from, spec, shared.spec);
      const threads = Math.max(1, threadsFor(shared.plan, this.#options.threads));
      // No work in this thread, even with one worker: it has to tell Redis that it is alive.
      const workers = await startConversionThreads(shared.opened.sources, threads, 1);
      const close = async (): Promise<void> => {
        await workers.stop();
        await input.close();
      };
      this.#opened = { key, shared, workers, close };
      return this.#opened;
    } catch (error) {
      await input.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    const opened = this.#opened;
    this.#opened = null;
    await opened?.close();
  }
}
