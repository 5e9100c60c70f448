import { batch, type Signal, signal } from "@preact/signals";
import type { RecipeName } from "../../train/recipes.ts";
import { download } from "../state/saving.ts";
import { type PairStep, TrainingPair } from "./pair.ts";
import { stories, sums } from "./stories.ts";

export const TEXTS = ["stories", "sums", "own"] as const;
export const RECIPES: readonly RecipeName[] = [
  "deepseek",
  "mxfp8",
  "mxfp8-e5m2",
  "mxfp8-floor",
  "e5m2",
  "mxfp4",
];

/** What the form holds. */
export interface TrainingForm {
  readonly text: (typeof TEXTS)[number];
  readonly own: string;
  readonly recipe: RecipeName;
  readonly steps: number;
}

export const STANDARD: TrainingForm = { text: "stories", own: "", recipe: "deepseek", steps: 200 };

export const trainingForm: Signal<TrainingForm> = signal(STANDARD);
export const trainingStage: Signal<"idle" | "going" | "stopped" | "ended"> = signal("idle");
export const steps: Signal<readonly PairStep[]> = signal([]);
/** What was chosen for these steps: the form may hold something else by now. */
export const runForm: Signal<TrainingForm> = signal(STANDARD);
export const sample: Signal<{ readonly step: number; readonly text: string } | null> = signal(null);
export const failure: Signal<string | null> = signal(null);

/** Steps between two samples of text. */
const SAMPLED = 25;

/** A run and the number of its steps. It goes on while other parts of the page are shown. */
interface TrainingRun {
  readonly pair: TrainingPair;
  readonly total: number;
  /** Whether it is being opened or is in a step. */
  isGoing: boolean;
}

let run: TrainingRun | null = null;

export function start(): void {
  const chosen = trainingForm.value;
  const { text, own, recipe, steps: total } = chosen;
  run?.pair.end();
  const current: TrainingRun = { pair: new TrainingPair(), total, isGoing: true };
  run = current;
  batch(() => {
    runForm.value = chosen;
    steps.value = [];
    sample.value = null;
    failure.value = null;
    trainingStage.value = "going";
  });
  const source = text === "own" ? own : text === "sums" ? sums(1, 3000) : stories(1, 1000);
  withFailureShown(current, async () => {
    await current.pair.open({ text: source, recipe, steps: total, seed: 1 });
    await go(current);
  });
}

/** Takes steps until the run is stopped, or over. */
async function go(current: TrainingRun): Promise<void> {
  const { pair, total } = current;
  current.isGoing = true;
  while (trainingStage.value === "going" && pair.steps < total) {
    const step = await pair.step();
    steps.value = [...steps.value, step];
    if (pair.steps % SAMPLED === 0 || pair.steps === total)
      sample.value = { step: pair.steps, text: await pair.sample() };
  }
  current.isGoing = false;
  if (pair.steps >= total) trainingStage.value = "ended";
}

export function stop(): void {
  trainingStage.value = "stopped";
}

export function resumeTraining(): void {
  trainingStage.value = "going";
  const current = run!;
  if (!current.isGoing) withFailureShown(current, () => go(current));
}

export function save(): void {
  const current = run!;
  withFailureShown(current, async () => download(await current.pair.archive(), "trained.zip"));
}

/** Calls an action of a run, and shows its error. */
async function withFailureShown(current: TrainingRun, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (current !== run) return;
    current.pair.end();
    failure.value = (error as Error).message;
    trainingStage.value = "idle";
  }
}
