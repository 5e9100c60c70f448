import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Job } from "bullmq";
import { hasKeys } from "../spec.ts";
import { type Connection, openLibrary, QUEUE } from "./connection.ts";
import { ConversionHandler, checkFileJob } from "./conversion.ts";
import { checkScoreJob, EvaluationHandler } from "./evaluation.ts";
import type { JobHandler, JobProgress, QueueWorkerOptions } from "./work.ts";

/**
 * How often a job may lose its worker before it counts as failed: machines
 * die, but a job that kills them all must end.
 */
const MOST_STALLS = 20;
const PROGRESS_MILLISECONDS = 1000;

/**
 * Takes jobs from a queue and does them, one at a time, until the signal is aborted.
 * @throws BlockscaleError `option` or `io`: no library, no Redis
 */
export async function serveQueue(connection: Connection, options: QueueWorkerOptions): Promise<void> {
  const { Worker } = await openLibrary(connection);
  const name = `${hostname()}-${process.pid}-${randomBytes(2).toString("hex")}`;
  const runner = new JobDispatcher(options);
  const worker = new Worker(QUEUE, (job) => runner.work(job, name), {
    connection,
    concurrency: 1,
    lockDuration: options.stalledAfter * 1000,
    stalledInterval: options.stalledAfter * 500,
    maxStalledCount: MOST_STALLS,
    name,
  });
  // Other programs may put jobs into the queue: `data` can be anything.
  const nameOf = (job: Job | undefined): string => {
    const { file } = (job?.data ?? {}) as { file?: unknown };
    return typeof file === "string" ? file : `${job?.name} ${job?.id}`;
  };
  worker.on("completed", (job) => options.onEvent({ kind: "done", text: nameOf(job) }));
  worker.on("failed", (job, { message }) =>
    options.onEvent({ kind: "failed", text: `${nameOf(job)}: ${message}` }),
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
class JobDispatcher {
  readonly #conversions: ConversionHandler;
  readonly #evaluations: EvaluationHandler;

  constructor(options: QueueWorkerOptions) {
    this.#conversions = new ConversionHandler(options);
    this.#evaluations = new EvaluationHandler(options);
  }

  async work(job: Job, worker: string): Promise<object> {
    let reported = Number.NEGATIVE_INFINITY;
    const tell = (done: number, size: number): void => {
      if (performance.now() - reported < PROGRESS_MILLISECONDS) return;
      reported = performance.now();
      // For display only: if Redis cannot be reached now, the next report replaces this one.
      const progress = { done: Math.floor(done), progress: Math.floor((100 * done) / size), worker };
      job.updateProgress(progress satisfies JobProgress).catch(() => {});
    };
    tell(0, 1);
    // Both checks refuse jobs of other programs. One kind's files are closed before the other kind begins.
    if (hasKeys(job.data, ["spec", "ids"])) {
      await this.#conversions.close();
      return this.#evaluations.work(checkScoreJob(job.data), tell);
    }
    await this.#evaluations.close();
    return this.#conversions.work(checkFileJob(job.data), tell);
  }

  async close(): Promise<void> {
    for (const runner of [this.#conversions, this.#evaluations] satisfies JobHandler<never>[])
      await runner.close();
  }
}
