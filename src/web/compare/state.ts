import { batch, type Signal, signal } from "@preact/signals";
import type { ComparedTensor } from "../../checkpoint/measure/compare.ts";
import { problemIn } from "../state/client.ts";
import type { ExampleName } from "../state/examples.ts";
import type { ChosenFiles } from "../state/files.ts";
import { checkpointIn, chosenExample } from "../state/opening.ts";
import { chosen, problem, problemsOfView } from "../state/signals.ts";
import type { ChosenCheckpoint } from "../workers/protocol.ts";
import type { ComparisonNews, ComparisonOrder } from "./protocol.ts";

/** The checkpoint to compare the open one with; `null` until it is chosen. */
export const other: Signal<ChosenCheckpoint | null> = signal(null);
export const isComparing: Signal<boolean> = signal(false);
export const tensors: Signal<readonly ComparedTensor[]> = signal([]);

export const problems: ReturnType<typeof problemsOfView> = problemsOfView();

let worker: Worker | null = null;

/** Compares the open checkpoint with another one. */
async function compareWith(
  choosing: ChosenCheckpoint | null | Promise<ChosenCheckpoint | null>,
): Promise<void> {
  try {
    const b = await choosing;
    const a = chosen.value;
    if (b === null || a === null) return;
    worker?.terminate();
    worker = new Worker(new URL("./compare-worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<ComparisonNews>) => take(data);
    worker.onerror = (event) => {
      event.preventDefault();
      take({
        kind: "failed",
        problem: { kind: "worker", message: event.message || "The worker stopped." },
      });
    };
    batch(() => {
      problem.value = null;
      other.value = b;
      tensors.value = [];
      isComparing.value = true;
    });
    worker.postMessage({ a, b } satisfies ComparisonOrder);
  } catch (error) {
    problems.show(problemIn(error));
  }
}

export async function compareWithFiles(choosing: ChosenFiles | Promise<ChosenFiles | null>): Promise<void> {
  await compareWith(Promise.resolve(choosing).then(checkpointIn));
}

export function compareWithPlace(place: string, token: string): void {
  compareWith({ kind: "place", place, token });
}

export function compareWithExample(name: ExampleName): void {
  compareWith(chosenExample(name));
}

/** Back to the choice of the other checkpoint; a comparison that goes on ends. */
export function forgetOther(): void {
  worker?.terminate();
  batch(() => {
    other.value = null;
    isComparing.value = false;
    tensors.value = [];
  });
}

function take(news: ComparisonNews): void {
  if (news.kind === "tensors") tensors.value = [...tensors.value, ...news.tensors];
  else if (news.kind === "ended") isComparing.value = false;
  else {
    forgetOther();
    problems.show(news.problem);
  }
}
