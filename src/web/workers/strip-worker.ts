import { type BlockPlace, type BlockValues, sampleBlock } from "../../checkpoint/measure/block.ts";
import { type StripSample, type StripUnderScheme, sampleStrip } from "../../checkpoint/measure/sample.ts";
import type { Preparation, WeightConversion } from "../../checkpoint/plan/conversion.ts";
import type { Strip } from "../../checkpoint/plan/strip.ts";
import { type ConvertedStrip, convertStrip } from "../../checkpoint/run/convert.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Source } from "../../io/source.ts";
import { openEngine } from "./engine.ts";
import type { Problem } from "./problem.ts";
import { problemOf } from "./problem.ts";
import type { NamedSource } from "./protocol.ts";
import { openSource } from "./source-of.ts";

/** One strip to work on. */
export type StripTask =
  | {
      readonly kind: "convert";
      readonly conversion: WeightConversion;
      readonly strip: Strip;
      readonly prepared: Preparation;
    }
  | { readonly kind: "sample"; readonly sampling: StripUnderScheme }
  | { readonly kind: "block"; readonly sampling: StripUnderScheme; readonly place: BlockPlace };

type Answer = ConvertedStrip | StripSample | BlockValues;

export type StripReply = { readonly value: Answer } | { readonly problem: Problem };

declare const self: DedicatedWorkerGlobalScope;

const engine = Promise.resolve().then(openEngine);
// The error is reported to the first task; until then it must not count as unhandled.
engine.catch(() => {});
let sources: Promise<readonly Source[]> = Promise.resolve([]);

// The page sends one message, with the port on which the coordinator asks.
self.onmessage = ({ data: { port } }: MessageEvent<{ port: MessagePort }>): void => {
  port.onmessage = (event) => answer(port, event.data);
};

async function answer(port: MessagePort, data: { files: readonly NamedSource[] } | StripTask): Promise<void> {
  if ("files" in data) {
    sources = Promise.all(data.files.map(openSource));
    sources.catch(() => {});
    return;
  }
  try {
    const value = await work(data, await sources, await engine);
    port.postMessage({ value } satisfies StripReply, buffersOf(value));
  } catch (error) {
    port.postMessage({ problem: problemOf(error) } satisfies StripReply);
  }
}

function work(task: StripTask, files: readonly Source[], on: Engine): Promise<Answer> {
  switch (task.kind) {
    case "convert":
      return convertStrip(task.conversion, task.strip, task.prepared, files, on);
    case "sample":
      return sampleStrip(task.sampling, files, on);
    case "block":
      return sampleBlock(task.sampling, task.place, files, on);
  }
}

/** Buffers to transfer instead of copying, each of them once. */
function buffersOf(value: Answer): ArrayBuffer[] {
  const arrays =
    "values" in value
      ? [value.values, value.scales]
      : "exponents" in value
        ? [value.exponents]
        : [value.before, ...(value.after === null ? [] : [value.after])];
  return [...new Set(arrays.map(({ buffer }) => buffer as ArrayBuffer))].filter(
    ({ byteLength }) => byteLength > 0,
  );
}
