import { BlockscaleError } from "../errors.ts";
import { startThread, type Thread } from "./host.ts";
import type { Reply, Start, Task } from "./protocol.ts";

interface Waiting {
  resolve(result: Float32Array | Uint16Array | undefined): void;
  reject(error: Error): void;
}

/** Workers that each answer every request, in turn. One that dies takes the pool with it: its weights are gone. */
export class Pool {
  readonly size: number;
  readonly #threads: Thread[];
  readonly #waiting: Map<number, Waiting> = new Map();
  #nextId = 0;
  #end: BlockscaleError | undefined;

  constructor(size: number, start: Start) {
    this.size = size;
    const listener = {
      reply: (reply: Reply): void => this.#settle(reply),
      died: (reason: string): void => this.#stop(dead(reason)),
    };
    this.#threads = Array.from({ length: size }, () => startThread(listener));
    for (const thread of this.#threads) thread.post(start);
  }

  /** Asks one worker. */
  ask(worker: number, task: Task, transfer?: ArrayBuffer[]): Promise<Float32Array | Uint16Array | undefined> {
    if (this.#end) return Promise.reject(this.#end);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      if (this.#waiting.size === 0) this.#hold(true);
      this.#waiting.set(id, { resolve, reject });
      (this.#threads[worker] as Thread).post({ id, task }, transfer);
    });
  }

  /** Ends all workers; what is under way fails. */
  async close(): Promise<void> {
    this.#stop(closed());
    await Promise.all(this.#threads.map((thread) => thread.terminate()));
  }

  #settle({ id, result, error }: Reply): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) this.#hold(false);
    if (error === undefined) waiting?.resolve(result);
    else
      waiting?.reject("fault" in error ? new BlockscaleError(error.code, error.fault) : dead(error.message));
  }

  /** Idle workers do not keep a process from its end. */
  #hold(isBusy: boolean): void {
    for (const thread of this.#threads) thread.hold(isBusy);
  }

  #stop(error: BlockscaleError): void {
    if (this.#end) return; // the workers are being ended, and report it one by one
    this.#end = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#hold(false);
  }
}

function dead(reason: string): BlockscaleError {
  return new BlockscaleError("internal", {
    where: "threads",
    expected: "workers that run until close()",
    got: `one that died: ${reason}`,
    fix: "Its share of the weights is lost: close this engine, load another one and pack again.",
  });
}

function closed(): BlockscaleError {
  return new BlockscaleError("option", {
    where: "threads",
    expected: "an engine that is open",
    got: "one that was closed",
    fix: "Call close() after the last result has come.",
  });
}
