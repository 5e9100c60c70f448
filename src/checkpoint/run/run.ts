import type { Engine } from "../../engine/engine.ts";
import { addPrecisions, EMPTY_PRECISION, type Precision } from "../../engine/precision.ts";
import { inOrder } from "../../io/concurrency.ts";
import { mergeReads } from "../../io/merged-reads.ts";
import { readRange, type Source } from "../../io/source.ts";
import { quotedTensor } from "../../safetensors/display.ts";
import { kindOf } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { checkChoice, checkKnown } from "../../tensor/options.ts";
import type { Measure, Preparation, WeightConversion } from "../plan/conversion.ts";
import { type FilePlan, type Step, tensorsRead } from "../plan/plan.ts";
import { type Strip, stripsOf } from "../plan/strip.ts";
import { checkEngine, checkSources } from "./check.ts";
import { type ConvertedStrip, convertStrip } from "./convert.ts";
import { prepare } from "./prepare.ts";

/** Converts one strip: in this thread, or by asking a worker. */
export type Converter = (
  conversion: WeightConversion,
  strip: Strip,
  prepared: Preparation,
) => Promise<ConvertedStrip>;

/**
 * A converter that runs in this thread.
 * @param sources bytes of the shards, in the order of the checkpoint
 * @throws BlockscaleError `option`
 */
export function localConverter(engine: Engine, sources: readonly Source[]): Converter {
  checkEngine("localConverter", engine);
  checkSources("localConverter", sources);
  return (conversion, strip, prepared) => convertStrip(conversion, strip, prepared, sources, engine);
}

/** How far the conversion of one file is. */
export interface Progress {
  /** Bytes of the output file that are written so far. */
  readonly bytes: number;
  readonly size: number;
  /** The tensor being written. */
  readonly tensor: string;
}

/** What a run needs besides the plan. */
export interface RunOptions {
  /** Bytes of the shards, in the order of the checkpoint. */
  readonly sources: readonly Source[];
  readonly convert: Converter;
  /** Strips in the making at a time; 1 if left out. Give a pool of workers a few more than it has. */
  readonly ahead?: number;
  /** Which values of weights that are quantised are measured; "all" if left out. */
  readonly measure?: Measure;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** Told once for every converted weight, when its last byte has been produced. */
  readonly onPrecision?: (weight: string, precision: Precision) => void;
}

const RUN_OPTIONS = ["sources", "convert", "ahead", "measure", "signal", "onProgress", "onPrecision"];

/** Bytes copied at a time. */
export const COPIED: number = 1 << 22;

/** A piece of the output that has been made. */
interface OutputChunk {
  readonly tensor: string;
  /** The bytes to write when its turn comes. */
  finish(): Uint8Array[];
}

/**
 * The bytes of one output file, from the first to the last, as they are made. Memory is that of
 * `ahead` strips and the scales of one weight.
 * @throws BlockscaleError; what the signal was aborted with
 */
export async function* fileBytes(
  file: FilePlan,
  options: RunOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const { ahead = 1, signal, onProgress } = options;
  const sources = mergeReads(options.sources, tensorsRead(file));
  let bytes = file.header.length;
  yield file.header.slice();
  for await (const { tensor, finish } of inOrder(
    outputChunksOf(file.steps, { ...options, sources }),
    ahead,
    signal,
  )) {
    for (const chunk of finish()) {
      bytes += chunk.length;
      yield chunk;
    }
    onProgress?.({ bytes, size: file.size, tensor });
  }
}

function* outputChunksOf(steps: Iterable<Step>, options: RunOptions): Generator<Promise<OutputChunk>> {
  for (const step of steps) {
    if (step.kind === "copy") yield* copiedChunks(step, options);
    else yield* convertedChunks(step, options);
  }
}

function* copiedChunks(
  { from }: Extract<Step, { kind: "copy" }>,
  { sources }: RunOptions,
): Generator<Promise<OutputChunk>> {
  const source = sources[from.shard]!;
  for (let start = from.start; start < from.end; start += COPIED) {
    const end = Math.min(from.end, start + COPIED);
    yield readRange(quotedTensor(from.name), source, start, end).then((bytes) => ({
      tensor: from.name,
      finish: () => [bytes],
    }));
  }
}

function* convertedChunks(
  step: Extract<Step, { kind: "convert" }>,
  options: RunOptions,
): Generator<Promise<OutputChunk>> {
  const { conversion, emit } = step;
  const { measure = "all" } = options;
  const { name } = conversion.from;
  const strips = [...stripsOf(conversion)];
  const preparation = prepare(conversion, options.sources, options.convert);
  preparation.catch(() => {});
  if (emit === "tensorScale") {
    yield preparation.then((prepared) => ({ tensor: name, finish: () => [tensorScaleBytes(prepared)] }));
    return;
  }
  const scales: Uint8Array[] = [];
  let precision = EMPTY_PRECISION;
  for (const [i, strip] of strips.entries()) {
    const finish = (piece: ConvertedStrip): Uint8Array[] => {
      precision = addPrecisions(precision, piece.precision);
      if (emit !== "codes") scales.push(piece.scales);
      const isLast = i === strips.length - 1;
      if (isLast && emit !== "scales") options.onPrecision?.(name, precision);
      return [...(emit === "scales" ? [] : [piece.values]), ...(isLast ? scales : [])];
    };
    yield preparation
      .then((prepared) => options.convert(conversion, strip, { ...prepared, measure }))
      .then((piece) => ({ tensor: name, finish: () => finish(piece) }));
  }
  if (strips.length === 0 && emit !== "scales") options.onPrecision?.(name, precision);
}

function tensorScaleBytes({ tensorScale }: Preparation): Uint8Array {
  return new Uint8Array(Float32Array.of(tensorScale!).buffer);
}

/**
 * The bytes of one output file as a stream: what a `Response`, a file or a pipe takes.
 * @throws BlockscaleError `option`; the stream fails as the conversion does
 */
export function fileStream(file: FilePlan, options: RunOptions): ReadableStream<Uint8Array> {
  const { sources, convert, measure } = checkKnown("fileStream", options, RUN_OPTIONS);
  checkSources("fileStream", sources);
  if (typeof convert !== "function")
    throw wrongRun("convert", "a converter", convert, "Pass localConverter(engine, sources).");
  if (typeof file?.size !== "number") {
    const fix = "Pass plan.files[0], of planQuantize or planDequantize.";
    throw wrongRun("file", "one of the files of a plan", file, fix);
  }
  if (measure !== undefined) checkChoice("fileStream: measure", measure, ["all", "sample"]);
  return streamOf(fileBytes(file, options));
}

function wrongRun(name: string, expected: string, given: unknown, fix: string): BlockscaleError {
  return new BlockscaleError("option", { where: `fileStream: ${name}`, expected, got: kindOf(given), fix });
}

/** A stream of bytes that are made when they are asked for, and not before. */
export function streamOf(bytes: AsyncGenerator<Uint8Array, void, void>): ReadableStream<Uint8Array> {
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await bytes.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await bytes.return();
      },
    },
    { highWaterMark: 0 },
  );
}
