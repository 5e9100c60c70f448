import { setTimeout } from "node:timers/promises";
import type { Job, Queue, QueueEvents } from "bullmq";
import { forEachOf } from "../../io/concurrency.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { type Connection, openLibrary, QUEUE, redisErrorOf } from "./connection.ts";
import type { JobProgress, Work, WorkItem } from "./work.ts";

/** How far a run is, over all workers: amounts in the unit of the work. */
export interface QueueStatus {
  readonly unit: Work["unit"];
  readonly jobs: number;
  readonly jobsDone: number;
  readonly done: number;
  readonly size: number;
  /** Tries beyond the first one of each job. */
  readonly retries: number;
  readonly active: readonly {
    readonly job: string;
    readonly worker: string;
    readonly done: number;
    readonly size: number;
  }[];
}

/** Tries of one job before the run ends with its error. */
const ATTEMPTS = 5;
/** Jobs that are checked at a time: a check may read parts of an output file. */
const AT_ONCE = 16;

/** How often a coordinator reports progress and checks jobs, in milliseconds. */
export interface Pace {
  /** Pause between two reports of progress, which need no request to Redis. */
  readonly report: number;
  /** Time after which every job is checked: a job that Redis has lost sends no event. */
  readonly check: number;
}
const PACE: Pace = { report: 250, check: 10_000 };

/**
 * Puts all jobs of some work into a queue, and waits until they are done. Jobs that are there
 * already stay as they are; jobs that Redis has lost are put there again. What a worker
 * reports is checked before it counts.
 * @throws BlockscaleError `io`: a job failed in every try; what the signal was aborted with
 */
export async function coordinate(
  connection: Connection,
  work: Work,
  signal: AbortSignal,
  onStatus: (status: QueueStatus) => void,
): Promise<void> {
  const { Queue, QueueEvents } = await openLibrary(connection);
  const queue = new Queue(QUEUE, { connection });
  const events = new QueueEvents(QUEUE, { connection });
  // Commands wait until Redis is there again.
  queue.on("error", () => {});
  events.on("error", () => {});
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  aborted.catch(() => {});
  try {
    await Promise.race([new Coordinator(queue, events, work, onStatus).run(signal), aborted]);
  } catch (error) {
    throw redisErrorOf(error);
  } finally {
    for (const one of [queue, events]) {
      // `ref: false`: the timer does not keep the process running.
      await Promise.race([one.close().catch(() => {}), setTimeout(1000, null, { ref: false })]);
      await one.disconnect().catch(() => {});
    }
  }
}

/** The methods of a queue and of its events that a coordinator uses. */
export type Jobs = Pick<Queue, "getJob" | "addBulk" | "remove">;
export type Events = Pick<QueueEvents, "on">;

/**
 * Waits for the jobs of some work. Events may be repeated, come late or get lost: they only say which job
 * to check, and every job is checked from time to time as well.
 */
export class Coordinator {
  readonly #queue: Jobs;
  readonly #work: Work;
  readonly #onStatus: (status: QueueStatus) => void;
  readonly #pace: Pace;
  /**
   * Items that are not done, by their ids: the largest first, so that no
   * worker begins one when the others are done.
   */
  readonly #pending: Map<string, WorkItem>;
  /** Pending jobs to which something has happened. */
  readonly #changed = new Set<string>();
  readonly #active = new Map<string, JobProgress>();
  /** Tries of each job so far. */
  readonly #tries = new Map<string, number>();
  /** How often the result of a job did not hold, by its id. */
  readonly #refused = new Map<string, number>();
  /** Aborted to end the pause between two checks. */
  #pause = new AbortController();

  constructor(
    queue: Jobs,
    events: Events,
    work: Work,
    onStatus: (status: QueueStatus) => void,
    pace: Pace = PACE,
  ) {
    this.#pace = pace;
    this.#queue = queue;
    this.#work = work;
    this.#onStatus = onStatus;
    const largestFirst = [...work.items].sort((a, b) => b.size - a.size);
    this.#pending = new Map(largestFirst.map((item) => [item.id, item]));
    for (const event of ["active", "waiting", "completed", "failed"] as const)
      events.on(event, ({ jobId }: { jobId: string }) => {
        this.#active.delete(jobId);
        if (!this.#pending.has(jobId)) return;
        this.#changed.add(jobId);
        this.#pause.abort();
      });
    events.on("progress", ({ jobId, data }) => {
      if (this.#pending.has(jobId) && isProgress(data)) this.#active.set(jobId, data);
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { items } = this.#work;
    await this.#renewFailed();
    await this.#add([...this.#pending.values()]);
    let checked = Number.NEGATIVE_INFINITY;
    while (this.#pending.size > 0) {
      signal.throwIfAborted();
      const isTime = performance.now() - checked >= this.#pace.check;
      if (isTime) checked = performance.now();
      // Events may be repeated: jobs that are done by now are left out.
      const ids = [...(isTime ? this.#pending.keys() : this.#changed)].filter((id) => this.#pending.has(id));
      this.#changed.clear();
      await this.#check(ids);
      this.#report();
      if (this.#pending.size > 0 && this.#changed.size === 0) {
        this.#pause = new AbortController();
        await setTimeout(this.#pace.report, null, { signal: this.#pause.signal }).catch(() => {});
      }
    }
    for (const { id } of items) await this.#queue.remove(id).catch(() => {});
  }

  async #check(ids: readonly string[]): Promise<void> {
    const found = await Promise.all(ids.map(async (id) => [id, await this.#queue.getJob(id)] as const));
    await this.#add(found.flatMap(([id, job]) => (job === undefined ? [this.#pending.get(id)!] : [])));
    await forEachOf(found, AT_ONCE, async ([id, job]) => {
      if (job !== undefined) await this.#checkJob(id, job);
    });
  }

  async #checkJob(id: string, job: Job): Promise<void> {
    this.#tries.set(id, job.attemptsStarted);
    if (await this.#isDone(this.#pending.get(id)!, job)) {
      this.#pending.delete(id);
      this.#active.delete(id);
    } else if (isProgress(job.progress) && job.processedOn !== undefined) this.#active.set(id, job.progress);
  }

  #report(): void {
    const { items, unit } = this.#work;
    const sizeOf = (some: Iterable<WorkItem>): number => [...some].reduce((sum, item) => sum + item.size, 0);
    const active = [...this.#active].map(([id, { worker, done }]) => {
      const { name, size } = this.#pending.get(id)!;
      return { job: name, worker, done: Math.min(done, size), size };
    });
    const size = sizeOf(items);
    this.#onStatus({
      unit,
      jobs: items.length,
      jobsDone: items.length - this.#pending.size,
      done: size - sizeOf(this.#pending.values()) + active.reduce((sum, one) => sum + one.done, 0),
      size,
      retries: [...this.#tries.values()].reduce((sum, tries) => sum + Math.max(0, tries - 1), 0),
      active,
    });
  }

  async #add(items: readonly WorkItem[]): Promise<void> {
    if (items.length === 0) return;
    await this.#queue.addBulk(
      items.map(({ id, data }) => ({
        name: this.#work.kind,
        data,
        opts: { jobId: id, attempts: ATTEMPTS, backoff: { type: "exponential", delay: 500 } },
      })),
    );
  }

  /** Removes jobs that failed in an earlier run of the command, so that they are tried again. */
  async #renewFailed(): Promise<void> {
    for (const id of this.#pending.keys()) {
      const job = await this.#queue.getJob(id);
      if (job !== undefined && (await job.getState()) === "failed") await job.remove();
    }
  }

  async #isDone(item: WorkItem, job: Job): Promise<boolean> {
    if (job.finishedOn === undefined) return false;
    const state = await job.getState();
    if (state === "failed") throw failed(item.name, job.attemptsMade, job.failedReason);
    if (state !== "completed") return false;
    if (await this.#work.accept(item, job.returnvalue)) return true;
    const refusals = (this.#refused.get(item.id) ?? 0) + 1;
    this.#refused.set(item.id, refusals);
    if (refusals >= ATTEMPTS)
      throw failed(item.name, refusals, "its job is done, but its result is not there");
    await job.remove();
    await this.#add([item]);
    return false;
  }
}

function isProgress(value: unknown): value is JobProgress {
  const { done, worker } = (value ?? {}) as Partial<JobProgress>;
  return Number.isFinite(done) && done! >= 0 && typeof worker === "string";
}

function failed(name: string, tries: number, reason: string): BlockscaleError {
  return new BlockscaleError("io", {
    where: name,
    expected: `a worker to do it within ${tries} tries`,
    got: reason.replace(/\.$/, ""),
    fix: "Fix the cause, then run the same command again: it goes on where it stopped.",
  });
}
