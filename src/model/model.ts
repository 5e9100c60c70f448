/// <reference lib="esnext.disposable" preserve="true" />
import { openCheckpoint } from "../checkpoint/plan/folder.ts";
import { Engine } from "../engine/engine.ts";
import type { Source } from "../io/source.ts";
import { checkKnown } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { Variant } from "../wasm/builds.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { moduleOf, type WasmSource } from "../wasm/module.ts";
import { compileForModels } from "./build.ts";
import type { CacheType } from "./cache.ts";
import { type ModelConfig, modelConfigOf } from "./config.ts";
import { type Crew, openCrew } from "./crew.ts";
import { type LoadProgress, type Located, loadWeights, locate, memoryOf } from "./load.ts";
import { type Pooling, type PoolingFiles, pool, poolingOf } from "./pooling.ts";
import type { Activations } from "./program.ts";
import { checkSampling, logProbabilityOf, Sampler, type Sampling } from "./sampler.ts";
import type { WeightForm } from "./store.ts";
import { TextStream } from "./text-stream.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** How to open a model. */
export interface ModelOptions {
  /** Threads that share the work, each with its part of the weights; 1 if left out. */
  readonly threads?: number | undefined;
  /** How activations meet weights that are codes: "f32" (the default) is exact; "fp8" rounds them to E4M3 as GPUs do, and is for measuring; "int8" is for E4M3 codes, which meet integers in two planes. */
  readonly activations?: Activations | undefined;
  /**
   * How weights lie in memory: "codes" (the default) as they are stored; "int7" as integers from -63 to 63 in blocks of 32, made from them at loading,
   * which meet activations rounded to int8: faster, and about as far from the original as E4M3 is. A head that is the embedding table too is kept in both forms.
   */
  readonly weights?: WeightForm | undefined;
  /** How keys and values of past tokens are kept: "f32" (the default), or "fp8", which holds four times the context. */
  readonly cache?: CacheType | undefined;
  /** Which build to run; left out, the best one here. */
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
  /** What it adds to the text: empty while a character or a stop text is incomplete, or without a tokenizer. */
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

/** Tokens of a prompt that go through the model at a time. */
const CHUNK = 192;

/** Tokens of several texts that an encoder takes at a time. */
const BATCH = 512;

/**
 * Opens a model of a checkpoint: FP8 weights of every dialect that is read here stay codes in memory, and so do those of MXFP4 and NVFP4, as
 * FP8 codes of the same values; BF16, F16 and F32 stay as they are.
 * @param files config.json, the shards, and tokenizer.json where there is one, by name
 * @throws BlockscaleError `dialect`: an architecture or a format that is not known; `format`, `io`, `memory`, `option`
 */
export async function openModel(
  files: ReadonlyMap<string, Source>,
  options: ModelOptions = {},
): Promise<Model> {
  const threads = checkOptions(options);
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  const opened = await openCheckpoint(files, "the model");
  const config = modelConfigOf(opened.checkpoint.config);
  const located = locate(config, opened);
  refuseTooLarge(located, threads);
  const pooling = await poolingOf(files);
  const tokenizer = await tokenizerOf(files);
  const { module, variant } =
    options.wasm === undefined
      ? compileForModels(options.variant, options)
      : { module: await moduleOf(options.wasm), variant: "custom" as const };
  const crew = await openCrew(module, threads, {
    activations: options.activations ?? "f32",
    weights: options.weights ?? "codes",
  });
  try {
    const engine = new Engine(instantiate(module), variant);
    await loadWeights(located, crew.takers, { sources: opened.sources, engine, signal, onProgress });
    await crew.start(config, options.cache ?? "f32");
  } catch (error) {
    await crew.close();
    throw error;
  }
  return new Model(crew, config, tokenizer, pooling);
}

/** What a member's memory holds of weights: 4 GiB, less what activations and the cache of a short context take. */
const MOST_BYTES = 3.75 * 2 ** 30;

function refuseTooLarge(located: readonly Located[], threads: number): void {
  const bytes = located.reduce((sum, one) => sum + memoryOf(one), 0);
  if (bytes <= threads * MOST_BYTES) return;
  const gigabytes = (n: number) => `${(n / 2 ** 30).toFixed(1)} GiB`;
  throw new BlockscaleError("memory", {
    where: "openModel",
    expected: `at most ${gigabytes(threads * MOST_BYTES)} of weights in ${threads} thread${threads === 1 ? "" : "s"}`,
    got: gigabytes(bytes),
    fix: `Each thread has a memory of its own: open it with threads: ${Math.ceil(bytes / MOST_BYTES)}.`,
  });
}

/** Fetched by those whose model has a vocabulary. */
async function tokenizerOf(files: ReadonlyMap<string, Source>): Promise<Tokenizer | null> {
  if (!files.has("tokenizer.json")) return null;
  return (await import("./tokenizer.ts")).openTokenizer(files);
}

const MODEL_OPTIONS = [
  "threads",
  "activations",
  "weights",
  "cache",
  "variant",
  "wasm",
  "signal",
  "onProgress",
];
const SAMPLING_OPTIONS = ["temperature", "topK", "topP", "minP", "seed"];
const GENERATE_OPTIONS = [...SAMPLING_OPTIONS, "maxTokens", "stop", "logProbabilities", "signal"];
const EMBED_OPTIONS = ["pooling", "normalize", "signal"];

function checkOptions(options: ModelOptions): number {
  checkKnown("openModel", options, MODEL_OPTIONS);
  const { threads = 1, activations, weights, cache } = options;
  const wrong = (name: string, expected: string, got: unknown) =>
    new BlockscaleError("option", {
      where: `openModel: ${name}`,
      expected,
      got: String(got),
      fix: "Leave it out, or pass one of these.",
    });
  if (activations !== undefined && !["f32", "fp8", "int8"].includes(activations))
    throw wrong("activations", '"f32", "fp8" or "int8"', activations);
  if (weights !== undefined && weights !== "codes" && weights !== "int7")
    throw wrong("weights", '"codes" or "int7"', weights);
  if (cache !== undefined && cache !== "f32" && cache !== "fp8")
    throw wrong("cache", '"f32" or "fp8"', cache);
  if (Number.isInteger(threads) && threads >= 1 && threads <= 256) return threads;
  throw wrong("threads", "a whole number from 1 to 256", threads);
}

/** A model in memory. It does one thing at a time: what is asked for meanwhile waits. */
export class Model {
  readonly config: ModelConfig;
  /** Texts to tokens and back; `null` where the files hold no tokenizer.json. */
  readonly tokenizer: Tokenizer | null;
  readonly #crew: Crew;
  readonly #pooling: PoolingFiles;
  /** The tokens in the cache. */
  #held: number[] = [];
  #queue: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  /** Use {@link openModel}. */
  constructor(crew: Crew, config: ModelConfig, tokenizer: Tokenizer | null, pooling: PoolingFiles) {
    this.#crew = crew;
    this.config = config;
    this.tokenizer = tokenizer;
    this.#pooling = pooling;
  }

  /**
   * Logits for what follows each token: `[tokens, vocabulary]`, in a fresh context.
   * @throws BlockscaleError `option`: tokens outside the vocabulary, or more than the context holds
   */
  async logits(
    ids: ArrayLike<number>,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<Float32Array> {
    const { vocabulary } = this.#decoder("logits");
    const tokens = this.#checkIds("logits", ids);
    const out = new Float32Array(tokens.length * vocabulary);
    await this.#alone(async () => {
      await this.#rewind(0);
      for (let start = 0; start < tokens.length; start += CHUNK) {
        signal?.throwIfAborted();
        const chunk = tokens.slice(start, start + CHUNK);
        const logits = await this.#crew.run({ kind: "forward", ids: chunk, wanted: "all" });
        this.#held.push(...chunk);
        out.set(logits!, start * vocabulary);
      }
    });
    return out;
  }

  /**
   * Generates what follows a text, token by token, until a token that ends it, a stop text, or the number of tokens. What the context has in
   * common with the last one is not computed again.
   * @throws BlockscaleError `option`: no tokenizer for a text, tokens outside the vocabulary, a context that is full
   */
  async *generate(
    prompt: string | ArrayLike<number>,
    options: GenerateOptions = {},
  ): AsyncGenerator<Generated, void, undefined> {
    checkKnown("generate", options, GENERATE_OPTIONS);
    const { ends, context } = this.#decoder("generate");
    const sampler = new Sampler(checkSampling("generate", options));
    const ids = this.#checkIds(
      "generate",
      typeof prompt === "string" ? this.#encode("generate", prompt) : prompt,
    );
    const most = checkMost(options.maxTokens);
    if (ids.length === 0) throw emptyPrompt();
    const stops = typeof options.stop === "string" ? [options.stop] : (options.stop ?? []);
    const stream = this.tokenizer === null ? null : new TextStream(this.tokenizer, stops);
    const leave = await this.#enter();
    try {
      let logits = await this.#prefill(ids, options.signal);
      for (let count = 0; count < most; count++) {
        options.signal?.throwIfAborted();
        const id = sampler.choose(logits);
        if (ends.includes(id)) break;
        const text = stream?.push(id) ?? "";
        yield options.logProbabilities
          ? { id, text, logProbability: logProbabilityOf(logits, id) }
          : { id, text };
        if (stream?.isStopped || count + 1 === most) break;
        if (this.#held.length >= context) throw contextFull(context);
        logits = (await this.#crew.run({ kind: "forward", ids: Int32Array.of(id), wanted: "last" }))!;
        this.#held.push(id);
      }
      const rest = stream?.end() ?? "";
      if (rest !== "") yield { id: -1, text: rest };
    } finally {
      leave();
    }
  }

  /** Brings the context to these tokens; what it begins with already stays. Gives the logits of the last one. */
  async #prefill(ids: Int32Array, signal: AbortSignal | undefined): Promise<Float32Array> {
    let common = 0;
    while (common < this.#held.length && common < ids.length - 1 && this.#held[common] === ids[common])
      common++;
    await this.#rewind(common);
    let logits: Float32Array | undefined;
    for (let start = common; start < ids.length; start += CHUNK) {
      signal?.throwIfAborted();
      const chunk = ids.slice(start, start + CHUNK);
      const isLast = start + CHUNK >= ids.length;
      logits = await this.#crew.run({ kind: "forward", ids: chunk, wanted: isLast ? "last" : "none" });
      this.#held.push(...chunk);
    }
    return logits!;
  }

  /**
   * A vector for each text, or for each list of tokens. Texts that are longer than the model takes are cut.
   * @throws BlockscaleError `option`: no tokenizer for texts, tokens outside the vocabulary, or a list that is too long
   */
  async embed(
    inputs: readonly (string | ArrayLike<number>)[],
    options: EmbedOptions = {},
  ): Promise<Float32Array[]> {
    checkKnown("embed", options, EMBED_OPTIONS);
    const { kind, hidden } = this.config;
    const pooling = options.pooling ?? this.#pooling.pooling ?? (kind === "encoder" ? "mean" : "last");
    const isNormalized = options.normalize ?? this.#pooling.isNormalized ?? true;
    if (!["mean", "cls", "last"].includes(pooling)) throw unknownPooling(pooling);
    const lists = inputs.map((input) =>
      this.#checkIds("embed", typeof input === "string" ? this.#cut(this.#encode("embed", input)) : input),
    );
    const empty = lists.findIndex((ids) => ids.length === 0);
    if (empty >= 0) throw emptyPrompt(`embed: input ${empty}`);
    const vectors: Float32Array[] = [];
    const take = (states: Float32Array) => vectors.push(pool(states, hidden, pooling, isNormalized));
    await this.#alone(async () => {
      for (const batch of kind === "encoder" ? batchesOf(lists) : lists.map((ids) => [ids])) {
        options.signal?.throwIfAborted();
        const states = kind === "encoder" ? await this.#encoded(batch) : await this.#hidden(batch[0]!);
        let start = 0;
        for (const { length } of batch) {
          take(states.subarray(start * hidden, (start + length) * hidden));
          start += length;
        }
      }
    });
    return vectors;
  }

  /** Hidden states of the last layer for each token: `[tokens, hidden]`. */
  async hidden(ids: ArrayLike<number>): Promise<Float32Array> {
    const tokens = this.#checkIds("hidden", ids);
    return this.#alone(() =>
      this.config.kind === "encoder" ? this.#encoded([tokens]) : this.#hidden(tokens),
    );
  }

  async #encoded(texts: readonly Int32Array[]): Promise<Float32Array> {
    return (await this.#crew.run({ kind: "encode", texts }))!;
  }

  async #hidden(ids: Int32Array): Promise<Float32Array> {
    const { hidden } = this.config;
    const out = new Float32Array(ids.length * hidden);
    await this.#rewind(0);
    for (let start = 0; start < ids.length; start += CHUNK) {
      const chunk = ids.slice(start, start + CHUNK);
      const states = await this.#crew.run({ kind: "forward", ids: chunk, wanted: "hidden" });
      this.#held.push(...chunk);
      out.set(states!, start * hidden);
    }
    return out;
  }

  /** Gives the memory back, once what is under way has ended. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    const leave = await this.#enter();
    this.#isClosed = true;
    leave();
    await this.#crew.close();
  }

  /** The end of an `await using` block closes it. */
  declare [Symbol.asyncDispose]: () => Promise<void>;

  async #rewind(length: number): Promise<void> {
    // Known before the members are asked: if a pass fails halfway, the next one starts from what all have.
    this.#held.length = length;
    await this.#crew.run({ kind: "truncate", length });
  }

  /** Waits for its turn; the function given back ends it. */
  async #enter(): Promise<() => void> {
    let leave!: () => void;
    const before = this.#queue;
    this.#queue = new Promise<void>((resolve) => {
      leave = resolve;
    });
    await before;
    if (!this.#isClosed) return leave;
    leave();
    throw new BlockscaleError("option", {
      where: "model",
      expected: "a model that is open",
      got: "one that was closed",
      fix: "Open it again.",
    });
  }

  async #alone<T>(action: () => Promise<T>): Promise<T> {
    const leave = await this.#enter();
    try {
      return await action();
    } finally {
      leave();
    }
  }

  #decoder(where: string) {
    if (this.config.kind === "decoder") return this.config;
    throw new BlockscaleError("option", {
      where,
      expected: "a model that predicts tokens",
      got: `${this.config.architecture}, an encoder`,
      fix: "Use embed, or hidden.",
    });
  }

  #encode(where: string, text: string): Int32Array {
    if (this.tokenizer !== null) return this.tokenizer.encode(text);
    throw new BlockscaleError("option", {
      where,
      expected: "tokens, or a tokenizer.json among the files of the model",
      got: "a text, and no tokenizer",
      fix: "Fetch tokenizer.json, or pass the ids of tokens.",
    });
  }

  #cut(ids: Int32Array): Int32Array {
    const length = Math.min(this.config.context, this.#pooling.length ?? Infinity);
    if (ids.length <= length) return ids;
    // The last token of an encoder's text is a special one.
    const kept = ids.slice(0, length);
    if (this.config.kind === "encoder") kept[length - 1] = ids.at(-1)!;
    return kept;
  }

  #checkIds(where: string, ids: ArrayLike<number>): Int32Array {
    const { vocabulary, context } = this.config;
    if (ids.length > context) {
      throw new BlockscaleError("option", {
        where,
        expected: `at most ${context} tokens, which is the model's context`,
        got: String(ids.length),
        fix: "Leave out the oldest part of the text.",
      });
    }
    for (let i = 0; i < ids.length; i++) {
      if (Number.isInteger(ids[i]) && ids[i]! >= 0 && ids[i]! < vocabulary) continue;
      throw new BlockscaleError("option", {
        where: `${where}: token ${i}`,
        expected: `a whole number from 0 to ${vocabulary - 1}`,
        got: String(ids[i]),
        fix: "Use the tokenizer of this model.",
      });
    }
    return Int32Array.from(ids);
  }
}

// Hosts of 2024 and before have no such symbol.
if (Symbol.asyncDispose) Model.prototype[Symbol.asyncDispose] = Model.prototype.close;

/** Texts whose tokens go through an encoder together. */
function batchesOf(lists: readonly Int32Array[]): Int32Array[][] {
  const batches: Int32Array[][] = [];
  let room = 0;
  for (const ids of lists) {
    if (room < ids.length) {
      batches.push([]);
      room = BATCH;
    }
    batches.at(-1)!.push(ids);
    room -= ids.length;
  }
  return batches;
}

function checkMost(maxTokens = 256): number {
  if (Number.isInteger(maxTokens) && maxTokens >= 0) return maxTokens;
  throw new BlockscaleError("option", {
    where: "generate: maxTokens",
    expected: "a whole number from 0 on",
    got: String(maxTokens),
    fix: "Leave it out to get 256.",
  });
}

function emptyPrompt(where = "generate"): BlockscaleError {
  return new BlockscaleError("option", {
    where,
    expected: "at least one token",
    got: "none",
    fix: "Give a text that is not empty.",
  });
}

function contextFull(context: number): BlockscaleError {
  return new BlockscaleError("option", {
    where: "generate",
    expected: `at most ${context} tokens of prompt and answer, which is the model's context`,
    got: "one more",
    fix: "Ask for fewer with maxTokens, or leave out the oldest part of the prompt.",
  });
}

function unknownPooling(pooling: unknown): BlockscaleError {
  return new BlockscaleError("option", {
    where: "embed: pooling",
    expected: '"mean", "cls" or "last"',
    got: String(pooling),
    fix: "Leave it out to get what the model's files say.",
  });
}
