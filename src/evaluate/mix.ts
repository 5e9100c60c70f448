import { Engine } from "../engine/engine.ts";
import type { Source } from "../io/source.ts";
import { compileForModels } from "../model/build.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { instantiate } from "../wasm/instantiate.ts";
import { type Evaluation, evaluate } from "./evaluate.ts";
import type { WeightFormat } from "./formats.ts";
import { chooseWithin } from "./knapsack.ts";
import { PlainModel } from "./rounded.ts";
import type { SensitiveGroup } from "./sensitivity.ts";
import { openStreamed, type StreamOptions } from "./streamed.ts";

/** A format for each group. */
export interface Mix {
  /** The format of all groups; `null` for a mixture. */
  readonly uniform: WeightFormat | null;
  /** Mean over the weights of all groups, scales included. */
  readonly bitsPerWeight: number;
  readonly score: number;
  /** By the names of weights. */
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

/** Runs a mix beside the original: weights are rounded to what their codes would stand for. The rounded model is in memory as a whole. */
export async function evaluateMix(
  files: ReadonlyMap<string, Source>,
  formats: ReadonlyMap<string, WeightFormat>,
  ids: Int32Array,
  context: number,
  options: Pick<StreamOptions, "threads" | "signal"> = {},
): Promise<Evaluation> {
  const { module, variant } = compileForModels();
  const engine = new Engine(instantiate(module), variant);
  const rounded = await (await PlainModel.open(files)).rounded((name) => formats.get(name), engine);
  const model = await openStreamed(rounded, ids, context, options);
  try {
    const reference = await openStreamed(files, ids, context, options);
    try {
      return await evaluate(model, ids, { context, reference });
    } finally {
      await reference.close();
    }
  } finally {
    await model.close();
  }
}
