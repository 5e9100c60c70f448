import { downloadZip } from "client-zip";
import { byteTokenizer } from "../../train/bytes.ts";
import { TrainingPair } from "./pair.ts";
import type { News, Order } from "./protocol.ts";

/** Steps between two samples of text. */
const SAMPLED = 25;

let pair: TrainingPair | null = null;
let steps = 0;
let isGoing = false;

const tell = (news: News) => self.postMessage(news);

/** Takes steps until it is stopped: between two of them messages come in. */
async function go(): Promise<void> {
  if (pair === null || isGoing) return;
  isGoing = true;
  while (isGoing && pair.steps < steps) {
    tell({ kind: "step", step: await pair.step() });
    if (pair.steps % SAMPLED === 0 || pair.steps === steps)
      tell({ kind: "sample", step: pair.steps, text: await pair.sample() });
    await new Promise((resolve) => setTimeout(resolve));
  }
  if (pair.steps >= steps) tell({ kind: "ended" });
  isGoing = false;
}

/** The checkpoint with its optimiser and its tokenizer, as one file. */
function archiveOf(trained: TrainingPair): Promise<Blob> {
  const files = [...byteTokenizer(), ...trained.files(true)];
  return downloadZip(files.map(([name, input]) => ({ name: `trained/${name}`, input }))).blob();
}

self.onmessage = async ({ data }: MessageEvent<Order>) => {
  try {
    if (data.kind === "start") {
      steps = data.settings.steps;
      pair = await TrainingPair.open(data.settings);
      await go();
    } else if (data.kind === "go") await go();
    else if (data.kind === "stop") isGoing = false;
    else if (pair !== null) tell({ kind: "archive", archive: await archiveOf(pair) });
  } catch (error) {
    isGoing = false;
    tell({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  }
};
