import type { Program } from "../model/program.ts";
import { LINEARS, type LinearName } from "./linears.ts";
import { adapterOf, type Lora } from "./lora.ts";
import type { TrainingSetup } from "./member.ts";
import type { Parameter, Parameters } from "./parameters.ts";
import { type Recipe, recipes } from "./recipes.ts";
import { canShareRounding } from "./roundings.ts";

/**
 * A weight w [n, k], and the forms of it that products read where it is rounded, which are made again after
 * each step. `forY` and `forDx` are addresses.
 */
export interface LinearWeight {
  readonly name: string;
  readonly parameter: Parameter;
  readonly n: number;
  readonly k: number;
  readonly recipe: Recipe;
  /** [n, k], rounded for y = x w^T; the values themselves where nothing is rounded. */
  readonly forY: number;
  /** Rounded along n for dx = dy w: [n, k], or its transpose [k, n]. The values themselves if not rounded. */
  readonly forDx: number;
  /**
   * Its number among all weights, -1 for the head, which is never rounded; and that of the weight under which
   * their common x is rounded.
   */
  readonly index: number;
  readonly indexOfX: number;
  readonly adapter: Adapter | null;
}

/** Linear layers that have the same input x as another one. */
const SAME_X: { readonly [name in LinearName]?: LinearName } = { k: "q", v: "q", up: "gate" };

/** The adapter of a weight: see `LoraOptions`. It is computed in float32 with every recipe. */
export interface Adapter {
  readonly a: Parameter;
  readonly b: Parameter;
  readonly rank: number;
  readonly scale: number;
}

function makeAdapter(lora: Lora | null, parameters: Parameters, { name, shape }: Parameter): Adapter | null {
  const found = adapterOf(lora, name, shape);
  if (found === null) return null;
  const [a, b] = [parameters.get(found.a[0]), parameters.get(found.b[0])];
  return { a, b, rank: lora!.rank, scale: lora!.alpha / lora!.rank };
}

/** The weights of all linear layers and of the head. */
export class Weights {
  readonly layers: readonly { readonly [name in LinearName]: LinearWeight }[];
  /** The output projection to the vocabulary, in float32 with every recipe. */
  readonly head: LinearWeight;
  /** The weights of `layers`, one after another. */
  readonly linears: readonly LinearWeight[];

  constructor(
    program: Program,
    { config, recipe, lora }: Pick<TrainingSetup, "config" | "recipe" | "lora">,
    parameters: Parameters,
  ) {
    const make = (
      name: string,
      tensor: string,
      layerRecipe: Recipe,
      index: number,
      indexOfX = index,
    ): LinearWeight => {
      const parameter = parameters.get(tensor);
      const [n, k] = parameter.shape as [number, number];
      const { w } = layerRecipe.forward;
      const other = layerRecipe.inputGradient.w;
      const buffer = (what: string) => program.floats(`${name} ${what}`, parameter.count);
      const rounded = w === null ? parameter.value : buffer("rounded");
      return {
        name,
        parameter,
        n,
        k,
        recipe: layerRecipe,
        forY: rounded,
        forDx: other === null ? parameter.value : canShareRounding(w, other) ? rounded : buffer("across"),
        index,
        indexOfX,
        adapter: makeAdapter(lora, parameters, parameter),
      };
    };
    const names = Object.keys(LINEARS) as LinearName[];
    this.layers = config.layers.map((_, i) => {
      const numberOf = (name: LinearName) => i * names.length + names.indexOf(name);
      const weights = names.map((name) => {
        const path = `${i}.${LINEARS[name]}`;
        const indexOfX = numberOf(SAME_X[name] ?? name);
        return [name, make(path, `model.layers.${path}.weight`, recipe, numberOf(name), indexOfX)];
      });
      return Object.fromEntries(weights) as { [name in LinearName]: LinearWeight };
    });
    this.linears = this.layers.flatMap((layer) => Object.values(layer));
    const head = config.isTied ? "model.embed_tokens.weight" : "lm_head.weight";
    this.head = make("head", head, recipes.f32, -1);
  }
}
