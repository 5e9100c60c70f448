import { batch, effect, type Signal, signal } from "@preact/signals";
import type { DialectName } from "../../checkpoint/dialects/index.ts";
import { lendModelWorkers } from "../../model/script.ts";
import type { LentWorkers } from "../../threads/lend.ts";
import { origin } from "../state/address.ts";
import { chosen, problem, problemsOfView } from "../state/signals.ts";
import { stories } from "../train/stories.ts";
import type { Problem } from "../workers/problem.ts";
import type { ChosenCheckpoint } from "../workers/protocol.ts";
import type {
  ChatTurn,
  ConvertedModel,
  MeasuredText,
  ModelFacts,
  ModelNews,
  ModelOrder,
  ModelSide,
  Position,
  Speed,
  Token,
} from "./protocol.ts";

/** What can be done with a model here. */
export const MODEL_ACTIONS = ["continue", "measure", "chat"] as const;
export type ModelAction = (typeof MODEL_ACTIONS)[number];

/** The task in progress: nothing can be asked for meanwhile. */
export type Busy = "opening" | "converting" | ModelAction;

/** A value for each of the two models. */
export type Both<T> = Readonly<Record<ModelSide, T>>;

const NO_TOKENS: Both<readonly Token[]> = { original: [], converted: [] };
const NO_SPEED: Both<Speed> = { original: null, converted: null };

export const task: Signal<ModelAction> = signal("continue");
export const busy: Signal<Busy | null> = signal(null);
/** Progress of the opening, the conversion or the measurement, from 0 to 1. */
export const progress: Signal<number> = signal(0);
export const facts: Signal<ModelFacts | null> = signal(null);
/** The format that is asked for; `null` runs the original alone. */
export const format: Signal<DialectName | null> = signal("deepseek-v3.1");
export const converted: Signal<ConvertedModel | null> = signal(null);

/** What a text begins with until the user says something else. */
export const PROMPT = "One day Mia and a red cat";
export const prompt: Signal<string> = signal(PROMPT);
/** The prompt that was gone on from: the field may hold another by now. */
export const continuedPrompt: Signal<string> = signal("");
export const length: Signal<number> = signal(60);
export const temperature: Signal<number> = signal(0);
export const written: Signal<Both<readonly Token[]>> = signal(NO_TOKENS);
export const speed: Signal<Both<Speed>> = signal(NO_SPEED);
export const positions: Signal<readonly Position[]> = signal([]);
/** The position whose candidates are shown. */
export const selectedPosition: Signal<number> = signal(0);

export const text: Signal<string> = signal("");
export const measured: Signal<MeasuredText | null> = signal(null);

export const turns: Signal<readonly ChatTurn[]> = signal([]);
/** What is typed and not sent yet. */
export const message: Signal<string> = signal("");
export const partner: Signal<ModelSide> = signal("original");

let worker: Worker | null = null;
/** The threads that the worker's models run in. */
let lent: LentWorkers | null = null;
/** The checkpoint that the worker has open. */
let openInWorker: ChosenCheckpoint | null = null;

function send(what: ModelOrder, transfer: Transferable[] = []): void {
  worker!.postMessage(what, transfer);
}

/**
 * Opens in the worker what is open on the page, from now on, and converts it to the format that is asked for.
 */
export function follow(): () => void {
  return effect(() => {
    const wanted = chosen.value;
    if (wanted !== null && wanted !== openInWorker) load(wanted);
  });
}

function load(wanted: ChosenCheckpoint): void {
  worker?.terminate();
  void lent?.close();
  worker = new Worker(new URL("./run-worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }: MessageEvent<ModelNews>) => take(data);
  worker.onerror = (event) => {
    event.preventDefault();
    fail({ kind: "worker", message: event.message || "The worker stopped." });
  };
  openInWorker = wanted;
  // The example model was trained on stories of this kind, but not on these.
  if (origin.value?.kind === "example") text.value = stories(2, 12);
  batch(() => {
    facts.value = null;
    converted.value = null;
    turns.value = [];
    forgetText();
    begin("opening");
  });
  lent = lendModelWorkers();
  send({ kind: "open", chosen: wanted, workers: lent.port }, [lent.port]);
}

function forgetText(): void {
  written.value = NO_TOKENS;
  speed.value = NO_SPEED;
  positions.value = [];
  measured.value = null;
  selectedPosition.value = 0;
}

function begin(what: Busy): void {
  problem.value = null;
  progress.value = 0;
  busy.value = what;
}

/** Converts to another format, or to none. */
export function convertTo(to: DialectName | null): void {
  batch(() => {
    format.value = to;
    forgetText();
    converted.value = null;
    begin("converting");
  });
  send({ kind: "convert", to });
}

/** Lets both models go on from the prompt. */
export function continueText(): void {
  batch(() => {
    forgetText();
    continuedPrompt.value = prompt.value;
    begin("continue");
  });
  send({
    kind: "continue",
    how: { prompt: prompt.value, tokens: length.value, temperature: temperature.value, seed: 1 },
  });
}

export function measure(): void {
  batch(() => {
    measured.value = null;
    begin("measure");
  });
  send({ kind: "measure", text: text.value });
}

/** Says something to one of the models. */
export function say(content: string): void {
  const asked: ChatTurn[] = [...turns.value, { role: "user", content }];
  batch(() => {
    begin("chat");
    speed.value = NO_SPEED;
    turns.value = [...asked, { role: "assistant", content: "" }];
  });
  send({ kind: "chat", side: partner.value, turns: asked, temperature: temperature.value });
}

export function stop(): void {
  send({ kind: "stop" });
}

export const problems: ReturnType<typeof problemsOfView> = problemsOfView();

function fail(found: Problem): void {
  batch(() => {
    problems.show(found);
    // A model that could not be opened may be tried again.
    if (facts.value === null) openInWorker = null;
    takeBackUnanswered();
    busy.value = null;
  });
}

/** Puts a message back into its field that got no answer: an empty one would stay in the conversation. */
function takeBackUnanswered(): void {
  const [asked, answer] = turns.value.slice(-2);
  if (busy.value !== "chat" || answer?.content !== "") return;
  turns.value = turns.value.slice(0, -2);
  if (message.value === "") message.value = asked!.content;
}

function take(news: ModelNews): void {
  switch (news.kind) {
    case "progress":
      progress.value = news.share;
      break;
    case "opened":
      facts.value = news.facts;
      break;
    case "converted":
      converted.value = news.converted;
      break;
    case "token":
      takeToken(news.side, news.token);
      break;
    case "speed":
      speed.value = { ...speed.value, [news.side]: news.speed };
      break;
    case "positions":
      positions.value = news.positions;
      selectedPosition.value = mostApart(news.positions);
      break;
    case "measured":
      measured.value = news.measured;
      break;
    case "failed":
      fail(news.problem);
      break;
    case "ended":
      end();
  }
}

/** Index of the token with the largest divergence. */
function mostApart(all: readonly Position[]): number {
  let most = 0;
  for (const [i, { divergence }] of all.entries())
    if ((divergence ?? 0) > (all[most]!.divergence ?? 0)) most = i;
  return most;
}

function end(): void {
  const ended = busy.value;
  batch(() => {
    takeBackUnanswered();
    busy.value = null;
  });
  if (ended === "opening" && facts.value!.writes && format.value !== null) convertTo(format.value);
}

function takeToken(side: ModelSide, token: Token): void {
  if (busy.value !== "chat") {
    written.value = { ...written.value, [side]: [...written.value[side], token] };
    return;
  }
  const answer = turns.value.at(-1)!;
  turns.value = [...turns.value.slice(0, -1), { ...answer, content: answer.content + token.text }];
}
