import type { Piece } from "../../checkpoint/convert.ts";
import type { Converter } from "../../checkpoint/run.ts";
import type { StripSample, StripSampling } from "../../checkpoint/sample.ts";
import { PageError } from "./problem.ts";
import type { NamedSource, Problem } from "./protocol.ts";
import type { StripReply, StripTask } from "./strip-worker.ts";

interface Waiting {
  readonly task: StripTask;
  resolve(value: never): void;
  reject(error: Error): void;
}

/** Workers that each convert one strip at a time. */
export class Pool {
  readonly size: number;
  private readonly workers: Worker[] = [];
  private readonly idle: Worker[] = [];
  private readonly busy = new Map<Worker, Waiting>();
  private readonly queue: Waiting[] = [];

  /** @param files of the shards, by index */
  constructor(size: number, files: readonly NamedSource[]) {
    this.size = size;
    for (let i = 0; i < size; i++) this.workers.push(this.start(files));
    this.idle.push(...this.workers);
  }

  readonly convert: Converter = (conversion, strip, keepCodes) =>
    this.ask<Piece>({ kind: "convert", conversion, strip, keepCodes });

  sample(sampling: StripSampling): Promise<StripSample> {
    return this.ask<StripSample>({ kind: "sample", sampling });
  }

  close(): void {
    for (const worker of this.workers) worker.terminate();
    const lost = new PageError("cancelled", "The files were closed.");
    for (const { reject } of [...this.busy.values(), ...this.queue]) reject(lost);
    this.queue.length = 0;
    this.busy.clear();
  }

  private start(files: readonly NamedSource[]): Worker {
    const worker = new Worker(new URL("./strip-worker.js", import.meta.url), { type: "module" });
    worker.postMessage({ files });
    worker.onmessage = ({ data }: MessageEvent<StripReply>) => this.finish(worker, data);
    worker.onerror = (event) => {
      event.preventDefault();
      const problem: Problem = { kind: "worker", message: event.message || "A worker stopped." };
      this.finish(worker, { problem });
    };
    return worker;
  }

  private ask<T extends Piece | StripSample>(task: StripTask): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.queue.push({ task, resolve: resolve as (value: never) => void, reject });
      this.next();
    });
  }

  private next(): void {
    while (this.idle.length > 0 && this.queue.length > 0) {
      const worker = this.idle.pop()!;
      const waiting = this.queue.shift()!;
      this.busy.set(worker, waiting);
      worker.postMessage(waiting.task);
    }
  }

  private finish(worker: Worker, reply: StripReply): void {
    const waiting = this.busy.get(worker);
    this.busy.delete(worker);
    this.idle.push(worker);
    if ("problem" in reply) waiting?.reject(new PageError(reply.problem.kind, reply.problem.message));
    else waiting?.resolve(reply.value as never);
    this.next();
  }
}
