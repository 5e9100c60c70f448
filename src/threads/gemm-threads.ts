import type { Engine } from "../engine/engine.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { GemmRunner } from "./gemm-runner.ts";
import { lentScript } from "./lend.ts";
import { dead, errorOf, type Reply, type Start, type Task } from "./protocol.ts";
import { SCRIPT } from "./script.ts";
import { ANSWERED, ASKED, type Counters, spinUntil } from "./spin.ts";
import { canShare, isPage, openThread, type Thread } from "./start.ts";

/** How long the calling thread spins for the others when its share is done. */
const SPIN_MILLISECONDS = 0.1;

type Result = Float32Array | Uint16Array | undefined;

interface Waiting {
  resolve(result: Result): void;
  reject(error: Error): void;
}

/**
 * Threads that answer their requests in turn. The first is the calling thread, which would only wait
 * for the others otherwise, but not on a page: there it has a user to answer. One worker that dies takes
 * all of them with it: its weights are gone.
 *
 * Workers that sleep in Atomics.wait were tried: no faster than messages,
 * and Node hung at its end, waiting for one.
 */
export class GemmThreads {
  readonly #runner: GemmRunner | undefined;
  #threads: readonly Thread[] = [];
  #counters: readonly Counters[] = [];
  readonly #waiting: Map<number, Waiting> = new Map();
  #nextId = 0;
  #end: BlockscaleError | undefined;

  private constructor(local: Engine) {
    this.#runner = isPage() ? undefined : new GemmRunner(local);
  }

  /**
   * @param local the engine of the calling thread
   * @param lender makes the workers in place of this thread
   * @throws BlockscaleError `option`: there are no workers here, or they are blocked
   */
  static async open(size: number, start: Start, local: Engine, lender?: MessagePort): Promise<GemmThreads> {
    const threads = new GemmThreads(local);
    const listener = {
      reply: (reply: Reply): void => threads.#settle(reply),
      died: (reason: string): void => threads.#stop(dead(reason)),
    };
    const workers = threads.#runner ? size - 1 : size;
    if (threads.#runner && canShare())
      threads.#counters = Array.from({ length: workers }, () => new Int32Array(new SharedArrayBuffer(8)));
    const script = lentScript(SCRIPT, lender);
    const opened = await Promise.allSettled(
      Array.from({ length: workers }, (_, i) =>
        openThread(script, { ...start, counters: threads.#counters[i] }, listener),
      ),
    );
    threads.#threads = opened.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const failed = opened.find((one) => one.status === "rejected");
    if (failed === undefined) return threads;
    await threads.close();
    throw failed.reason;
  }

  /** Asks one thread. The calling one, number 0, answers before this returns: ask it last. */
  ask(thread: number, task: Task, transfer: ArrayBuffer[] = []): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#end) throw this.#end;
      if (this.#runner && thread === 0) {
        resolve(this.#runner.run(task));
        return this.#spinForOthers();
      }
      const id = this.#nextId++;
      const index = this.#runner ? thread - 1 : thread;
      const worker = this.#threads[index] as Thread;
      try {
        worker.post({ id, task }, transfer);
      } catch (error) {
        throw unsendable(error);
      }
      const counters = this.#counters[index];
      if (counters) Atomics.add(counters, ASKED, 1);
      if (this.#waiting.size === 0) this.#hold(true);
      this.#waiting.set(id, { resolve, reject });
    });
  }

  /** The others are about to be done: their answers are there when the event loop looks for them. */
  #spinForOthers(): void {
    for (const counters of this.#counters)
      spinUntil(counters, ANSWERED, Atomics.load(counters, ASKED), SPIN_MILLISECONDS / this.#counters.length);
  }

  /** Ends all workers; what is under way fails. */
  async close(): Promise<void> {
    this.#stop(closed());
    await Promise.all(this.#threads.map((thread) => thread.terminate()));
  }

  #settle({ id, result, error }: Reply): void {
    const waiting = this.#waiting.get(id as number);
    if (waiting === undefined) return; // an answer that came after the end
    this.#waiting.delete(id as number);
    if (this.#waiting.size === 0) this.#hold(false);
    if (error === undefined) waiting.resolve(result);
    else waiting.reject(errorOf(error));
  }

  /** Idle workers do not keep a process from its end. */
  #hold(isBusy: boolean): void {
    for (const thread of this.#threads) thread.keepAlive(isBusy);
  }

  #stop(error: BlockscaleError): void {
    if (this.#end) return; // the workers are being ended, and report it one by one
    this.#end = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#hold(false);
  }
}

function unsendable(cause: unknown): BlockscaleError {
  return new BlockscaleError(
    "option",
    {
      where: "threads",
      expected: "arguments that a worker can be sent",
      got: String(cause),
      fix: "Pass arrays, numbers and strings only, as Engine.gemm takes them.",
    },
    { cause },
  );
}

function closed(): BlockscaleError {
  return new BlockscaleError("option", {
    where: "threads",
    expected: "an engine that is open",
    got: "one that was closed",
    fix: "Call close() after the last result has come.",
  });
}
