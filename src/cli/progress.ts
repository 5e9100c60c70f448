import { SingleBar } from "cli-progress";
import type { Progress } from "../checkpoint/run/run.ts";
import * as figures from "./figures.ts";

/** Shows how far a conversion of one or more files is on standard error, where that is a terminal. */
export interface ProgressBar {
  /** Within the current file. */
  readonly update: (progress: Progress) => void;
  /** The current file, of so many bytes, is done. */
  finish(size: number): void;
  stop(): void;
}

/** Starts a bar over `size` bytes of all files together; a silent one where nobody watches. */
export function startProgress(size: number): ProgressBar {
  if (!process.stderr.isTTY) return { update: () => {}, finish: () => {}, stop: () => {} };
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
  let finished = 0;
  const show = (bytes: number, tensor: string) => {
    const seconds = Math.max(0.001, (performance.now() - started) / 1000);
    return {
      done: figures.bytes(bytes),
      size: figures.bytes(size),
      rate: figures.bytes(bytes / seconds),
      tensor: figures.cell(tensor),
    };
  };
  bar.start(size, 0, show(0, ""));
  return {
    update: ({ bytes, tensor }) => bar.update(finished + bytes, show(finished + bytes, tensor)),
    finish: (bytes) => {
      finished += bytes;
    },
    stop: () => bar.stop(),
  };
}
