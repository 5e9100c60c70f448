import { clearScreenDown, moveCursor } from "node:readline";
import { markdownTable } from "markdown-table";
import type { ConversionSettings } from "../jobs/conversion.ts";
import { type Connection, parseQueue } from "../jobs/queue/connection.ts";
import { conversionWork } from "../jobs/queue/conversion.ts";
import { coordinate, type QueueStatus } from "../jobs/queue/coordinate.ts";
import { refuseSecrets } from "../jobs/queue/places.ts";
import { runsInQueue } from "../jobs/queue/status.ts";
import { trainingOn } from "../jobs/queue/training-run.ts";
import type { Work } from "../jobs/queue/work.ts";
import { serveQueue } from "../jobs/queue/worker.ts";
import { joinRun } from "../jobs/records.ts";
import { planShared } from "../jobs/spec.ts";
import * as figures from "./figures.ts";
import { openInput } from "./input.ts";
import { finishRun, openShared, placeOf, tellFinished } from "./part.ts";
import { print, printJson } from "./print.ts";
import { version } from "./version.ts";

/** `blockscale quantize IN OUT --queue redis://…`: lets workers make the files, and completes the output. */
export async function convertQueued(
  from: string,
  out: string,
  address: string,
  task: ConversionSettings,
  flags: { readonly json?: true },
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now();
  const connection = parseQueue(address);
  refuseSecrets(from);
  const to = placeOf(out);
  const input = await openShared(from, signal);
  try {
    const shared = await planShared({ from: placeOf(from), version: version(), ...task }, input.files);
    if (await tellFinished(to, shared, flags, signal)) return;
    await joinRun(to, shared);
    const { work, entries } = conversionWork(to, shared);
    await runByWorkers(connection, work, flags.json === true, signal);
    await finishRun(to, shared, entries, { ...flags, started }, signal);
  } finally {
    await input.close();
  }
}

/** Puts work into the queue, waits until workers have done it, and shows progress. */
export async function runByWorkers(
  connection: Connection,
  work: Work,
  asJson: boolean,
  signal: AbortSignal,
): Promise<void> {
  const table = new ProgressTable(asJson);
  try {
    await coordinate(connection, work, signal, (status) => table.show(status));
  } finally {
    table.clear();
  }
}

/** Progress of a run on standard error: a table that is redrawn, or a line of JSON at each change. */
class ProgressTable {
  readonly #asJson: boolean;
  readonly #started = performance.now();
  #first: number | null = null;
  #drawn = 0;
  #last = "";

  constructor(asJson: boolean) {
    this.#asJson = asJson;
  }

  show(status: QueueStatus): void {
    // The rate counts what was made since this command began.
    this.#first ??= status.done;
    const seconds = Math.max(0.001, (performance.now() - this.#started) / 1000);
    const rate = Math.max(0, status.done - this.#first) / seconds;
    const secondsLeft = rate > 0 ? Math.round((status.size - status.done) / rate) : null;
    if (this.#asJson) {
      const line = JSON.stringify({ ...status, perSecond: Math.round(rate), secondsLeft });
      if (line !== this.#last) process.stderr.write(`${line}\n`);
      this.#last = line;
      return;
    }
    if (!process.stderr.isTTY) return;
    const amount = (n: number): string =>
      status.unit === "bytes" ? figures.bytes(n) : `${Math.round(n)} tokens`;
    const workers = new Set(status.active.map(({ worker }) => worker)).size;
    const head = [
      `${workers} workers`,
      `${status.jobsDone} of ${status.jobs} jobs`,
      `${amount(status.done)} of ${amount(status.size)}`,
      `${amount(rate)}/s`,
      `${secondsLeft ?? "?"} s left`,
      `${status.retries} retries`,
    ].join(" | ");
    const rows = status.active.map(({ job, worker, done, size }) => [
      figures.cell(worker),
      figures.cell(job),
      `${Math.floor((100 * done) / size)} %`,
    ]);
    const lines = [head, ...markdownTable([["worker", "job", "done"], ...rows]).split("\n")];
    this.clear();
    // Never more lines than the screen has, or the cursor could not go back.
    const shown = lines.slice(0, Math.max(1, (process.stderr.rows || 24) - 1));
    process.stderr.write(`${shown.map((line) => line.slice(0, process.stderr.columns || 80)).join("\n")}\n`);
    this.#drawn = shown.length;
  }

  clear(): void {
    if (this.#drawn === 0) return;
    moveCursor(process.stderr, 0, -this.#drawn);
    clearScreenDown(process.stderr);
    this.#drawn = 0;
  }
}

export interface WorkerFlags {
  readonly queue: string;
  readonly threads?: number;
  readonly allow?: string[];
  readonly stalledAfter: number;
}

/**
 * `blockscale worker --queue redis://…`: does jobs until it is told to
 * stop; the one under way is still finished.
 */
export async function work(flags: WorkerFlags, signal: AbortSignal): Promise<void> {
  const connection = parseQueue(flags.queue);
  const allowed = (flags.allow ?? ["."]).map(placeOf);
  process.stderr.write(
    `Waiting for jobs on ${connection.host}:${connection.port}; may use ${allowed.map((one) => figures.text(one)).join(", ")}.\n`,
  );
  let last = "";
  await serveQueue(connection, {
    version: version(),
    allowed,
    threads: flags.threads,
    stalledAfter: flags.stalledAfter,
    signal,
    open: (place) => openInput(place),
    onEvent: ({ kind, text }) => {
      const line = `${kind}: ${figures.text(figures.cut(text, 1000))}`;
      // While Redis cannot be reached, the same message comes again and again: it is shown once.
      if (kind !== "trouble" || line !== last) process.stderr.write(`${line}\n`);
      last = line;
    },
  });
  process.stderr.write("Stopped; no job was left half done.\n");
}

/** `blockscale status --queue redis://…` */
export async function status(flags: { readonly queue: string; readonly json?: true }): Promise<void> {
  const connection = parseQueue(flags.queue);
  const runs = await runsInQueue(connection);
  const training = await trainingOn(connection);
  if (flags.json === true) return printJson({ runs, training });
  const jobs = runs.map(({ from, to, waiting, active, done, failed }) => [
    figures.cell(from),
    figures.cell(to),
    ...[waiting, active, done, failed].map(String),
  ]);
  const tables: string[] = [];
  if (jobs.length > 0)
    tables.push(markdownTable([["input", "output", "waiting", "active", "done", "failed"], ...jobs]));
  if (training !== null) {
    const { out, present, size, step, steps, loss } = training;
    const row = [figures.cell(out), `${present} of ${size}`, `${step} of ${steps}`, loss?.toFixed(4) ?? "-"];
    tables.push(markdownTable([["training", "ranks", "step", "loss"], row]));
  }
  return print(tables.join("\n\n") || "No jobs.");
}
