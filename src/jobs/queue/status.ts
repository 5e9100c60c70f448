import type { Queue } from "bullmq";
import { isText, LONGEST_PATH } from "../spec.ts";
import { type Connection, openLibrary, QUEUE, redisErrorOf } from "./connection.ts";

/** The jobs of one run in a queue. */
export interface RunStatus {
  readonly from: string;
  /** The output folder; for an evaluation, which has none, the word "scores". */
  readonly to: string;
  readonly waiting: number;
  readonly active: number;
  readonly done: number;
  readonly failed: number;
}

/**
 * Counts the jobs of each run in a queue.
 * @throws BlockscaleError `option`, `io`: as `openLibrary`, or Redis refuses to tell
 */
export async function runsInQueue(connection: Connection): Promise<RunStatus[]> {
  const { Queue } = await openLibrary(connection);
  const queue = new Queue(QUEUE, { connection });
  try {
    return await count(queue);
  } catch (error) {
    throw redisErrorOf(error);
  } finally {
    await queue.close();
  }
}

async function count(queue: Queue): Promise<RunStatus[]> {
  const runs = new Map<string, { -readonly [K in keyof RunStatus]: RunStatus[K] }>();
  for (const [kind, states] of [
    ["waiting", ["waiting", "delayed", "prioritized"]],
    ["active", ["active"]],
    ["done", ["completed"]],
    ["failed", ["failed"]],
  ] as const) {
    for (const job of await queue.getJobs([...states])) {
      const [from, to] = placesOf(job?.data);
      const run = runs.get(`${from}\n${to}`) ?? { from, to, waiting: 0, active: 0, done: 0, failed: 0 };
      run[kind]++;
      runs.set(`${from}\n${to}`, run);
    }
  }
  return [...runs.values()];
}

/** Input and output of a job; "unknown" where it has none, since it may be of another program. */
function placesOf(data: unknown): [from: string, to: string] {
  const { spec, to } = (data ?? {}) as { spec?: unknown; to?: unknown };
  const { from, model } = (spec ?? {}) as { from?: unknown; model?: unknown };
  const place = (value: unknown): string => (isText(value, LONGEST_PATH) ? value : "unknown");
  return model === undefined ? [place(from), place(to)] : [place(model), "scores"];
}
