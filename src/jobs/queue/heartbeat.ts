import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { threadError } from "../threads.ts";
import type { Connection } from "./connection.ts";

/** What the thread of a heartbeat is started with: functions cannot go to another thread. */
export type HeartbeatData = Omit<Connection, "retryStrategy">;

/**
 * Tells Redis that this process and its machine are alive: a thread of its own sets a key again and again,
 * since the main thread cannot while it computes. When the machine loses its network, or the process stands
 * still, nobody sets the key any more, and it expires.
 */
export class Heartbeat {
  readonly #thread: Worker;

  private constructor(thread: Worker) {
    this.#thread = thread;
  }

  /** @throws BlockscaleError `io`: no connection to Redis */
  static async start({ retryStrategy: _, ...workerData }: Connection): Promise<Heartbeat> {
    const data: HeartbeatData = workerData;
    const thread = new Worker(new URL("./heartbeat-thread.js", import.meta.url), { workerData: data });
    thread.unref();
    await once(thread, "message").catch((cause) => {
      throw threadError(cause, "Start this rank again; if it ends so again, please report it.");
    });
    // If it ended, the other ranks would miss this one and say so.
    thread.on("error", () => {});
    return new Heartbeat(thread);
  }

  /** Goes on with another key. */
  keep(key: string): void {
    this.#thread.postMessage(key);
  }

  async stop(): Promise<void> {
    await this.#thread.terminate();
  }
}
