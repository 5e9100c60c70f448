import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Pair, StripComparer, StripComparison } from "../checkpoint/measure/compare.ts";
import { conversionsOf, countStrips, type Plan } from "../checkpoint/plan/plan.ts";
import type { Strip } from "../checkpoint/plan/strip.ts";
import { countOf } from "../checkpoint/read/weights.ts";
import { type Converter, localConverter } from "../checkpoint/run/run.ts";
import { createDispatcher, createPool, type Port } from "../checkpoint/run/workers.ts";
import type { FileSource } from "../io/node.ts";
import type { S3Source } from "../io/s3.ts";
import type { Source } from "../io/source.ts";
import { load } from "../load.ts";
import { BlockscaleError } from "../tensor/errors.ts";

/** Converts strips, in this thread or in several others. */
export interface ConversionThreads {
  readonly convert: Converter;
  /** Strips to request in advance, so that no thread waits. */
  readonly ahead: number;
  stop(): Promise<void>;
}

/** Elements that can be converted in the time that starting a thread takes (measured). */
const ELEMENTS_PER_THREAD = 48 * 2 ** 20;

/** Most threads without --threads: more would wait for the disk and for the thread that writes. */
const MOST_THREADS = 16;

/**
 * Threads to start. With --threads, at most one for each strip; without, one for each 48 Mi elements, up to
 * the number of cores and to {@link MOST_THREADS}.
 * @param threads how many --threads asks for, if it is given
 */
export function threadsFor(plan: Plan, threads: number | undefined): number {
  if (threads !== undefined) return countStrips(plan, threads);
  const cores = Math.min(MOST_THREADS, availableParallelism());
  const elements = conversionsOf(plan).reduce((sum, { from }) => sum + countOf(from.shape), 0);
  return Math.min(cores, Math.floor(elements / ELEMENTS_PER_THREAD));
}

/**
 * Starts threads that convert. This thread converts alone where they could not open all sources.
 * @param count how many threads to start
 * @param least how many are worth starting: one alone needs none, unless this thread has something else to do
 */
export async function startConversionThreads(
  sources: readonly Source[],
  count: number,
  least = 2,
): Promise<ConversionThreads> {
  const paths = pathsOf(sources);
  if (count < least || paths === null) {
    return { convert: localConverter(await load(), sources), ahead: 2, stop: async () => {} };
  }
  const threads = startThreads({ paths }, count);
  const pool = createPool(threads.map(portOf));
  for (const thread of threads) thread.on("error", (cause) => pool.fail(threadError(cause)));
  return { convert: pool.convert, ahead: 2 * count, stop: () => stopAll(threads) };
}

/** What a worker is started with. */
export interface WorkerData {
  /** Paths or addresses of the shards, in the order of the checkpoint. */
  readonly paths: readonly string[];
  /** Files of another checkpoint, to compare the first one with. */
  readonly others?: readonly string[];
}

/** A strip of two weights to be compared. */
export interface ComparisonRequest {
  readonly pair: Pair;
  readonly strip: Strip;
}

/** Compares strips in several threads. */
export interface ComparingThreads {
  readonly compare: StripComparer;
  readonly ahead: number;
  stop(): Promise<void>;
}

/** Bytes of both sides that are compared in about the time that starting a thread costs. */
const BYTES_PER_THREAD = 64 * 2 ** 20;

/** Threads that compare; `null` where they would not pay, or cannot open the sources. */
export function startComparing(
  a: readonly Source[],
  b: readonly Source[],
  asked: number | undefined,
): ComparingThreads | null {
  const [paths, others] = [pathsOf(a), pathsOf(b)];
  const bytes = [...a, ...b].reduce((sum, { size }) => sum + size, 0);
  const cores = Math.min(MOST_THREADS, availableParallelism());
  const count = asked ?? Math.min(cores, Math.floor(bytes / BYTES_PER_THREAD));
  if (paths === null || others === null || count < 2) return null;
  const threads = startThreads({ paths, others }, count);
  const { ask, fail } = createDispatcher<ComparisonRequest, StripComparison>(threads.map(portOf));
  for (const thread of threads) thread.on("error", (cause) => fail(threadError(cause)));
  return {
    compare: (pair, strip) => ask({ pair, strip }),
    ahead: 2 * count,
    stop: () => stopAll(threads),
  };
}

/** Paths by which threads open sources again; `null` where there is one that they cannot. */
function pathsOf(sources: readonly Source[]): string[] | null {
  const paths = sources.flatMap((source) => {
    const { path, address } = source as Partial<FileSource & S3Source>;
    return path ?? address ?? [];
  });
  return paths.length < sources.length ? null : paths;
}

function startThreads(workerData: WorkerData, count: number): Worker[] {
  return Array.from(
    { length: count },
    () => new Worker(new URL("./worker.js", import.meta.url), { workerData }),
  );
}

function portOf(thread: Worker): Port {
  return {
    post: (message, transfer) => thread.postMessage(message, transfer),
    listen: (handler) => thread.on("message", handler),
  };
}

async function stopAll(threads: readonly Worker[]): Promise<void> {
  await Promise.all(threads.map((thread) => thread.terminate()));
}

/** The error for a thread that has ended by one. @param fix what to do about an error that is not known */
export function threadError(
  cause: unknown,
  fix = "Try --threads 1; if that helps, please report it.",
): BlockscaleError {
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
      fix,
    },
    { cause },
  );
}
