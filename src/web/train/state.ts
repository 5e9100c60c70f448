import { batch, type Signal, signal } from "@preact/signals";
import type { RecipeName } from "../../train/recipes.ts";
import { download } from "../session/saving.ts";
import type { PairStep } from "./pair.ts";
import type { News, Order } from "./protocol.ts";
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
export interface Form {
  readonly text: (typeof TEXTS)[number];
  readonly own: string;
  readonly recipe: RecipeName;
  readonly steps: number;
}

export const STANDARD: Form = { text: "stories", own: "", recipe: "deepseek", steps: 200 };

export const form: Signal<Form> = signal(STANDARD);
export const stage: Signal<"idle" | "going" | "stopped" | "ended"> = signal("idle");
export const steps: Signal<readonly PairStep[]> = signal([]);
export const sample: Signal<{ readonly step: number; readonly text: string } | null> = signal(null);
export const failure: Signal<string | null> = signal(null);

let worker: Worker | null = null;

const order = (what: Order) => worker?.postMessage(what);

/** A run goes on while other parts of the page are shown. */
export function start(): void {
  const { text, own, recipe, steps: wanted } = form.value;
  worker?.terminate();
  worker = new Worker(new URL("./train-worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }: MessageEvent<News>) => take(data);
  worker.onerror = (event) => {
    event.preventDefault();
    take({ kind: "failed", message: event.message || "The worker stopped." });
  };
  batch(() => {
    steps.value = [];
    sample.value = null;
    failure.value = null;
    stage.value = "going";
  });
  const chosen = text === "own" ? own : text === "sums" ? sums(1, 3000) : stories(1, 1000);
  order({ kind: "start", settings: { text: chosen, recipe, steps: wanted, seed: 1 } });
}

export function stop(): void {
  stage.value = "stopped";
  order({ kind: "stop" });
}

export function goOn(): void {
  stage.value = "going";
  order({ kind: "go" });
}

export function save(): void {
  order({ kind: "files" });
}

function take(news: News): void {
  if (news.kind === "step") steps.value = [...steps.value, news.step];
  else if (news.kind === "sample") sample.value = news;
  else if (news.kind === "ended") stage.value = "ended";
  else if (news.kind === "failed") {
    failure.value = news.message;
    stage.value = "idle";
  } else download(news.archive, "trained.zip");
}
