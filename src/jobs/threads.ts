import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { countStrips, type Plan } from "../checkpoint/plan/plan.ts";
import { type Converter, localConverter } from "../checkpoint/run/run.ts";
import { createPool } from "../checkpoint/run/workers.ts";
import type { FileSource } from "../io/node.ts";
import type { S3Source } from "../io/s3.ts";
import type { Source } from "../io/source.ts";
import { load } from "../load.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { WorkerData } from "./worker.ts";

/** Converts strips, in this thread or in several others. */
export interface Workers {
  readonly convert: Converter;
  /** Strips to have under way, so that nobody waits. */
  readonly ahead: number;
  stop(): Promise<void>;
}

/** Strips that are converted in about the time that starting a thread costs, as far as it was measured. */
const STRIPS_PER_THREAD = 48;

/** More threads than this wait for the disk, and for the one that writes. */
const MOST_THREADS = 16;

/**
 * Threads to start. With --jobs, at most one for each strip; without, one for each 48 strips, up to the number of cores.
 * @param jobs how many were asked for; one for each core if left out
 */
export function threadsFor(plan: Plan, jobs: number | undefined): number {
  if (jobs !== undefined) return countStrips(plan, jobs);
  const cores = Math.min(MOST_THREADS, availableParallelism());
  return Math.floor(countStrips(plan, cores * STRIPS_PER_THREAD) / STRIPS_PER_THREAD);
}

/**
 * Starts as many threads as there are jobs. Sources that threads cannot open stay in this one.
 * @param least jobs that are worth threads: one alone needs none, unless this thread has something else to do
 */
export async function startWorkers(sources: readonly Source[], jobs: number, least = 2): Promise<Workers> {
  const paths = sources.flatMap((source) => {
    const { path, address } = source as Partial<FileSource & S3Source>;
    return path ?? address ?? [];
  });
  if (jobs < least || paths.length < sources.length) {
    return { convert: localConverter(await load(), sources), ahead: 2, stop: async () => {} };
  }
  const threads = Array.from(
    { length: jobs },
    () => new Worker(new URL("./worker.js", import.meta.url), { workerData: { paths } satisfies WorkerData }),
  );
  const pool = createPool(
    threads.map((thread) => ({
      post: (message, transfer) => thread.postMessage(message, transfer),
      listen: (handler) => thread.on("message", handler),
    })),
  );
  for (const thread of threads) thread.on("error", (cause) => pool.fail(died(cause)));
  return {
    convert: pool.convert,
    ahead: 2 * jobs,
    stop: async () => {
      await Promise.all(threads.map((thread) => thread.terminate()));
    },
  };
}

function died(cause: unknown): BlockscaleError {
  // Errors lose their class on the way between threads.
  if (cause instanceof Error && "fault" in cause) {
    const { code, fault } = cause as BlockscaleError;
    return new BlockscaleError(code, fault, { cause });
  }
  const got = cause instanceof Error ? cause.message : String(cause);
  return new BlockscaleError(
    "internal",
    {
      where: "worker thread",
      expected: "it to run",
      got,
      fix: "Try --jobs 1; if that helps, please report it.",
    },
    { cause },
  );
}
