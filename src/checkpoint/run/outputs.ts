import { readRange, type Source } from "../../io/source.ts";
import type { OutputFile } from "../plan/outputs.ts";
import { type FilePlan, tensorsRead } from "../plan/plan.ts";
import { COPIED, fileBytes, type RunOptions } from "./run.ts";

/**
 * The bytes of one file of the output, from the first to the last. After the last one the inputs are asked
 * whether they are still what was opened. If not, this throws, so that the file is never finished.
 * @throws BlockscaleError; what the signal was aborted with
 */
export async function* outputBytes(
  output: OutputFile,
  options: RunOptions,
): AsyncGenerator<Uint8Array, void, void> {
  if (output.kind === "shard") yield* fileBytes(output.plan, options);
  else {
    let bytes = 0;
    for await (const chunk of bytesOf(output)) {
      options.signal?.throwIfAborted();
      yield chunk;
      bytes += chunk.length;
      options.onProgress?.({ bytes, size: output.size, tensor: output.name });
    }
  }
  for (const source of inputsOf(output, options.sources)) await source.checkUnchanged?.();
}

async function* bytesOf(output: Exclude<OutputFile, { kind: "shard" }>): AsyncGenerator<Uint8Array> {
  if (output.kind === "text") yield output.bytes;
  else yield* sourceBytes(output.name, output.source);
}

/**
 * A whole source, a few megabytes at a time.
 * @throws BlockscaleError `io`
 */
export async function* sourceBytes(where: string, source: Source): AsyncGenerator<Uint8Array, void, void> {
  for (let start = 0; start < source.size; start += COPIED) {
    yield await readRange(where, source, start, Math.min(source.size, start + COPIED));
  }
}

function inputsOf(output: OutputFile, sources: readonly Source[]): readonly Source[] {
  if (output.kind === "shard") return shardsOf(output.plan, sources);
  return output.kind === "copy" ? [output.source] : [];
}

/** The shards that an output file is made from. */
export function shardsOf(file: FilePlan, sources: readonly Source[]): Source[] {
  return [...new Set(tensorsRead(file).map(({ shard }) => sources[shard]!))];
}
