import { createHash } from "node:crypto";
import type { Source } from "../../io/source.ts";
import { refuseRecord } from "../spec.ts";

/** One job of some work, as its coordinator sees it. */
export interface WorkItem {
  /** Id of the job: the same job has the same id, whoever asks for it and however often. */
  readonly id: string;
  /** Name of the job, for people. */
  readonly name: string;
  /** Size of the job, in the unit of its work. */
  readonly size: number;
  /** What the worker gets. */
  readonly data: object;
}

/** Work that a coordinator lets workers do. */
export interface Work {
  readonly kind: "quantize" | "dequantize" | "evaluate";
  readonly unit: "bytes" | "tokens";
  readonly items: readonly WorkItem[];
  /** Checks the result that a worker reports, and records it if it holds. @returns whether it holds */
  accept(item: WorkItem, result: unknown): Promise<boolean>;
}

/** How far a job is. */
export interface JobProgress {
  /** How much is done, in the unit of the work. */
  readonly done: number;
  /** Per cent done, under the name that dashboards look for. */
  readonly progress: number;
  readonly worker: string;
}

/** Settings of a worker. */
export interface QueueWorkerOptions {
  readonly version: string;
  /** Folders, and beginnings of addresses, that jobs may read and write. */
  readonly allowed: readonly string[];
  /** Threads of one job; one for each core, as far as they pay, if left out. */
  readonly threads?: number | undefined;
  /** Seconds without a message from its worker after which a job goes to another one. */
  readonly stalledAfter: number;
  /** Ends the worker when it is aborted; the job under way is still finished. */
  readonly signal: AbortSignal;
  open(place: string): Promise<OpenedFiles>;
  onEvent(event: { readonly kind: "done" | "failed" | "trouble"; readonly text: string }): void;
}

export interface OpenedFiles {
  readonly files: ReadonlyMap<string, Source>;
  close(): Promise<void>;
}

/** Does jobs of one kind, one after the other, and keeps open what the last one needed. */
export interface JobHandler<D> {
  /** @param tell takes how much is done and how much there is, in the unit of the work */
  work(data: D, tell: (done: number, size: number) => void): Promise<object>;
  close(): Promise<void>;
}

export function idOf(...parts: readonly unknown[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 40);
}

/** @throws BlockscaleError `format` */
export function refuseJob(expected: string, value: unknown): never {
  const fix =
    "Another program writes into this queue: give blockscale a Redis of its own, or a database of its own (redis://HOST:PORT/1).";
  return refuseRecord("a job of the queue", expected, value, fix);
}
