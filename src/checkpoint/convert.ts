import type { Engine } from "../engine/engine.ts";
import type { Precision } from "../engine/precision.ts";
import type { Source } from "../io/source.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { checkChoice, checkKnown } from "../tensor/options.ts";
import type { ValueType } from "../tensor/tensor.ts";
import { SELECTION } from "./dialects/rules.ts";
import { type Summary, summarize } from "./measure/summary.ts";
import type { Measure } from "./plan/conversion.ts";
import { planDequantize } from "./plan/dequantize.ts";
import { chooseFiles, openCheckpoint } from "./plan/folder.ts";
import { outputsOf } from "./plan/outputs.ts";
import type { Plan } from "./plan/plan.ts";
import { planQuantize, type QuantizeOptions } from "./plan/quantize.ts";
import { warningsOf } from "./plan/warnings.ts";
import { checkEngine } from "./run/check.ts";
import { outputBytes } from "./run/outputs.ts";
import { localConverter, type Progress, streamOf } from "./run/run.ts";

/** Options of {@link convertCheckpoint}: what to make of a checkpoint, and where to put it. */
export interface ConvertOptions extends QuantizeOptions {
  /** What converts: an engine that `load()` has made. */
  readonly engine: Engine;
  /** Instead of `to`: makes plain values of this type, and no codes. */
  readonly dtype?: ValueType;
  /** Patterns of the .safetensors files that are the model, where a folder holds several. */
  readonly files?: readonly string[];
  /**
   * Opens the sink of one output file, whose size in bytes is known before it is made. It is closed when the
   * file is whole, and aborted when it will never be. Left out, the output stays in memory.
   */
  write?(name: string, size: number): WritableStream<Uint8Array> | Promise<WritableStream<Uint8Array>>;
  /** "sample" if left out: one value in eight of weights that are quantised. */
  readonly measure?: Measure;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ConvertProgress) => void;
}

/** How far a conversion is: bytes written, and bytes that there will be, of all files together. */
export interface ConvertProgress extends Progress {
  /** The file being written. */
  readonly file: string;
}

/** What became of a checkpoint. */
export interface ConvertedCheckpoint extends Summary {
  readonly plan: Plan;
  /** Facts to know before the output is used, in English sentences. */
  readonly warnings: readonly string[];
  /** Files left out of the output: another copy of the model, and what `files` did not choose. */
  readonly leftOut: readonly string[];
  /** Safetensors files that are no part of the model, and were copied as they are. */
  readonly unread: readonly string[];
  /** The output by name, as `openCheckpoint` and `openModel` take it; empty where `write` took it. */
  readonly files: ReadonlyMap<string, Blob>;
}

const OPTIONS = ["engine", "to", "dtype", ...SELECTION, "overrides", "missingScale"];

/**
 * Converts a whole checkpoint: to FP8 or FP4 of the dialect `to`, or to plain values of type `dtype`. The
 * tokenizer and all other files come along; config.json and the index are written last, as loaders want them.
 * Memory is that of a few strips, and of the output where `write` is left out.
 * @param files sources by name relative to the folder: Files, Blobs, what `openFolder` or `openUrl` give
 * @example const { files } = await convertCheckpoint(input, { engine: await load(), to: "mxfp8" });
 * @throws BlockscaleError `option`, `dialect`, `format`, `shape` or `io`; what the signal was aborted with
 */
export async function convertCheckpoint(
  files: ReadonlyMap<string, Source>,
  options: ConvertOptions,
): Promise<ConvertedCheckpoint> {
  checkOptions(options);
  const {
    engine,
    to,
    dtype,
    files: patterns,
    write,
    measure = "sample",
    signal,
    onProgress,
    ...rest
  } = options;
  const { files: chosen, leftOut } = chooseFiles(files, patterns);
  const opened = await openCheckpoint(chosen);
  const plan =
    to === undefined
      ? planDequantize(opened.checkpoint, { dtype: dtype!, ...rest })
      : planQuantize(opened.checkpoint, { to, ...rest });
  const outputs = outputsOf(
    chosen,
    opened,
    plan,
    to === undefined ? { kind: "dequantize", dtype: dtype! } : { kind: "quantize", to },
  );
  const size = outputs.reduce((sum, output) => sum + output.size, 0);
  const { sources } = opened;
  const measured = new Map<string, Precision>();
  const made = new Map<string, Blob>();
  let before = 0;
  for (const output of outputs) {
    signal?.throwIfAborted();
    const { name } = output;
    const bytes = outputBytes(output, {
      sources,
      convert: localConverter(engine, sources),
      measure,
      ...(signal !== undefined && { signal }),
      onPrecision: (weight, precision) => measured.set(weight, precision),
      onProgress: ({ bytes, tensor }) => onProgress?.({ file: name, tensor, bytes: before + bytes, size }),
    });
    const sink = (await write?.(name, output.size)) ?? blobSink((blob) => made.set(name, blob));
    await streamOf(bytes).pipeTo(sink, signal === undefined ? {} : { signal });
    before += output.size;
  }
  return {
    ...summarize(plan, measured),
    plan,
    warnings: to === undefined ? [] : warningsOf(plan, to),
    leftOut: [...opened.leftOut, ...leftOut],
    unread: opened.unread,
    files: made,
  };
}

function checkOptions(options: ConvertOptions): void {
  checkKnown("convertCheckpoint", options, [...OPTIONS, "files", "write", "measure", "signal", "onProgress"]);
  const { engine, to, dtype, measure } = options;
  if (measure !== undefined) checkChoice("convertCheckpoint: measure", measure, ["all", "sample"]);
  checkEngine("convertCheckpoint", engine);
  if ((to === undefined) === (dtype === undefined)) {
    throw new BlockscaleError("option", {
      where: "convertCheckpoint: options",
      expected: "either to or dtype",
      got: to === undefined ? "neither" : "both",
      fix: 'Pass { to: "deepseek-v3.1" } or another dialect to quantise, { dtype: "bf16" } to dequantise.',
    });
  }
}

/** Collects a file as a Blob, which browsers may keep on disk. */
function blobSink(done: (blob: Blob) => void): WritableStream<Uint8Array> {
  const parts: Blob[] = [];
  return new WritableStream({
    write: (chunk) => void parts.push(new Blob([chunk as BlobPart])),
    close: () => done(new Blob(parts)),
  });
}
