import { EventEmitter } from "node:events";
import type { Job } from "bullmq";
import { describe, expect, test } from "vitest";
import { Coordinator, type Events, type Jobs, type QueueStatus } from "../../src/jobs/queue/coordinate.ts";
import type { Work, WorkItem } from "../../src/jobs/queue/work.ts";

// A real Redis repeats, delays or loses an event only by chance: here the test decides, and the queue is a map.

type State = "waiting" | "active" | "completed" | "failed";

class Store implements Pick<Jobs, "getJob" | "addBulk" | "remove"> {
  readonly jobs = new Map<string, { state: State; tries: number; result?: unknown }>();
  readonly added: string[] = [];
  readonly events = new EventEmitter();

  addBulk: Jobs["addBulk"] = async (jobs) => {
    for (const { opts } of jobs) {
      const id = opts!.jobId!;
      this.added.push(id);
      if (!this.jobs.has(id)) this.jobs.set(id, { state: "waiting", tries: 0 });
    }
    return [];
  };

  getJob: Jobs["getJob"] = async (id) => {
    const job = this.jobs.get(id);
    if (job === undefined) return undefined;
    const isFinished = job.state === "completed" || job.state === "failed";
    return {
      attemptsStarted: job.tries,
      attemptsMade: job.tries,
      finishedOn: isFinished ? 1 : undefined,
      processedOn: job.state === "waiting" ? undefined : 1,
      failedReason: "it broke.",
      progress: 0,
      returnvalue: job.result,
      getState: async () => this.jobs.get(id)?.state ?? "unknown",
      remove: async () => void this.jobs.delete(id),
    } as unknown as Job;
  };

  remove: Jobs["remove"] = async (id) => Number(this.jobs.delete(id));

  /** What a worker and Redis do; events are told apart, by `tell`. */
  finish(id: string, state: "completed" | "failed", result: unknown = "right"): void {
    const job = this.jobs.get(id)!;
    Object.assign(job, { state, result, tries: job.tries + 1 });
  }

  tell(event: string, jobId: string, data?: unknown): void {
    this.events.emit(event, { jobId, data });
  }
}

const item = (id: string, size: number): WorkItem => ({ id, name: `file ${id}`, size, data: {} });

/** A coordinator of three jobs that has put them into the queue. */
async function begun(check: number) {
  const store = new Store();
  const taken: string[] = [];
  const said: QueueStatus[] = [];
  const work: Work = {
    kind: "quantize",
    unit: "bytes",
    items: [item("a", 10), item("b", 30), item("c", 20)],
    accept: async ({ id }, result) => {
      taken.push(id);
      // Told again just while it is looked at.
      store.tell("completed", id);
      return result === "right";
    },
  };
  const coordinator = new Coordinator(
    store as Jobs,
    store.events as unknown as Events,
    work,
    (status) => said.push(status),
    { report: 5, check },
  );
  const stop = new AbortController();
  const ended = coordinator.run(stop.signal);
  ended.catch(() => {});
  await until(() => said.length > 0);
  return { store, taken, said, ended, stop };
}

async function until(isTrue: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !isTrue(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(isTrue()).toBe(true);
}

/** So long that only events can be what made it look. */
const NEVER = 1e9;
const SOON = 20;

describe("a coordinator", () => {
  test("puts the largest jobs first, and takes each once, however often it is told", async () => {
    const { store, taken, said, ended } = await begun(NEVER);
    expect(store.added).toEqual(["b", "c", "a"]);
    for (const id of ["a", "b"]) {
      store.finish(id, "completed");
      for (let i = 0; i < 3; i++) store.tell("completed", id);
    }
    await until(() => said.at(-1)!.jobsDone === 2);
    // Events of jobs that are done, and of strangers' jobs in the same queue.
    for (const event of ["completed", "active", "waiting", "failed"])
      for (const id of ["a", "b", "z"]) store.tell(event, id);
    for (const id of ["a", "z"]) store.tell("progress", id, { done: 5, worker: "late" });
    store.finish("c", "completed");
    store.tell("completed", "c");
    store.tell("completed", "c");
    await ended;
    expect([...taken].sort()).toEqual(["a", "b", "c"]);
    expect(said.at(-1)).toMatchObject({ jobs: 3, jobsDone: 3, done: 60, size: 60, retries: 0, active: [] });
    expect(store.jobs.size).toBe(0);
  });

  test("does not believe an event that comes before its job is done", async () => {
    const { store, taken, said, ended } = await begun(NEVER);
    const looks = said.length;
    for (const id of ["a", "b", "c"]) store.tell("completed", id);
    await until(() => said.length > looks + 2);
    expect([said.at(-1)!.jobsDone, taken]).toEqual([0, []]);
    for (const id of ["a", "b", "c"]) {
      store.finish(id, "completed");
      store.tell("completed", id);
    }
    await ended;
    expect(taken).toHaveLength(3);
  });

  test("finds out what no event told", async () => {
    const { store, taken, ended } = await begun(SOON);
    for (const id of ["a", "b", "c"]) store.finish(id, "completed");
    await ended;
    expect(taken).toHaveLength(3);
  });

  test("puts jobs back that got lost with their Redis, without an event", async () => {
    const { store, said, ended } = await begun(SOON);
    store.finish("a", "completed");
    await until(() => said.at(-1)!.jobsDone === 1);
    store.jobs.clear();
    await until(() => store.jobs.size === 2);
    expect(store.added.slice(3).sort()).toEqual(["b", "c"]);
    for (const id of ["b", "c"]) store.finish(id, "completed");
    await ended;
  });

  test("has a job done again whose result is not true, and gives up after five", async () => {
    const { store, taken, ended } = await begun(NEVER);
    store.finish("a", "completed", "wrong");
    store.tell("completed", "a");
    await until(() => store.added.length === 4);
    for (let i = 2; i <= 5; i++) {
      await until(() => store.jobs.get("a")?.state === "waiting");
      store.finish("a", "completed", "wrong");
      store.tell("completed", "a");
    }
    await expect(ended).rejects.toThrow(/file a: .*within 5 tries.*not there/s);
    expect(taken).toEqual(["a", "a", "a", "a", "a"]);
  });

  test("ends with the error of a job that failed in every try, and when it is told to", async () => {
    const one = await begun(NEVER);
    one.store.finish("b", "failed");
    one.store.tell("failed", "b");
    await expect(one.ended).rejects.toThrow(/file b: .*got it broke\./s);
    const other = await begun(NEVER);
    other.stop.abort(new Error("enough"));
    await expect(other.ended).rejects.toThrow("enough");
  });

  test("shows who is at what, and counts retries", async () => {
    const { store, said, stop } = await begun(NEVER);
    store.jobs.get("c")!.tries = 3;
    store.tell("active", "c");
    store.tell("progress", "c", { done: 99, worker: "w1" });
    await until(() => said.at(-1)!.retries === 2);
    store.tell("progress", "c", { done: 7, worker: "w1" });
    store.tell("progress", "b", { done: "many", worker: "w2" });
    await until(() => said.at(-1)!.done === 7);
    expect(said.at(-1)!.active).toEqual([{ job: "file c", worker: "w1", done: 7, size: 20 }]);
    stop.abort(new Error("enough"));
  });
});
