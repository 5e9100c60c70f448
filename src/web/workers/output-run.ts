import type { OutputFile } from "../../checkpoint/plan/outputs.ts";
import { outputBytes } from "../../checkpoint/run/outputs.ts";
import type { Precision } from "../../engine/precision.ts";
import type { Source } from "../../io/source.ts";
import type { OutputStorage } from "./output-storage.ts";
import { type OutputWriter, outputWritersFor } from "./output-writers.ts";
import type { StripPool } from "./pool.ts";
import { PageError } from "./problem.ts";
import type { FinishedRun, RunProgress, RunStep, Target, WrittenFile } from "./protocol.ts";

/** Milliseconds between two messages to the page. */
const INTERVAL = 100;

/** Writes the files of a plan one after the other; can be paused and cancelled. */
export class OutputRun {
  private readonly files: readonly OutputFile[];
  private readonly target: Target;
  private readonly pool: StripPool;
  private readonly sources: readonly Source[];
  private readonly inputs: readonly File[];
  private readonly storage: OutputStorage;
  private readonly onProgress: (progress: RunProgress) => void;
  private readonly abort = new AbortController();
  private gate: { readonly open: Promise<void>; release(): void } | null = null;
  private measured: [string, Precision][] = [];
  private told = 0;
  private bytes = 0;
  /** The newest tensor that is converted. */
  private tensor = "";
  private readonly size: number;

  constructor(
    files: readonly OutputFile[],
    target: Target,
    pool: StripPool,
    sources: readonly Source[],
    inputs: readonly File[],
    storage: OutputStorage,
    onProgress: (progress: RunProgress) => void,
  ) {
    this.files = files;
    this.target = target;
    this.pool = pool;
    this.sources = sources;
    this.inputs = inputs;
    this.storage = storage;
    this.onProgress = onProgress;
    this.size = files.reduce((n, file) => n + file.size, 0);
  }

  pause(): void {
    if (this.gate !== null) return;
    let release = () => {};
    const open = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.gate = { open, release };
  }

  resume(): void {
    this.gate?.release();
    this.gate = null;
  }

  cancel(): void {
    this.abort.abort(new PageError("cancelled", "The conversion was cancelled."));
    this.resume();
  }

  /**
   * Writes everything, then reads it back. Whatever fails, nothing is left that looks complete.
   * @param name of the output, for the next visit
   * @param check is run after the last read of the input: what was read must still be what is there
   */
  async start(name: string, check: () => Promise<void>): Promise<FinishedRun> {
    const isPrivate = this.target.kind === "private";
    // The folder is made for outputs in other places too: if it is left, the next visit knows that this run
    // did not end.
    const job = await this.storage.begin(isPrivate ? this.size : 0);
    const outputs = outputWritersFor(this.target, this.inputs, async () => job.folder);
    const begun: OutputWriter[] = [];
    const written: WrittenFile[] = [];
    try {
      // One file after the other is closed and verified, so that a long run fails early.
      for (const file of this.files) {
        const output = await outputs.create(file.name);
        begun.push(output);
        await this.write(file, output);
        if (file === this.files.at(-1)) await check();
        written.push(await this.verify(file, output));
      }
      await (isPrivate ? job.finish(name, written) : job.discard());
      return { id: isPrivate ? job.id : null, files: written };
    } catch (error) {
      for (const output of begun) await output.discard().catch(() => {});
      await job.discard();
      throw error;
    }
  }

  private async write(file: OutputFile, output: OutputWriter): Promise<void> {
    const { signal } = this.abort;
    let size = 0;
    for await (const chunk of this.bytesOf(file)) {
      signal.throwIfAborted();
      await output.write(chunk);
      size += chunk.length;
      this.bytes += chunk.length;
      if (this.gate !== null) {
        this.tell(this.making(this.tensor), true);
        await this.gate.open;
      }
      signal.throwIfAborted();
    }
    if (size !== file.size) {
      throw new PageError("verify", `${file.name}: planned ${file.size} bytes, made ${size}.`);
    }
    this.tell(this.making(file.name), true);
  }

  private async verify(file: OutputFile, output: OutputWriter): Promise<WrittenFile> {
    let read = 0;
    const { name, size } = file;
    const written = await output.close((bytes) => {
      this.abort.signal.throwIfAborted();
      read += bytes;
      this.tell({ phase: "verify", file: name, bytes: read, size }, read === size);
    });
    this.abort.signal.throwIfAborted();
    return written;
  }

  private bytesOf(file: OutputFile): AsyncGenerator<Uint8Array> {
    return outputBytes(file, {
      sources: this.sources,
      convert: this.pool.convert,
      ahead: this.pool.size + 2,
      signal: this.abort.signal,
      onProgress: ({ tensor }) => {
        this.tensor = tensor;
        this.tell(this.making(tensor), false);
      },
      onPrecision: (name, precision) => this.measured.push([name, precision]),
    });
  }

  private making(tensor: string): RunStep {
    return { phase: "convert", tensor, bytes: this.bytes, size: this.size };
  }

  /** @param now whether not to wait for the next message */
  private tell(step: RunStep, now: boolean): void {
    const time = performance.now();
    if (!now && time - this.told < INTERVAL) return;
    this.told = time;
    this.onProgress({ step, measured: this.measured });
    this.measured = [];
  }
}
