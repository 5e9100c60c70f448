import { downloadZip } from "client-zip";
import { byteTokenizer } from "../../train/byte-tokenizer.ts";
import { Learner } from "./learner.ts";
import type { Results, TrainingAnswer, TrainingOrder } from "./protocol.ts";

/** One model that learns. */
let learner: Learner | null = null;

async function carryOut(order: TrainingOrder): Promise<Results[TrainingOrder["kind"]]> {
  if (order.kind === "start") {
    learner = await Learner.open(order.settings);
    return undefined;
  }
  if (order.kind === "step") return learner!.step();
  return order.kind === "sample" ? learner!.sample() : archiveOf(learner!);
}

/** The checkpoint with its optimiser and its tokenizer, as one file. */
function archiveOf(trained: Learner): Promise<Blob> {
  const files = [...byteTokenizer(), ...trained.files(true)];
  return downloadZip(files.map(([name, input]) => ({ name: `trained/${name}`, input }))).blob();
}

async function answer(order: TrainingOrder): Promise<void> {
  let found: TrainingAnswer;
  try {
    found = { result: await carryOut(order) };
  } catch (error) {
    found = { failure: error instanceof Error ? error.message : String(error) };
  }
  self.postMessage(found);
}

let last = Promise.resolve();
self.onmessage = ({ data }: MessageEvent<TrainingOrder>) => {
  last = last.then(() => answer(data));
};
