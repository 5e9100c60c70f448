import { type Connection, openLibrary, QUEUE } from "./connection.ts";

/** What a queue holds of one run. */
export interface RunStatus {
  readonly from: string;
  /** The output folder; `scores` of an evaluation. */
  readonly to: string;
  readonly waiting: number;
  readonly active: number;
  readonly done: number;
  readonly failed: number;
}

/** Counts the jobs of each run in a queue. */
export async function statusOf(connection: Connection): Promise<RunStatus[]> {
  const { Queue } = await openLibrary(connection);
  const queue = new Queue(QUEUE, { connection });
  const runs = new Map<string, { -readonly [K in keyof RunStatus]: RunStatus[K] }>();
  try {
    for (const [kind, states] of [
      ["waiting", ["waiting", "delayed", "prioritized"]],
      ["active", ["active"]],
      ["done", ["completed"]],
      ["failed", ["failed"]],
    ] as const) {
      for (const job of await queue.getJobs([...states])) {
        const { spec, to: out } = job?.data ?? {};
        const from = String(spec?.from ?? spec?.model ?? "unknown");
        const to = String(out ?? (spec?.model === undefined ? "unknown" : "scores"));
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
