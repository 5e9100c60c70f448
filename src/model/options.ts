import { kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { checkChoice, checkKnown, checkRequires, checkThreads } from "../tensor/options.ts";
import { checkPort } from "../threads/lend.ts";
import type { Variant } from "../wasm/builds.ts";
import type { WasmSource } from "../wasm/module.ts";
import type { LoadProgress } from "./load.ts";
import type { Pooling } from "./pooling.ts";
import type { AskedPrecisions } from "./precisions.ts";
import type { Sampling } from "./sampler.ts";

/** How to open a model. */
export interface ModelOptions {
  /** Threads that share the work, each with its part of the weights; 1 if left out. */
  readonly threads?: number | undefined;
  /**
   * In a worker: the port of `lendModelWorkers` of its page, which then makes the threads in place of the
   * worker.
   */
  readonly workers?: MessagePort | undefined;
  /**
   * How activations meet weights that are codes: "f32" (the default) is exact; "fp8" rounds them to
   * E4M3 where the codes are FP8, as GPUs do, and is for measuring; "int8" is for E4M3 codes, which
   * meet integers in two planes; "auto" takes "int8" for 16 tokens at a time and more, if it is faster
   * here; "near" is "auto", but "f32" for mixtures of experts.
   */
  readonly activations?: AskedPrecisions["activations"];
  /**
   * How weights lie in memory: "codes" (the default) as they are stored; "int7" as integers from -63
   * to 63 in blocks of 32, made from them at loading, which meet activations rounded to int8: faster,
   * and about as far from the original as E4M3 is. "auto": the faster of both here.
   */
  readonly weights?: AskedPrecisions["weights"];
  /**
   * How keys and values of past tokens are kept: "f32" (the default), or
   * "fp8", which holds four times the context.
   */
  readonly cache?: AskedPrecisions["cache"];
  /** The build to run; the best one that runs here if left out. */
  readonly variant?: Variant | undefined;
  /** A build for models that you host yourself, instead of the one inside. */
  readonly wasm?: WasmSource | undefined;
  /** Ends the loading. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/** How to generate a text. */
export interface GenerateOptions extends Sampling {
  /** 256 if left out. */
  readonly maxTokens?: number | undefined;
  /** Texts at which the answer ends; they are left out of it. */
  readonly stop?: string | readonly string[] | undefined;
  /** Whether to tell the probability of each token; not if left out. */
  readonly logProbabilities?: boolean | undefined;
  /** Ends the generation between two tokens. */
  readonly signal?: AbortSignal | undefined;
}

/** A token of an answer. */
export interface Generated {
  /** -1 for text that was held back when the answer ended. */
  readonly id: number;
  /** The text it adds: empty while a character or a stop text is incomplete, or without a tokenizer. */
  readonly text: string;
  /** The natural logarithm of its probability, where it was asked for. */
  readonly logProbability?: number;
}

/** How texts become vectors. */
export interface EmbedOptions {
  /** Left out, what the model's files say; else "mean" for encoders and "last" for decoders. */
  readonly pooling?: Pooling | undefined;
  /** Whether vectors have length 1: left out, what the model's files say, or true. */
  readonly normalize?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

const MODEL_OPTIONS = [
  "threads",
  "workers",
  "activations",
  "weights",
  "cache",
  "variant",
  "wasm",
  "signal",
  "onProgress",
];
const SAMPLING_OPTIONS = ["temperature", "topK", "topP", "minP", "seed"];
export const GENERATE_OPTIONS: readonly string[] = [
  ...SAMPLING_OPTIONS,
  "maxTokens",
  "stop",
  "logProbabilities",
  "signal",
];
export const EMBED_OPTIONS: readonly string[] = ["pooling", "normalize", "signal"];

/**
 * @returns the number of threads
 * @throws BlockscaleError `option`
 */
export function checkOptions(options: ModelOptions): number {
  checkKnown("openModel", options, MODEL_OPTIONS);
  const { threads = 1, activations, weights, cache } = options;
  checkPort("openModel", options.workers);
  checkRequires("openModel", options, "workers", "threads");
  if (activations !== undefined)
    checkChoice("openModel: activations", activations, ["f32", "fp8", "int8", "auto", "near"]);
  if (weights !== undefined) checkChoice("openModel: weights", weights, ["codes", "int7", "auto"]);
  if (cache !== undefined) checkChoice("openModel: cache", cache, ["f32", "fp8"]);
  return checkThreads("openModel", threads);
}

export function checkMaxTokens(maxTokens = 256): number {
  if (Number.isInteger(maxTokens) && maxTokens >= 0) return maxTokens;
  throw new BlockscaleError("option", {
    where: "generate: maxTokens",
    expected: "a whole number from 0 on",
    got: String(maxTokens),
    fix: "Leave it out to get 256.",
  });
}

/** @throws BlockscaleError `option`: no text or texts, or an empty one, at which every answer would end */
export function checkStops(stop: unknown): readonly string[] {
  const stops: readonly unknown[] = Array.isArray(stop) ? stop : stop === undefined ? [] : [stop];
  if (stops.every((text): text is string => typeof text === "string" && text !== "")) return stops;
  throw new BlockscaleError("option", {
    where: "generate: stop",
    expected: "a text or a list of texts, none of them empty",
    got: JSON.stringify(stop),
    fix: "Leave it out to end at no text.",
  });
}

/** @throws BlockscaleError `option` */
export function checkFrom(from: number, tokens: number): void {
  if (Number.isInteger(from) && from >= 0 && from <= tokens) return;
  throw new BlockscaleError("option", {
    where: "logits: from",
    expected: `the index of a token, from 0 to ${tokens}`,
    got: String(from),
    fix: "Leave it out to get the logits of all tokens.",
  });
}

export function notAList(inputs: unknown): BlockscaleError {
  return new BlockscaleError("option", {
    where: "embed: inputs",
    expected: "a list of texts, or of lists of tokens",
    got: kindOf(inputs),
    fix: "Put a single text into a list: embed([text]).",
  });
}

export function unknownPooling(pooling: unknown): BlockscaleError {
  return new BlockscaleError("option", {
    where: "embed: pooling",
    expected: '"mean", "cls" or "last"',
    got: String(pooling),
    fix: "Leave it out to get what the model's files say.",
  });
}
