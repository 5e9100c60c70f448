import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Job } from "bullmq";
import type { Source } from "../../io/source.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { findRun, makeRecorded, otherRun } from "../records.ts";
import { planShared, type SharedPlan, type Spec } from "../spec.ts";
import { startWorkers, threadsFor, type Workers } from "../threads.ts";
import { type Connection, openLibrary, QUEUE } from "./connection.ts";
import { checkJob, type JobData, type JobProgress, type JobResult, refusePlaces } from "./job.ts";

export interface ServeOptions {
  readonly version: string;
  /** Folders, and beginnings of addresses, that jobs may read and write. */
  readonly allowed: readonly string[];
  /** Threads of one job; one for each core, as far as they pay, if left out. */
  readonly jobs?: number | undefined;
  /** Seconds without a sign of life after which a job counts as nobody's. */
  readonly stalledAfter: number;
  /** Aborted when the worker shall end: the job under way is still finished. */
  readonly signal: AbortSignal;
  open(place: string): Promise<{ readonly files: ReadonlyMap<string, Source>; close(): Promise<void> }>;
  onEvent(event: { readonly kind: "done" | "failed" | "trouble"; readonly text: string }): void;
}

/** A run that has been opened: kept from one job to the next. */
interface Opened {
  readonly key: string;
  readonly shared: SharedPlan;
  readonly workers: Workers;
  close(): Promise<void>;
}

/** How often a job may lose its worker before it counts as failed: machines die, but a shard that kills them all must end. */
const MOST_STALLS = 20;
const PROGRESS_MILLISECONDS = 1000;

/**
 * Takes jobs from a queue and does them, one at a time, until the signal is aborted.
 * @throws BlockscaleError `option` or `io`: no library, no Redis
 */
export async function serveQueue(connection: Connection, options: ServeOptions): Promise<void> {
  const { Worker } = await openLibrary(connection);
  const name = `${hostname()}-${process.pid}-${randomBytes(2).toString("hex")}`;
  const runner = new JobRunner(options);
  const worker = new Worker<JobData, JobResult>(QUEUE, (job) => runner.work(job, name), {
    connection,
    concurrency: 1,
    lockDuration: options.stalledAfter * 1000,
    stalledInterval: options.stalledAfter * 500,
    maxStalledCount: MOST_STALLS,
    name,
  });
  worker.on("completed", (job) => options.onEvent({ kind: "done", text: job.data.file }));
  worker.on("failed", (job, { message }) =>
    options.onEvent({ kind: "failed", text: `${job?.data.file ?? "a job"}: ${message}` }),
  );
  worker.on("error", ({ message }) => options.onEvent({ kind: "trouble", text: message }));
  try {
    if (!options.signal.aborted) {
      await new Promise((resolve) => options.signal.addEventListener("abort", resolve, { once: true }));
    }
  } finally {
    await worker.close();
    await runner.close();
  }
}

/** Does one job after the other, and keeps what the last one opened. */
class JobRunner {
  readonly #options: ServeOptions;
  #opened: Opened | null = null;

  constructor(options: ServeOptions) {
    this.#options = options;
  }

  async work(job: Job<JobData, JobResult>, worker: string): Promise<JobResult> {
    const data = checkJob(job.data);
    await refusePlaces(data, this.#options.allowed);
    await this.#refuseOther(data);
    const { shared, workers } = await this.#open(data.spec);
    const file = shared.plan.files.find(({ name }) => name === data.file);
    if (file === undefined) throw noFile(data.file);
    let told = 0;
    const tell = (bytes: number): void => {
      if (performance.now() - told < PROGRESS_MILLISECONDS) return;
      told = performance.now();
      // Nothing depends on it: where Redis is away just now, the next one will do.
      job.updateProgress({ bytes, worker } satisfies JobProgress).catch(() => {});
    };
    tell(0);
    const { entry } = await makeRecorded(
      {
        opened: shared.opened,
        workers,
        signal: new AbortController().signal,
        onProgress: ({ bytes }) => tell(bytes),
        measure: "sample",
        measured: new Map(),
      },
      data.to,
      shared.spec,
      file,
    );
    return { size: entry.size, sha256: entry.sha256, worker };
  }

  /** The output must be that of this very run, begun by who asks for it: no other folder is ever written to. */
  async #refuseOther({ spec, to }: JobData): Promise<void> {
    const { version } = this.#options;
    if (spec.version !== version) throw otherRun(to, spec, { version });
    const found = await findRun(to);
    if (found?.fingerprint === spec.fingerprint) return;
    throw new BlockscaleError("option", {
      where: to,
      expected: "the output folder of this run, as its coordinator made it",
      got: found === null ? "no such folder, or one of something else" : "that of another run",
      fix: "See that all machines share the folder under one path.",
    });
  }

  async #open(spec: Spec): Promise<Opened> {
    const key = JSON.stringify(spec);
    if (this.#opened?.key === key) return this.#opened;
    await this.close();
    const input = await this.#options.open(spec.from);
    try {
      const shared = await planShared(spec, input.files);
      if (shared.spec.fingerprint !== spec.fingerprint) throw otherRun(spec.from, spec, shared.spec);
      const threads = Math.max(1, threadsFor(shared.plan, this.#options.jobs));
      // Never in this thread: it has to tell Redis that it is alive.
      const workers = await startWorkers(shared.opened.sources, threads, 1);
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

function noFile(name: string): BlockscaleError {
  return new BlockscaleError("format", {
    where: "a job of the queue",
    expected: "a file of the plan",
    got: name.slice(0, 200),
    fix: "Something else writes into this queue.",
  });
}
