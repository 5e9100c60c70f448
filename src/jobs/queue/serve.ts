import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Job } from "bullmq";
import { hasKeys } from "../spec.ts";
import { type Connection, openLibrary, QUEUE } from "./connection.ts";
import { ConversionRunner, checkFileJob } from "./conversion.ts";
import { checkScoreJob, EvaluationRunner } from "./evaluation.ts";
import type { JobProgress, Runner, ServeOptions } from "./work.ts";

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
export async function serveQueue(connection: Connection, options: ServeOptions): Promise<void> {
  const { Worker } = await openLibrary(connection);
  const name = `${hostname()}-${process.pid}-${randomBytes(2).toString("hex")}`;
  const runner = new JobRunner(options);
  const worker = new Worker(QUEUE, (job) => runner.work(job, name), {
    connection,
    concurrency: 1,
    lockDuration: options.stalledAfter * 1000,
    stalledInterval: options.stalledAfter * 500,
    maxStalledCount: MOST_STALLS,
    name,
  });
  // A job may be anybody's.
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
class JobRunner {
  readonly #conversions: ConversionRunner;
  readonly #evaluations: EvaluationRunner;

  constructor(options: ServeOptions) {
    this.#conversions = new ConversionRunner(options);
    this.#evaluations = new EvaluationRunner(options);
  }

  async work(job: Job, worker: string): Promise<object> {
    let told = Number.NEGATIVE_INFINITY;
    const tell = (done: number, size: number): void => {
      if (performance.now() - told < PROGRESS_MILLISECONDS) return;
      told = performance.now();
      // Nothing depends on it: where Redis is away just now, the next one will do.
      const progress = { done: Math.floor(done), progress: Math.floor((100 * done) / size), worker };
      job.updateProgress(progress satisfies JobProgress).catch(() => {});
    };
    tell(0, 1);
    // Only a job of ours is ever taken further; what one kind has open is closed before the other begins.
    if (hasKeys(job.data, ["spec", "ids"])) {
      await this.#conversions.close();
      return this.#evaluations.work(checkScoreJob(job.data), tell);
    }
    await this.#evaluations.close();
    return this.#conversions.work(checkFileJob(job.data), tell);
  }

  async close(): Promise<void> {
    for (const runner of [this.#conversions, this.#evaluations] satisfies Runner<never>[])
      await runner.close();
  }
}
