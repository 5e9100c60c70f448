import type { Model } from "../../model/model.ts";
import { canShare } from "../../threads/start.ts";
import { openChosen } from "../workers/chosen.ts";
import type { Problem } from "../workers/problem.ts";
import { PageError, problemOf } from "../workers/problem.ts";
import type { ChosenCheckpoint } from "../workers/protocol.ts";
import { measureText, wrongText } from "./measure.ts";
import { ModelPair } from "./models.ts";
import type { Continuing, ModelNews, ModelOrder } from "./protocol.ts";
import { comparePositions, write } from "./writing.ts";

let pair: ModelPair | null = null;
/** Ends what is going on. */
let stopping = new AbortController();

const tell = (news: ModelNews) => self.postMessage(news);

/** Milliseconds between two messages of progress. */
const INTERVAL = 100;

/** A function that sends progress to the page, at most once in an interval. */
function teller(): (share: number) => void {
  let told = 0;
  return (share) => {
    if (performance.now() - told < INTERVAL) return;
    told = performance.now();
    tell({ kind: "progress", share });
  };
}

/** Threads of a model: one for each core, eight at most; one where memory cannot be shared. */
function threadsHere(): number {
  return canShare() ? Math.max(1, Math.min(8, navigator.hardwareConcurrency)) : 1;
}

async function open(chosen: ChosenCheckpoint, workers: MessagePort): Promise<void> {
  const before = pair;
  pair = null;
  await before?.close();
  const { name, files } = await openChosen(chosen);
  pair = await ModelPair.open(name, files, { threads: threadsHere(), workers }, teller());
  tell({ kind: "opened", facts: pair.facts });
}

function opened(): ModelPair {
  if (pair === null) throw new PageError("other", "No model is open.");
  return pair;
}

/** How many tokens fit behind a text. @throws BlockscaleError `option`: none */
function roomAfter(ids: ArrayLike<number>, { config: { context } }: Model): number {
  if (ids.length < context) return context - ids.length;
  throw wrongText(
    `fewer than ${context} tokens, the model's context`,
    ids.length,
    "Leave out its beginning.",
  );
}

async function continueText({ prompt, tokens, temperature, seed }: Continuing): Promise<void> {
  const { original } = opened();
  const ids = original.tokenizer!.encode(prompt);
  const { signal } = stopping;
  const room = roomAfter(ids, original);
  const options = { maxTokens: Math.min(tokens, room), temperature, seed, signal };
  let text: readonly number[] = [];
  for (const side of ["original", "converted"] as const) {
    const model = opened().of(side);
    if (model === null || signal.aborted) continue;
    const written = await write(model, ids, options, (token) => tell({ kind: "token", side, token }));
    if (side === "original") text = written.tokens.map(({ id }) => id).filter((id) => id >= 0);
    tell({ kind: "speed", side, speed: written.speed });
  }
  const all = Int32Array.from([...ids, ...text]);
  const positions = await comparePositions(original, opened().of("converted"), all, ids.length);
  tell({ kind: "positions", positions });
}

async function chat({ side, turns, temperature }: Extract<ModelOrder, { kind: "chat" }>): Promise<void> {
  const model = opened().of(side) ?? opened().original;
  const { signal } = stopping;
  const ids = model.tokenizer!.chat(turns);
  const maxTokens = Math.min(1024, roomAfter(ids, model));
  const { speed } = await write(model, ids, { maxTokens, temperature, signal }, (token) =>
    tell({ kind: "token", side, token }),
  );
  tell({ kind: "speed", side, speed });
}

async function measure(text: string): Promise<void> {
  const converted = opened().of("converted");
  if (converted === null) throw new PageError("other", "Nothing is converted.");
  const options = { signal: stopping.signal, onProgress: teller() };
  try {
    tell({ kind: "measured", measured: await measureText(opened().original, converted, text, options) });
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
  }
}

async function follow(order: Exclude<ModelOrder, { kind: "stop" }>): Promise<void> {
  stopping = new AbortController();
  if (order.kind === "open") await open(order.chosen, order.workers);
  else if (order.kind === "convert")
    tell({ kind: "converted", converted: await opened().convert(order.to, teller()) });
  else if (order.kind === "continue") await continueText(order.how);
  else if (order.kind === "chat") await chat(order);
  else await measure(order.text);
}

/** `problemOf` takes wrong options for wrong patterns, which only the converter has. */
function problemIn(error: unknown): Problem {
  const problem = problemOf(error);
  return problem.kind === "pattern" ? { ...problem, kind: "other" } : problem;
}

self.onmessage = async ({ data }: MessageEvent<ModelOrder>) => {
  if (data.kind === "stop") {
    stopping.abort();
    return;
  }
  try {
    await follow(data);
    tell({ kind: "ended" });
  } catch (error) {
    tell({ kind: "failed", problem: problemIn(error) });
  }
};
