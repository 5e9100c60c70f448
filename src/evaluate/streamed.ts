import { type OpenedCheckpoint, openCheckpoint } from "../checkpoint/plan/folder.ts";
import { Engine } from "../engine/engine.ts";
import type { Source } from "../io/source.ts";
import { compileForModels } from "../model/build.ts";
import { type DecoderConfig, modelConfigOf } from "../model/config.ts";
import { loadWeights } from "../model/load.ts";
import { type Located, locate, memoryOf } from "../model/locate.ts";
import { type Members, openMembers } from "../model/members.ts";
import { type Asked, choose } from "../model/precisions.ts";
import type { WeightForm } from "../model/store.ts";
import { refuseStrangers } from "../model/tokens.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { Variant } from "../wasm/builds.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { checkContext, type Predictor } from "./evaluate.ts";

/** How far a model has come: layers done, of all. */
export interface LayerProgress {
  readonly done: number;
  readonly total: number;
}

/** Keeps hidden states between runs, so that one that was cut off goes on. */
export interface StateStore {
  /** The layers that are done and the states after them; `null` where there are none. */
  read(): Promise<{ readonly layers: number; readonly states: Float32Array } | null>;
  write(layers: number, states: Float32Array): Promise<void>;
}

export interface StreamOptions extends Asked {
  readonly threads?: number | undefined;
  /**
   * Whether no member runs in this thread, even if there is one alone: this
   * thread has something else to do meanwhile.
   */
  readonly apart?: boolean | undefined;
  /** The build of the kernels; the best one that runs here if left out. */
  readonly variant?: Variant | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: LayerProgress) => void) | undefined;
  readonly state?: StateStore | undefined;
}

/** Gives logits for the chunks that it was opened with, in their order. */
export interface StreamedPredictor extends Predictor {
  /** Begins with the first chunk again. */
  rewind(): void;
  close(): Promise<void>;
}

/**
 * Experts of a layer that are in memory at a time, in bytes. Their results are summed up group by group: the
 * groups must not depend on the number of threads, or the last digits would.
 */
const GROUP_BYTES = 2 ** 29;

/** A model and the chunks that it is to be run over; no weight is read yet. */
export interface StreamPlan {
  readonly opened: OpenedCheckpoint;
  readonly config: DecoderConfig;
  /** Where the model's weights are. */
  readonly located: readonly Located[];
  readonly ids: Int32Array;
  /** Tokens of a chunk. */
  readonly context: number;
}

/**
 * Finds out whether a model can be run over chunks of tokens, from its config and the headers of its files.
 * @param files as `openModel` takes them
 * @param ids chunks of `context` tokens; what is left over is not looked at
 * @throws BlockscaleError `dialect`: an architecture that is not known; `option`: as `decoderFor`; `io`
 */
export async function planStreamed(
  files: ReadonlyMap<string, Source>,
  ids: Int32Array,
  context: number,
): Promise<StreamPlan> {
  const opened = await openCheckpoint(files, "the model");
  const config = decoderFor("evaluate", opened, ids, context);
  return { opened, config, located: locate(config, opened), ids, context };
}

/**
 * The config of a model that can be run over chunks of tokens.
 * @param where names who asks, for messages
 * @throws BlockscaleError `option`: an encoder, a context that is too long or odd, too few ids, or ids outside
 * the vocabulary; `dialect`
 */
export function decoderFor(
  where: string,
  { checkpoint }: OpenedCheckpoint,
  ids: Int32Array,
  context: number,
): DecoderConfig {
  const config = modelConfigOf(checkpoint.config);
  if (config.kind !== "decoder") throw noDecoder(where, config.architecture);
  if (context > config.context) throw tooLong(where, context, config.context);
  checkContext(context, ids.length);
  refuseStrangers(where, ids, config.vocabulary);
  return config;
}

/**
 * Runs a model of any size over chunks of tokens, a layer at a time: its weights are read, meet the hidden
 * states of all chunks, and are dropped. Experts are read in groups, and only those that some token takes.
 * Memory: the hidden states of all chunks, one layer without experts, and one group of them.
 *
 * Gives logits for the chunks in their order, and for no others.
 * @throws BlockscaleError `io`, `memory`
 */
export async function openStreamed(
  { opened, config, located, ids, context }: StreamPlan,
  options: StreamOptions = {},
): Promise<StreamedPredictor> {
  const { module, variant } = compileForModels(options.variant, options);
  const instance = instantiate(module);
  const engine = new Engine(instance, variant);
  const precisions = choose(options, config, instance.kernels.hasTrueDots() === 1 ? engine : null);
  const members = await openMembers(module, options.threads ?? 1, precisions, { apart: options.apart });
  const run = new LayerRun(members, config, located, {
    ...options,
    weights: precisions.weights,
    sources: opened.sources,
    engine,
  });
  try {
    const chunks = Math.floor(ids.length / context);
    const states = await run.through(ids.subarray(0, chunks * context), context);
    const width = context * config.hidden;
    await run.load((key) => key === "norm" || key === "head" || (config.isTied && key === "embedding"));
    let next = 0;
    return {
      async logits(_, first = 0) {
        const start = next++ * width;
        const x = states.slice(start + first * config.hidden, start + width);
        return (await members.run({ kind: "head", config, x }))!;
      },
      rewind() {
        next = 0;
      },
      close: () => members.close(),
    };
  } catch (error) {
    await members.close();
    throw error;
  }
}

interface RunOptions extends StreamOptions {
  readonly sources: readonly Source[];
  readonly engine: Engine;
  readonly weights: WeightForm;
}

/** Hidden states on their way through the layers. */
class LayerRun {
  readonly #members: Members;
  readonly #config: DecoderConfig;
  readonly #located: readonly Located[];
  readonly #options: RunOptions;

  constructor(members: Members, config: DecoderConfig, located: readonly Located[], options: RunOptions) {
    this.#members = members;
    this.#config = config;
    this.#located = located;
    this.#options = options;
  }

  /** Brings some weights into memory. */
  async load(isWanted: (key: string) => boolean): Promise<void> {
    const wanted = this.#located.filter((one) => isWanted(one.wanted.key));
    // Progress here counts layers, not the bytes of their weights.
    await loadWeights(wanted, this.#members.receivers, { ...this.#options, onProgress: undefined });
  }

  /** The hidden states of all tokens after the last layer. */
  async through(ids: Int32Array, context: number): Promise<Float32Array> {
    const { layers, hidden } = this.#config;
    const { state, signal, onProgress } = this.#options;
    const found = await state?.read();
    const states =
      found?.states.length === ids.length * hidden ? found.states : await this.#words(ids, context);
    for (let i = found?.states === states ? found.layers : 0; i < layers.length; i++) {
      signal?.throwIfAborted();
      if (this.#located.some((one) => one.wanted.key.startsWith(`${i}.block.router`)))
        await this.#throughMixture(i, states, context);
      else await this.#throughLayer(i, states, context);
      await state?.write(i + 1, states);
      onProgress?.({ done: i + 1, total: layers.length });
    }
    return states;
  }

  async #words(ids: Int32Array, context: number): Promise<Float32Array> {
    const config = this.#config;
    const states = new Float32Array(ids.length * config.hidden);
    await this.load((key) => key === "embedding");
    for (let start = 0; start < ids.length; start += context) {
      const chunk = ids.slice(start, start + context);
      states.set((await this.#members.run({ kind: "words", config, ids: chunk }))!, start * config.hidden);
    }
    await this.#members.run({ kind: "drop", prefix: "embedding" });
    return states;
  }

  async #throughLayer(layer: number, states: Float32Array, context: number): Promise<void> {
    const config = this.#config;
    await this.load((key) => key.startsWith(`${layer}.`));
    await this.#eachChunk(states, context, (x) => this.#members.run({ kind: "layer", config, layer, x }));
    await this.#members.run({ kind: "drop", prefix: `${layer}.` });
  }

  /** Attention first; then the experts that tokens take, in groups, whose results are added up. */
  async #throughMixture(layer: number, states: Float32Array, context: number): Promise<void> {
    const config = this.#config;
    const expertOf = (key: string): number | null => {
      const found = /^\d+\.block\.(\d+)\./.exec(key);
      return found === null ? null : Number(found[1]);
    };
    await this.load((key) => key.startsWith(`${layer}.`) && expertOf(key) === null);
    await this.#eachChunk(states, context, (x) => this.#members.run({ kind: "attend", config, layer, x }));
    const block = config.layers[layer]!.block;
    const count = block.kind === "experts" ? block.count : 0;
    const needed = new Float64Array(count);
    await this.#eachChunk(states, context, async (x) => {
      const counts = (await this.#members.run({ kind: "counts", config, layer, x }))!;
      for (const [e, n] of counts.entries()) needed[e]! += n;
      return undefined;
    });
    const sums = states.slice();
    for (const { start, end, withShared } of this.#groupsOf(layer, count, expertOf)) {
      this.#options.signal?.throwIfAborted();
      await this.load((key) => {
        const expert = key.startsWith(`${layer}.`) ? expertOf(key) : null;
        return expert !== null && expert >= start && expert < end && needed[expert]! > 0;
      });
      await this.#eachChunk(
        states,
        context,
        (x) => this.#members.run({ kind: "part", config, layer, x, part: { start, end, withShared } }),
        (y, at) => {
          for (let i = 0; i < y.length; i++) sums[at + i]! += y[i]!;
        },
      );
      for (let e = start; e < end; e++)
        await this.#members.run({ kind: "drop", prefix: `${layer}.block.${e}.` });
    }
    states.set(sums);
    await this.#members.run({ kind: "drop", prefix: `${layer}.` });
  }

  /** Experts in groups that fit in memory; those of one tensor come as a whole. */
  #groupsOf(
    layer: number,
    count: number,
    expertOf: (key: string) => number | null,
  ): { start: number; end: number; withShared: boolean }[] {
    const bytes = new Float64Array(count);
    for (const one of this.#located) {
      const { key } = one.wanted;
      const expert = key.startsWith(`${layer}.`) ? expertOf(key) : null;
      if (expert !== null) bytes[expert]! += memoryOf(one, this.#options.weights);
    }
    const groups: { start: number; end: number; withShared: boolean }[] = [];
    for (let start = 0, end = 0; start < count; start = end) {
      let size = 0;
      do size += bytes[end++]!;
      while (end < count && size + bytes[end]! <= GROUP_BYTES);
      groups.push({ start, end, withShared: start === 0 });
    }
    return groups;
  }

  /**
   * Does something with the states of each chunk; what comes of it takes
   * their place, unless it is for something else.
   */
  async #eachChunk(
    states: Float32Array,
    context: number,
    action: (x: Float32Array) => Promise<Float32Array | undefined>,
    take: (result: Float32Array, at: number) => void = (result, at) => states.set(result, at),
  ): Promise<void> {
    const width = context * this.#config.hidden;
    for (let at = 0; at < states.length; at += width) {
      this.#options.signal?.throwIfAborted();
      const result = await action(states.subarray(at, at + width));
      if (result !== undefined) take(result, at);
    }
  }
}

function noDecoder(where: string, architecture: string): BlockscaleError {
  return new BlockscaleError("option", {
    where,
    expected: "a model that predicts tokens",
    got: `${architecture}, an encoder`,
    fix: "Compare encoders by the vectors they give: blockscale embed.",
  });
}

function tooLong(where: string, context: number, most: number): BlockscaleError {
  return new BlockscaleError("option", {
    where: `${where}: context`,
    expected: `at most ${most} tokens, which is the model's context`,
    got: String(context),
    fix: "Give a smaller context.",
  });
}
