import type { DecoderConfig } from "../model/config.ts";
import { type Located, memoryOf } from "../model/locate.ts";
import { rangesToLoad, someRows } from "./row-ranges.ts";
import { type Runner, type StreamOptions, type StreamPlan, withRunner } from "./streamed.ts";

/** Layers that are done, and all layers. */
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

export interface LayerOptions extends StreamOptions {
  readonly onProgress?: ((progress: LayerProgress) => void) | undefined;
  readonly state?: StateStore | undefined;
}

/**
 * Runs a model of any size over chunks of tokens, a layer at a time: its weights are read, applied to the
 * hidden states of all chunks, and dropped. Experts are read in groups, and only those that some token takes.
 * Memory: the hidden states of all chunks, one layer without experts, and one group of them.
 * @returns the hidden states [tokens, hidden] after the last layer
 * @throws BlockscaleError `io`, `memory`
 */
export function runLayers(plan: StreamPlan, options: LayerOptions = {}): Promise<Float32Array> {
  return withRunner(plan, options, (runner) => new LayerRun(runner, plan, options).run());
}

/**
 * Experts of a layer that are in memory at a time, in bytes. Their results are summed up group by group: the
 * groups must not depend on the number of threads, or the last digits would.
 */
const GROUP_BYTES = 2 ** 29;

/** Hidden states on their way through the layers. */
class LayerRun {
  readonly #runner: Runner;
  readonly #config: DecoderConfig;
  readonly #located: readonly Located[];
  readonly #ids: Int32Array;
  readonly #context: number;
  readonly #options: LayerOptions;

  constructor(runner: Runner, { config, located, ids, context }: StreamPlan, options: LayerOptions) {
    this.#runner = runner;
    this.#config = config;
    this.#located = located;
    this.#ids = ids.subarray(0, Math.floor(ids.length / context) * context);
    this.#context = context;
    this.#options = options;
  }

  /** Loads the weights whose keys are wanted. */
  #load(isWanted: (key: string) => boolean): Promise<void> {
    return this.#runner.load(this.#located.filter((one) => isWanted(one.tensor.key)));
  }

  /** The hidden states of all tokens after the last layer. */
  async run(): Promise<Float32Array> {
    const { layers, hidden } = this.#config;
    const { state, signal, onProgress } = this.#options;
    const found = await state?.read();
    const states = found?.states.length === this.#ids.length * hidden ? found.states : await this.#embed();
    for (let i = found?.states === states ? found.layers : 0; i < layers.length; i++) {
      signal?.throwIfAborted();
      if (this.#located.some((one) => one.tensor.key.startsWith(`${i}.mlp.router`)))
        await this.#runMixture(i, states);
      else await this.#runLayer(i, states);
      await state?.write(i + 1, states);
      onProgress?.({ done: i + 1, total: layers.length });
    }
    return states;
  }

  /** The rows of the embedding table, of which a range of rows is in memory at a time. */
  async #embed(): Promise<Float32Array> {
    const config = this.#config;
    const { hidden } = config;
    const states = new Float32Array(this.#ids.length * hidden);
    const table = this.#located.find((one) => one.tensor.key === "embedding")!;
    for (const range of rangesToLoad([table], this.#runner.weights)) {
      const places: number[] = [];
      for (const [place, id] of this.#ids.entries())
        if (id >= range.start && id < range.end) places.push(place);
      if (places.length === 0) continue;
      await this.#runner.load([someRows(table, range)]);
      for (let from = 0; from < places.length; from += this.#context) {
        const some = places.slice(from, from + this.#context);
        const ids = Int32Array.from(some, (place) => this.#ids[place]!);
        const x = (await this.#runner.members.run({ kind: "embed", config, ids }))!;
        for (const [i, place] of some.entries())
          states.set(x.subarray(i * hidden, (i + 1) * hidden), place * hidden);
      }
      await this.#runner.members.run({ kind: "drop", prefix: "embedding" });
    }
    return states;
  }

  async #runLayer(layer: number, states: Float32Array): Promise<void> {
    const config = this.#config;
    await this.#load((key) => key.startsWith(`${layer}.`));
    await this.#eachChunk(states, (x) => this.#runner.members.run({ kind: "layer", config, layer, x }));
    await this.#runner.members.run({ kind: "drop", prefix: `${layer}.` });
  }

  /** Attention first; then the experts that tokens take, in groups, whose results are added up. */
  async #runMixture(layer: number, states: Float32Array): Promise<void> {
    const config = this.#config;
    const expertOf = (key: string): number | null => {
      const found = /^\d+\.mlp\.(\d+)\./.exec(key);
      return found === null ? null : Number(found[1]);
    };
    await this.#load((key) => key.startsWith(`${layer}.`) && expertOf(key) === null);
    await this.#eachChunk(states, (x) => this.#runner.members.run({ kind: "attend", config, layer, x }));
    const mlp = config.layers[layer]!.mlp;
    const count = mlp.kind === "experts" ? mlp.count : 0;
    const needed = new Float64Array(count);
    await this.#eachChunk(states, async (x) => {
      const counts = (await this.#runner.members.run({ kind: "counts", config, layer, x }))!;
      for (const [e, n] of counts.entries()) needed[e]! += n;
      return undefined;
    });
    const sums = states.slice();
    for (const { start, end, withShared } of this.#groupsOf(layer, count, expertOf)) {
      this.#options.signal?.throwIfAborted();
      await this.#load((key) => {
        const expert = key.startsWith(`${layer}.`) ? expertOf(key) : null;
        return expert !== null && expert >= start && expert < end && needed[expert]! > 0;
      });
      await this.#eachChunk(
        states,
        (x) =>
          this.#runner.members.run({
            kind: "experts",
            config,
            layer,
            x,
            experts: { start, end, withShared },
          }),
        (y, at) => {
          for (let i = 0; i < y.length; i++) sums[at + i]! += y[i]!;
        },
      );
      for (let e = start; e < end; e++)
        await this.#runner.members.run({ kind: "drop", prefix: `${layer}.mlp.${e}.` });
    }
    states.set(sums);
    await this.#runner.members.run({ kind: "drop", prefix: `${layer}.` });
  }

  /** Groups of experts that fit in memory together. */
  #groupsOf(
    layer: number,
    count: number,
    expertOf: (key: string) => number | null,
  ): { start: number; end: number; withShared: boolean }[] {
    const bytes = new Float64Array(count);
    for (const one of this.#located) {
      const { key } = one.tensor;
      const expert = key.startsWith(`${layer}.`) ? expertOf(key) : null;
      if (expert !== null) bytes[expert]! += memoryOf(one, this.#runner.weights);
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
   * Calls `action` with the states of each chunk, which it may overwrite. Its result replaces them,
   * unless `take` does something else with it.
   */
  async #eachChunk(
    states: Float32Array,
    action: (x: Float32Array) => Promise<Float32Array | undefined>,
    take: (result: Float32Array, at: number) => void = (result, at) => states.set(result, at),
  ): Promise<void> {
    const width = this.#context * this.#config.hidden;
    // One array that all chunks are copied to: a view of `states` would be sent to a worker with all of them.
    const x = new Float32Array(width);
    for (let at = 0; at < states.length; at += width) {
      this.#options.signal?.throwIfAborted();
      x.set(states.subarray(at, at + width));
      const result = await action(x);
      if (result !== undefined) take(result, at);
    }
  }
}
