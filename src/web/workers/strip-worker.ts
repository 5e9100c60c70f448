import { type StripSample, type StripSampling, sampleStrip } from "../../checkpoint/measure/sample.ts";
import type { Conversion, Preparation } from "../../checkpoint/plan/conversion.ts";
import type { Strip } from "../../checkpoint/plan/strip.ts";
import { convertStrip, type Piece } from "../../checkpoint/run/convert.ts";
import type { Source } from "../../io/source.ts";
import { openEngine } from "./engine.ts";
import { problemOf } from "./problem.ts";
import type { NamedSource, Problem } from "./protocol.ts";
import { openSource } from "./source-of.ts";

/** One strip to work on. */
export type StripTask =
  | {
      readonly kind: "convert";
      readonly conversion: Conversion;
      readonly strip: Strip;
      readonly prepared: Preparation;
    }
  | { readonly kind: "sample"; readonly sampling: StripSampling };

export type StripReply = { readonly value: Piece | StripSample } | { readonly problem: Problem };

declare const self: DedicatedWorkerGlobalScope;

const engine = Promise.resolve().then(openEngine);
// Looked at when a task asks for it; until then it must not count as unhandled.
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
    const value =
      data.kind === "convert"
        ? await convertStrip(data.conversion, data.strip, data.prepared, await sources, await engine)
        : await sampleStrip(data.sampling, await sources, await engine);
    port.postMessage({ value } satisfies StripReply, buffersOf(value));
  } catch (error) {
    port.postMessage({ problem: problemOf(error) } satisfies StripReply);
  }
}

/** Buffers to hand over instead of copying; views into one buffer give it once. */
function buffersOf(value: Piece | StripSample): ArrayBuffer[] {
  const arrays = "values" in value ? [value.values, value.scales] : [value.exponents];
  return [...new Set(arrays.map(({ buffer }) => buffer as ArrayBuffer))].filter(
    ({ byteLength }) => byteLength > 0,
  );
}
