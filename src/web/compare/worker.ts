import { type ComparedTensor, compareCheckpoints, type Side } from "../../checkpoint/measure/compare.ts";
import { openCheckpoint } from "../../checkpoint/plan/folder.ts";
import { openChosen } from "../workers/chosen.ts";
import { openEngine } from "../workers/engine.ts";
import { problemOf } from "../workers/problem.ts";
import type { ChosenCheckpoint } from "../workers/protocol.ts";
import type { ComparisonNews, ComparisonOrder } from "./protocol.ts";

const tell = (news: ComparisonNews) => self.postMessage(news);

/** Milliseconds between two messages. */
const INTERVAL = 100;

async function sideOf(chosen: ChosenCheckpoint): Promise<Side> {
  const { name, files } = await openChosen(chosen);
  return openCheckpoint(files, name);
}

async function compare({ a, b }: ComparisonOrder): Promise<void> {
  const sides = [await sideOf(a), await sideOf(b)] as const;
  let waiting: ComparedTensor[] = [];
  let told = 0;
  const flush = () => {
    tell({ kind: "tensors", tensors: waiting });
    waiting = [];
    told = performance.now();
  };
  await compareCheckpoints(...sides, openEngine(), {
    onTensor: (tensor) => {
      waiting.push(tensor);
      if (performance.now() - told > INTERVAL) flush();
    },
  });
  flush();
}

self.onmessage = async ({ data }: MessageEvent<ComparisonOrder>) => {
  try {
    await compare(data);
    tell({ kind: "ended" });
  } catch (error) {
    tell({ kind: "failed", problem: problemOf(error) });
  }
};
