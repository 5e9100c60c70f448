import type { Program } from "../model/program.ts";
import { LINEARS, type LinearName } from "./linears.ts";
import { adapterOf, type Lora } from "./lora.ts";
import type { Plan } from "./member.ts";
import type { Parameter, Parameters } from "./parameters.ts";
import { type Recipe, recipes } from "./recipes.ts";

/**
 * A weight w [n, k], and the forms of it that products read, which follow from its
 * values: they are made anew after each step.
 */
export interface Weight {
  readonly name: string;
  readonly parameter: Parameter;
  readonly n: number;
  readonly k: number;
  readonly recipe: Recipe;
  /** [n, k], rounded for y = x w^T; the values themselves where nothing is rounded. */
  readonly rounded: number;
  /** [k, n], turned and rounded for dx = dy w. */
  readonly turned: number;
  /** Its number among all, and that of the one that rounds the x which both meet. */
  readonly index: number;
  readonly indexOfX: number;
  readonly adapter: Adapter | null;
}

/** Linear layers that meet the x of another one. */
const SAME_X: { readonly [name in LinearName]?: LinearName } = { k: "q", v: "q", up: "gate" };

/** The adapter of a weight: see `LoraOptions`. All of it is float32, whatever the recipe. */
export interface Adapter {
  readonly a: Parameter;
  readonly b: Parameter;
  readonly rank: number;
  readonly scale: number;
  /** A [k, rank] and B [rank, n], turned. */
  readonly turnedA: number;
  readonly turnedB: number;
}

function makeAdapter(
  program: Program,
  lora: Lora | null,
  parameters: Parameters,
  { name, shape }: Parameter,
): Adapter | null {
  const found = adapterOf(lora, name, shape);
  if (found === null) return null;
  const [a, b] = [parameters.get(found.a[0]), parameters.get(found.b[0])];
  return {
    a,
    b,
    rank: lora!.rank,
    scale: lora!.alpha / lora!.rank,
    turnedA: program.room(`${a.name} turned`, a.count),
    turnedB: program.room(`${b.name} turned`, b.count),
  };
}

/** The weights that are multiplied by. */
export class Weights {
  readonly layers: readonly { readonly [name in LinearName]: Weight }[];
  /** The head, in float32 whatever the recipe. */
  readonly head: Weight;
  /** The linear layers of all layers. */
  readonly linears: readonly Weight[];

  constructor(
    program: Program,
    { config, recipe, lora }: Pick<Plan, "config" | "recipe" | "lora">,
    parameters: Parameters,
  ) {
    const make = (name: string, tensor: string, of: Recipe, index: number, indexOfX = index): Weight => {
      const parameter = parameters.get(tensor);
      const [n, k] = parameter.shape as [number, number];
      const isRounded = of.forward.w !== null;
      return {
        name,
        parameter,
        n,
        k,
        recipe: of,
        rounded: isRounded ? program.room(`${name} rounded`, parameter.count) : parameter.value,
        turned: program.room(`${name} turned`, parameter.count),
        index,
        indexOfX,
        adapter: makeAdapter(program, lora, parameters, parameter),
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
      return Object.fromEntries(weights) as { [name in LinearName]: Weight };
    });
    this.linears = this.layers.flatMap((layer) => Object.values(layer));
    const head = config.isTied ? "model.embed_tokens.weight" : "lm_head.weight";
    this.head = make("head", head, recipes.f32, -1);
  }
}
