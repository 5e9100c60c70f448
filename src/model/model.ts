/// <reference lib="esnext.disposable" preserve="true" />

import { BlockscaleError } from "../tensor/errors.ts";
import { checkKnown } from "../tensor/options.ts";
import type { ModelConfig } from "./config.ts";
import type { Members } from "./members.ts";
import {
  checkFrom,
  checkMaxTokens,
  checkStops,
  EMBED_OPTIONS,
  type EmbedOptions,
  GENERATE_OPTIONS,
  type Generated,
  type GenerateOptions,
  notAList,
  unknownPooling,
} from "./options.ts";
import { type PoolingSettings, pool } from "./pooling.ts";
import type { Precisions } from "./precisions.ts";
import { checkSampling, logProbabilityOf, Sampler } from "./sampler.ts";
import { TextStream } from "./text-stream.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { batchesOf, checkIds, contextFull, cutTo, emptyPrompt } from "./tokens.ts";

/** Tokens of a prompt that go through the model at a time. */
const CHUNK = 192;

/** A model in memory. It does one thing at a time: what is asked for meanwhile waits. */
export class Model {
  readonly config: ModelConfig;
  /** Texts to tokens and back; `null` where the files hold no tokenizer.json. */
  readonly tokenizer: Tokenizer | null;
  /** How numbers are kept: what was asked for, or what was chosen. */
  readonly precisions: Precisions;
  readonly #members: Members;
  readonly #pooling: PoolingSettings;
  /** The tokens in the cache. */
  #cached: number[] = [];
  #queue: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  /** Use {@link openModel}. */
  constructor(
    members: Members,
    precisions: Precisions,
    {
      config,
      tokenizer,
      pooling,
    }: Pick<Model, "config" | "tokenizer"> & { readonly pooling: PoolingSettings },
  ) {
    this.#members = members;
    this.precisions = precisions;
    this.config = config;
    this.tokenizer = tokenizer;
    this.#pooling = pooling;
  }

  /**
   * Logits for what follows each token, or each from index `from` on, in a fresh context:
   * `[tokens - from, vocabulary]`.
   * @throws BlockscaleError `option`: tokens outside the vocabulary, or more than the context holds
   */
  async logits(
    ids: ArrayLike<number>,
    options: { readonly from?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Float32Array> {
    checkKnown("logits", options, ["from", "signal"]);
    const { from = 0, signal } = options;
    const { vocabulary } = this.#decoder("logits");
    const tokens = checkIds("logits", ids, this.config);
    checkFrom(from, tokens.length);
    const out = new Float32Array(Math.max(0, tokens.length - from) * vocabulary);
    await this.#inTurn(async () => {
      await this.#rewind(0);
      for (let start = 0, end = 0; start < tokens.length; start = end) {
        signal?.throwIfAborted();
        const keepsLogits = start >= from;
        end = Math.min(start + CHUNK, tokens.length, keepsLogits ? Infinity : from);
        const chunk = tokens.slice(start, end);
        const logits = await this.#members.run({
          kind: "forward",
          ids: chunk,
          output: keepsLogits ? "all" : "none",
        });
        this.#cached.push(...chunk);
        if (keepsLogits) out.set(logits!, (start - from) * vocabulary);
      }
    });
    return out;
  }

  /**
   * Generates what follows a text, token by token, until a token that ends it, a stop text, or the number of
   * tokens. What the context has in common with the last one is not computed again.
   * @throws BlockscaleError `option`: no tokenizer for a text, tokens
   * outside the vocabulary, a context that is full
   */
  async *generate(
    prompt: string | ArrayLike<number>,
    options: GenerateOptions = {},
  ): AsyncGenerator<Generated, void, undefined> {
    checkKnown("generate", options, GENERATE_OPTIONS);
    const { endTokens, context } = this.#decoder("generate");
    const sampler = new Sampler(checkSampling("generate", options));
    const tokens = typeof prompt === "string" ? this.#encode("generate", prompt) : prompt;
    const ids = checkIds("generate", tokens, this.config);
    const maxTokens = checkMaxTokens(options.maxTokens);
    if (ids.length === 0) throw emptyPrompt();
    const stops = checkStops(options.stop);
    const stream = this.tokenizer === null ? null : new TextStream(this.tokenizer, stops);
    const unlock = await this.#lock();
    try {
      let logits = await this.#prefill(ids, options.signal);
      for (let count = 0; count < maxTokens; count++) {
        options.signal?.throwIfAborted();
        const id = sampler.choose(logits);
        if (endTokens.includes(id)) break;
        const text = stream?.push(id) ?? "";
        yield options.logProbabilities
          ? { id, text, logProbability: logProbabilityOf(logits, id) }
          : { id, text };
        if (stream?.isStopped || count + 1 === maxTokens) break;
        if (this.#cached.length >= context) throw contextFull(context);
        logits = (await this.#members.run({ kind: "forward", ids: Int32Array.of(id), output: "last" }))!;
        this.#cached.push(id);
      }
      const rest = stream?.end() ?? "";
      if (rest !== "") yield { id: -1, text: rest };
    } finally {
      unlock();
    }
  }

  /**
   * Brings the context to these tokens; those at its beginning that are there already stay. Gives the logits
   * of the last one.
   */
  async #prefill(ids: Int32Array, signal: AbortSignal | undefined): Promise<Float32Array> {
    let common = 0;
    while (common < this.#cached.length && common < ids.length - 1 && this.#cached[common] === ids[common])
      common++;
    await this.#rewind(common);
    let logits: Float32Array | undefined;
    for (let start = common; start < ids.length; start += CHUNK) {
      signal?.throwIfAborted();
      const chunk = ids.slice(start, start + CHUNK);
      const isLast = start + CHUNK >= ids.length;
      logits = await this.#members.run({ kind: "forward", ids: chunk, output: isLast ? "last" : "none" });
      this.#cached.push(...chunk);
    }
    return logits!;
  }

  /**
   * A vector for each text, or for each list of tokens. Texts that are longer than the model takes are cut.
   * @throws BlockscaleError `option`: no tokenizer for texts, tokens outside
   * the vocabulary, or a list that is too long
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
    const length = Math.min(this.config.context, this.#pooling.maxTokens ?? Infinity);
    if (!Array.isArray(inputs)) throw notAList(inputs);
    const lists = inputs.map((input) => {
      const ids =
        typeof input === "string" ? cutTo(length, this.#encode("embed", input), this.config) : input;
      return checkIds("embed", ids, this.config);
    });
    const empty = lists.findIndex((ids) => ids.length === 0);
    if (empty >= 0) throw emptyPrompt(`embed: input ${empty}`);
    const vectors: Float32Array[] = [];
    const take = (states: Float32Array) => vectors.push(pool(states, hidden, pooling, isNormalized));
    await this.#inTurn(async () => {
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
    const tokens = checkIds("hidden", ids, this.config);
    return this.#inTurn(() =>
      this.config.kind === "encoder" ? this.#encoded([tokens]) : this.#hidden(tokens),
    );
  }

  async #encoded(texts: readonly Int32Array[]): Promise<Float32Array> {
    return (await this.#members.run({ kind: "encode", texts }))!;
  }

  async #hidden(ids: Int32Array): Promise<Float32Array> {
    const { hidden } = this.config;
    const out = new Float32Array(ids.length * hidden);
    await this.#rewind(0);
    for (let start = 0; start < ids.length; start += CHUNK) {
      const chunk = ids.slice(start, start + CHUNK);
      const states = await this.#members.run({ kind: "forward", ids: chunk, output: "hidden" });
      this.#cached.push(...chunk);
      out.set(states!, start * hidden);
    }
    return out;
  }

  /** Gives the memory back, once what is under way has ended. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    const leave = await this.#lock();
    this.#isClosed = true;
    leave();
    await this.#members.close();
  }

  /** The end of an `await using` block closes it. */
  declare [Symbol.asyncDispose]: () => Promise<void>;

  async #rewind(length: number): Promise<void> {
    // Known before the members are asked: if a pass fails halfway, the next one starts from what all have.
    this.#cached.length = length;
    await this.#members.run({ kind: "truncate", length });
  }

  /** Waits for its turn; the function given back ends it. */
  async #lock(): Promise<() => void> {
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

  async #inTurn<T>(action: () => Promise<T>): Promise<T> {
    const leave = await this.#lock();
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
}

// Hosts of 2024 and before have no such symbol.
if (Symbol.asyncDispose) Model.prototype[Symbol.asyncDispose] = Model.prototype.close;
