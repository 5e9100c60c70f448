import { setTimeout } from "node:timers/promises";
import type { Job, Queue } from "bullmq";
import type { FilePlan } from "../../checkpoint/plan/plan.ts";
import { placeIn } from "../../io/place.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { isMade } from "../conversion.ts";
import { entryOf } from "../records.ts";
import type { SharedPlan } from "../spec.ts";
import { type Connection, openLibrary, QUEUE } from "./connection.ts";
import { isResult, type JobData, type JobProgress, jobId } from "./job.ts";

/** How far a run is, over all workers. */
export interface QueueStatus {
  readonly files: number;
  readonly done: number;
  readonly bytes: number;
  readonly size: number;
  /** Tries after the first ones. */
  readonly retries: number;
  readonly active: readonly {
    readonly file: string;
    readonly worker: string;
    readonly bytes: number;
    readonly size: number;
  }[];
}

/** Tries of one file before the run ends with its error. */
const ATTEMPTS = 5;
const POLL_MILLISECONDS = 500;

/**
 * Puts a job for every file of a run into a queue, and waits until all of them are done. Jobs that are there already stay as they are; jobs that
 * got lost with their Redis are put there again. What a worker says it has made is looked at before it counts.
 * @throws BlockscaleError `io`: a file failed in every try; what the signal was aborted with
 */
export async function coordinate(
  connection: Connection,
  to: string,
  shared: SharedPlan,
  signal: AbortSignal,
  onStatus: (status: QueueStatus) => void,
): Promise<void> {
  const { Queue } = await openLibrary(connection);
  const queue = new Queue<JobData>(QUEUE, { connection });
  // Commands wait until Redis is there again.
  queue.on("error", () => {});
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  aborted.catch(() => {});
  try {
    await Promise.race([new Coordinator(queue, to, shared, onStatus).run(signal), aborted]);
  } finally {
    await Promise.race([queue.close().catch(() => {}), setTimeout(1000)]);
    await queue.disconnect().catch(() => {});
  }
}

class Coordinator {
  readonly #queue: Queue<JobData>;
  readonly #to: string;
  readonly #shared: SharedPlan;
  readonly #onStatus: (status: QueueStatus) => void;
  /** Tries of each file so far. */
  readonly #tries = new Map<string, number>();
  /** Files whose job said that it was done when it was not. */
  readonly #doubted = new Map<string, number>();

  constructor(
    queue: Queue<JobData>,
    to: string,
    shared: SharedPlan,
    onStatus: (status: QueueStatus) => void,
  ) {
    this.#queue = queue;
    this.#to = to;
    this.#shared = shared;
    this.#onStatus = onStatus;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { files } = this.#shared.plan;
    // The largest first: no worker begins one when the others are done.
    const pending = new Set([...files].sort((a, b) => b.size - a.size));
    await this.#renewFailed(files);
    await this.#add([...pending]);
    const size = files.reduce((sum, file) => sum + file.size, 0);
    while (pending.size > 0) {
      signal.throwIfAborted();
      const active: QueueStatus["active"][number][] = [];
      const found = await Promise.all(
        [...pending].map(async (file) => [file, await this.#queue.getJob(this.#idOf(file))] as const),
      );
      await this.#add(found.flatMap(([file, job]) => (job === undefined ? [file] : [])));
      for (const [file, job] of found) {
        if (job === undefined) continue;
        this.#tries.set(file.name, job.attemptsStarted);
        if (await this.#isDone(file, job)) pending.delete(file);
        else if (isProgress(job.progress) && job.processedOn !== undefined)
          active.push({
            file: file.name,
            worker: job.progress.worker,
            bytes: job.progress.bytes,
            size: file.size,
          });
      }
      const left = [...pending].reduce((sum, file) => sum + file.size, 0);
      const bytes = size - left + active.reduce((sum, one) => sum + Math.min(one.bytes, one.size), 0);
      const retries = [...this.#tries.values()].reduce((sum, tries) => sum + Math.max(0, tries - 1), 0);
      this.#onStatus({
        files: files.length,
        done: files.length - pending.size,
        bytes,
        size,
        retries,
        active,
      });
      if (pending.size > 0) await setTimeout(POLL_MILLISECONDS);
    }
    for (const file of files) await this.#queue.remove(this.#idOf(file)).catch(() => {});
  }

  #dataOf(file: FilePlan): JobData {
    return { spec: this.#shared.spec, to: this.#to, file: file.name };
  }

  #idOf(file: FilePlan): string {
    return jobId(this.#dataOf(file));
  }

  async #add(files: readonly FilePlan[]): Promise<void> {
    if (files.length === 0) return;
    await this.#queue.addBulk(
      files.map((file) => ({
        name: this.#shared.spec.direction.kind,
        data: this.#dataOf(file),
        opts: {
          jobId: this.#idOf(file),
          attempts: ATTEMPTS,
          backoff: { type: "exponential", delay: 500 },
        },
      })),
    );
  }

  /** What failed when the command was given before is tried again: that is why it is given. */
  async #renewFailed(files: readonly FilePlan[]): Promise<void> {
    for (const file of files) {
      const job = await this.#queue.getJob(this.#idOf(file));
      if (job !== undefined && (await job.getState()) === "failed") await job.remove();
    }
  }

  async #isDone(file: FilePlan, job: Job<JobData>): Promise<boolean> {
    if (job.finishedOn === undefined) return false;
    const state = await job.getState();
    if (state === "failed") throw failed(file.name, job.attemptsMade, job.failedReason);
    if (state !== "completed") return false;
    const { spec } = this.#shared;
    const entry = await entryOf(this.#to, spec, file);
    const result: unknown = job.returnvalue;
    const isTrue = isResult(result) && result.size === file.size && result.sha256 === entry?.sha256;
    if (isTrue && (await isMade(entry, file, placeIn(this.#to, file.name)))) return true;
    const doubts = (this.#doubted.get(file.name) ?? 0) + 1;
    this.#doubted.set(file.name, doubts);
    if (doubts >= ATTEMPTS)
      throw failed(file.name, doubts, "its job is done, but the file is not there as it says");
    await job.remove();
    return false;
  }
}

function isProgress(value: unknown): value is JobProgress {
  const { bytes, worker } = (value ?? {}) as Partial<JobProgress>;
  return Number.isFinite(bytes) && typeof worker === "string";
}

function failed(file: string, tries: number, reason: string): BlockscaleError {
  return new BlockscaleError("io", {
    where: file,
    expected: `a worker to make it within ${tries} tries`,
    got: reason.replace(/\.$/, ""),
    fix: "Cure that, then run the same command again: it goes on where it stopped.",
  });
}

/** What a queue holds of one run. */
export interface RunStatus {
  readonly from: string;
  readonly to: string;
  readonly waiting: number;
  readonly active: number;
  readonly done: number;
  readonly failed: number;
}

/** Counts the jobs of each run in a queue. */
export async function statusOf(connection: Connection): Promise<RunStatus[]> {
  const { Queue } = await openLibrary(connection);
  const queue = new Queue<JobData>(QUEUE, { connection });
  const runs = new Map<string, { -readonly [K in keyof RunStatus]: RunStatus[K] }>();
  try {
    for (const [kind, states] of [
      ["waiting", ["waiting", "delayed", "prioritized"]],
      ["active", ["active"]],
      ["done", ["completed"]],
      ["failed", ["failed"]],
    ] as const) {
      for (const job of await queue.getJobs([...states])) {
        const from = String(job?.data?.spec?.from ?? "unknown");
        const to = String(job?.data?.to ?? "unknown");
        const run = runs.get(`${from}\n${to}`) ?? { from, to, waiting: 0, active: 0, done: 0, failed: 0 };
        run[kind]++;
        runs.set(`${from}\n${to}`, run);
      }
    }
  } finally {
    await queue.close();
  }
  return [...runs.values()];
}
