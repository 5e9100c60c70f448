import type { BlockPlace, BlockValues } from "../../checkpoint/measure/block.ts";
import type { StripSample, StripUnderScheme } from "../../checkpoint/measure/sample.ts";
import type { ConvertedStrip } from "../../checkpoint/run/convert.ts";
import type { Converter } from "../../checkpoint/run/run.ts";
import type { Problem } from "./problem.ts";
import { PageError } from "./problem.ts";
import type { NamedSource } from "./protocol.ts";
import type { StripReply, StripTask } from "./strip-worker.ts";

interface Waiting {
  readonly task: StripTask;
  resolve(value: never): void;
  reject(error: Error): void;
}

/**
 * Workers that each convert one strip at a time. The page starts them and hands over their ports: a worker
 * that starts workers of its own waits inside `new Worker`, in Firefox sometimes forever.
 */
export class StripPool {
  readonly size: number;
  private readonly ports: readonly MessagePort[];
  private readonly idle: MessagePort[];
  private readonly busy = new Map<MessagePort, Waiting>();
  private readonly queue: Waiting[] = [];
  private failure: PageError | null = null;

  constructor(ports: readonly MessagePort[]) {
    this.size = ports.length;
    this.ports = ports;
    this.idle = [...ports];
    for (const port of ports) {
      port.onmessage = ({ data }: MessageEvent<StripReply>) => this.finish(port, data);
    }
  }

  readonly convert: Converter = (conversion, strip, prepared) =>
    this.ask<ConvertedStrip>({ kind: "convert", conversion, strip, prepared });

  sample(sampling: StripUnderScheme): Promise<StripSample> {
    return this.ask<StripSample>({ kind: "sample", sampling });
  }

  block(sampling: StripUnderScheme, place: BlockPlace): Promise<BlockValues> {
    return this.ask<BlockValues>({ kind: "block", sampling, place });
  }

  /** Opens the files that strips come from, in place of those before. @param files of the shards, by index */
  open(files: readonly NamedSource[]): void {
    for (const port of this.ports) port.postMessage({ files });
  }

  /** Fails all calls, present and future: a worker has died. */
  fail(message: string): void {
    this.failure = new PageError("worker", message);
    for (const { reject } of [...this.busy.values(), ...this.queue]) reject(this.failure);
    this.busy.clear();
    this.queue.length = 0;
  }

  private ask<T extends ConvertedStrip | StripSample | BlockValues>(task: StripTask): Promise<T> {
    if (this.failure !== null) return Promise.reject(this.failure);
    return new Promise<T>((resolve, reject) => {
      this.queue.push({ task, resolve: resolve as (value: never) => void, reject });
      this.next();
    });
  }

  private next(): void {
    while (this.idle.length > 0 && this.queue.length > 0) {
      const port = this.idle.pop()!;
      const waiting = this.queue.shift()!;
      this.busy.set(port, waiting);
      port.postMessage(waiting.task);
    }
  }

  private finish(port: MessagePort, reply: StripReply): void {
    const waiting = this.busy.get(port);
    this.busy.delete(port);
    this.idle.push(port);
    if ("problem" in reply) waiting?.reject(errorOf(reply.problem));
    else waiting?.resolve(reply.value as never);
    this.next();
  }
}

function errorOf({ kind, message, facts }: Problem): PageError {
  return new PageError(kind, message, facts === undefined ? {} : { facts });
}
