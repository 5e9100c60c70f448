import { Engine } from "../engine/engine.ts";
import type { Source } from "../io/source.ts";
import { compileForModels } from "../model/build.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { instantiate, ownMemory } from "../wasm/instantiate.ts";
import { type Evaluation, evaluationOf } from "./evaluate.ts";
import type { WeightFormat } from "./formats.ts";
import { type ModelStates, scoreStreamed } from "./head.ts";
import { chooseWithin } from "./knapsack.ts";
import { runLayers } from "./layers.ts";
import type { PlainModel } from "./rounded.ts";
import type { SensitiveGroup } from "./sensitivity.ts";
import { planStreamed, type StreamOptions } from "./streamed.ts";

/** A format for each group. */
export interface Mix {
  /** The format of all groups; `null` where it is not the same. */
  readonly uniform: WeightFormat | null;
  /** Mean over the weights of all groups, scales included. */
  readonly bitsPerWeight: number;
  readonly score: number;
  /** Format of each weight, by name. */
  readonly formats: ReadonlyMap<string, WeightFormat>;
}

/**
 * The mix with the lowest score within a budget.
 * @param bits a weight, on average
 * @throws BlockscaleError `option`: no mix takes so few
 */
export function mixWithin(groups: readonly SensitiveGroup[], bits: number): Mix {
  const elements = groups.reduce((sum, group) => sum + group.elements, 0);
  const taken = chooseWithin(
    groups.map(({ effects }) => effects),
    Math.floor(bits * elements + 1e-6 * elements),
  );
  if (taken !== null) return mixOf(groups, taken, null);
  throw new BlockscaleError("option", {
    where: "sensitivity: bits",
    expected: "a budget that some mix of the formats fits in",
    got: `${bits} bits a weight`,
    fix: "Allow more bits, or formats with fewer.",
  });
}

/** All groups in one format; `null` where one of them cannot be. */
export function uniformMix(groups: readonly SensitiveGroup[], format: WeightFormat): Mix | null {
  const taken = groups.map(({ effects }) => effects.findIndex((effect) => effect.format === format));
  return taken.includes(-1) ? null : mixOf(groups, taken, format);
}

function mixOf(
  groups: readonly SensitiveGroup[],
  taken: readonly number[],
  uniform: WeightFormat | null,
): Mix {
  const formats = new Map<string, WeightFormat>();
  let [bits, score, elements] = [0, 0, 0];
  for (const [i, group] of groups.entries()) {
    const effect = group.effects[taken[i]!]!;
    bits += effect.bits;
    score += effect.score;
    elements += group.elements;
    for (const name of group.weights) formats.set(name, effect.format);
  }
  return { uniform, bitsPerWeight: bits / elements, score, formats };
}

/** Compares mixes with the original on a text. The original's hidden states are computed once. */
export class MixEvaluator {
  readonly #model: PlainModel;
  readonly #ids: Int32Array;
  readonly #context: number;
  readonly #options: StreamOptions;
  readonly #engine: Engine;
  readonly #reference: ModelStates;

  private constructor(
    model: PlainModel,
    ids: Int32Array,
    context: number,
    options: StreamOptions,
    reference: ModelStates,
  ) {
    this.#model = model;
    this.#ids = ids;
    this.#context = context;
    this.#options = options;
    this.#reference = reference;
    const { module, variant } = compileForModels();
    this.#engine = new Engine(instantiate(module), variant);
  }

  /** @throws BlockscaleError as `planStreamed` and `runLayers` */
  static async open(
    model: PlainModel,
    ids: Int32Array,
    context: number,
    options: MixOptions = {},
  ): Promise<MixEvaluator> {
    // One memory for all runs, of which there may be hundreds.
    const shared = { ...options, memory: ownMemory() };
    const reference = await streamed(model.files, ids, context, { ...shared, activations: "f32" });
    return new MixEvaluator(model, ids, context, shared, reference);
  }

  /**
   * Runs a mix beside the original: the codes and scales that `quantize` would write. They are in memory as a
   * whole.
   */
  async evaluate(formats: ReadonlyMap<string, WeightFormat>): Promise<Evaluation> {
    const files = await this.#model.written(formats, this.#engine);
    const model = await streamed(files, this.#ids, this.#context, this.#options);
    const { signal } = this.#options;
    return evaluationOf(this.#context, await scoreStreamed(model, this.#reference, { signal }));
  }
}

async function streamed(
  files: ReadonlyMap<string, Source>,
  ids: Int32Array,
  context: number,
  options: StreamOptions,
): Promise<ModelStates> {
  const plan = await planStreamed(files, ids, context);
  return { plan, states: await runLayers(plan, options), options };
}

/** `activations` are those of mixes: the original is what it is. */
type MixOptions = Pick<StreamOptions, "threads" | "activations" | "signal">;
