import { SingleBar } from "cli-progress";
import type { Progress } from "../checkpoint/run.ts";
import * as figures from "./figures.ts";

/** Shows how far a conversion is on standard error, where that is a terminal. */
export interface ProgressBar {
  /** Bytes of all files together. */
  update(progress: Progress): void;
  stop(): void;
}

/** Starts a bar over `size` bytes; a silent one where nobody watches. */
export function startProgress(size: number): ProgressBar {
  if (!process.stderr.isTTY) return { update: () => {}, stop: () => {} };
  const bar = new SingleBar({
    stream: process.stderr,
    format: "{bar} {percentage}% | {done} of {size} | {rate}/s | {eta_formatted} left | {tensor}",
    hideCursor: true,
    clearOnComplete: true,
    stopOnComplete: false,
    linewrap: false,
    etaBuffer: 50,
  });
  const started = performance.now();
  const fields = (progress: Progress) => ({
    done: figures.bytes(progress.bytes),
    size: figures.bytes(size),
    rate: figures.bytes(progress.bytes / Math.max(0.001, (performance.now() - started) / 1000)),
    tensor: progress.tensor,
  });
  bar.start(size, 0, fields({ bytes: 0, size, tensor: "" }));
  return {
    update: (progress) => bar.update(progress.bytes, fields(progress)),
    stop: () => bar.stop(),
  };
}
