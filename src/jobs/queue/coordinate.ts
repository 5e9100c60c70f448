import { setTimeout } from "node:timers/promises";
import type { Job, Queue, QueueEvents } from "bullmq";
import { forEachOf } from "../../io/concurrency.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { type Connection, openLibrary, QUEUE, refusalOf } from "./connection.ts";
import type { Item, JobProgress, Work } from "./work.ts";

/** How far a run is, over all workers: amounts in the unit of the work. */
export interface QueueStatus {
  readonly unit: Work["unit"];
  readonly jobs: number;
  readonly jobsDone: number;
  readonly done: number;
  readonly size: number;
  /** Tries after the first ones. */
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
/** Jobs that are looked at at once: each may be an output of which some places are read. */
const AT_ONCE = 16;

/** How often a coordinator tells and looks, in milliseconds. */
export interface Pace {
  /** Pause between two reports of progress, which ask Redis for nothing. */
  readonly tick: number;
  /** Time after which every job is looked at: one that got lost with its Redis tells nothing. */
  readonly look: number;
}
const PACE: Pace = { tick: 250, look: 10_000 };

/**
 * Puts all jobs of some work into a queue, and waits until they are done. Jobs that are there
 * already stay as they are; jobs that got lost with their Redis are put there again. What a worker
 * says it has made is looked at before it counts.
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
    throw refusalOf(error);
  } finally {
    for (const one of [queue, events]) {
      // Nobody waits for the rest of that second: it would keep the process from ending.
      await Promise.race([one.close().catch(() => {}), setTimeout(1000, null, { ref: false })]);
      await one.disconnect().catch(() => {});
    }
  }
}

/** What is asked of a queue, and of its events. */
export type Jobs = Pick<Queue, "getJob" | "addBulk" | "remove">;
export type Events = Pick<QueueEvents, "on">;

/**
 * Events may be repeated, come late or get lost: they only say where to look, and
 * every job is looked at now and then anyway.
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
  readonly #pending: Map<string, Item>;
  /** Pending jobs to which something has happened. */
  readonly #changed = new Set<string>();
  readonly #active = new Map<string, JobProgress>();
  /** Tries of each job so far. */
  readonly #tries = new Map<string, number>();
  /** Jobs that said that they were done when they were not. */
  readonly #doubted = new Map<string, number>();
  /** Aborted to end the rest between two looks. */
  #rest = new AbortController();

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
        this.#rest.abort();
      });
    events.on("progress", ({ jobId, data }) => {
      if (this.#pending.has(jobId) && isProgress(data)) this.#active.set(jobId, data);
    });
  }

  async run(signal: AbortSignal): Promise<void> {
    const { items } = this.#work;
    await this.#renewFailed();
    await this.#add([...this.#pending.values()]);
    let looked = Number.NEGATIVE_INFINITY;
    while (this.#pending.size > 0) {
      signal.throwIfAborted();
      const isTime = performance.now() - looked >= this.#pace.look;
      if (isTime) looked = performance.now();
      // What is done by now may have told so again meanwhile.
      const ids = [...(isTime ? this.#pending.keys() : this.#changed)].filter((id) => this.#pending.has(id));
      this.#changed.clear();
      await this.#look(ids);
      this.#tell();
      if (this.#pending.size > 0 && this.#changed.size === 0) {
        this.#rest = new AbortController();
        await setTimeout(this.#pace.tick, null, { signal: this.#rest.signal }).catch(() => {});
      }
    }
    for (const { id } of items) await this.#queue.remove(id).catch(() => {});
  }

  async #look(ids: readonly string[]): Promise<void> {
    const found = await Promise.all(ids.map(async (id) => [id, await this.#queue.getJob(id)] as const));
    await this.#add(found.flatMap(([id, job]) => (job === undefined ? [this.#pending.get(id)!] : [])));
    await forEachOf(found, AT_ONCE, async ([id, job]) => {
      if (job !== undefined) await this.#lookAt(id, job);
    });
  }

  async #lookAt(id: string, job: Job): Promise<void> {
    this.#tries.set(id, job.attemptsStarted);
    if (await this.#isDone(this.#pending.get(id)!, job)) {
      this.#pending.delete(id);
      this.#active.delete(id);
    } else if (isProgress(job.progress) && job.processedOn !== undefined) this.#active.set(id, job.progress);
  }

  #tell(): void {
    const { items, unit } = this.#work;
    const sizeOf = (some: Iterable<Item>): number => [...some].reduce((sum, item) => sum + item.size, 0);
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

  async #add(items: readonly Item[]): Promise<void> {
    if (items.length === 0) return;
    await this.#queue.addBulk(
      items.map(({ id, data }) => ({
        name: this.#work.kind,
        data,
        opts: { jobId: id, attempts: ATTEMPTS, backoff: { type: "exponential", delay: 500 } },
      })),
    );
  }

  /** What failed when the command was given before is tried again: that is why it is given. */
  async #renewFailed(): Promise<void> {
    for (const id of this.#pending.keys()) {
      const job = await this.#queue.getJob(id);
      if (job !== undefined && (await job.getState()) === "failed") await job.remove();
    }
  }

  async #isDone(item: Item, job: Job): Promise<boolean> {
    if (job.finishedOn === undefined) return false;
    const state = await job.getState();
    if (state === "failed") throw failed(item.name, job.attemptsMade, job.failedReason);
    if (state !== "completed") return false;
    if (await this.#work.take(item, job.returnvalue)) return true;
    const doubts = (this.#doubted.get(item.id) ?? 0) + 1;
    this.#doubted.set(item.id, doubts);
    if (doubts >= ATTEMPTS)
      throw failed(item.name, doubts, "its job is done, but what it says it has made is not there");
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
    fix: "Cure that, then run the same command again: it goes on where it stopped.",
  });
}
