import type { DecoderConfig } from "../model/config.ts";
import type { Program } from "../model/program.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { adapterOf, isAdapter, type Lora } from "./lora.ts";

/** The type of AdamW's two moments in memory. */
export type Moments = "f32" | "bf16";

/**
 * A tensor of the model, float32, with its gradient and the two moments of AdamW, which have its shape.
 * `value`, `gradient`, `m` and `v` are addresses.
 */
export interface Parameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly count: number;
  readonly value: number;
  readonly gradient: number;
  readonly m: number;
  readonly v: number;
  /** Whether it is a matrix: weight decay is for matrices. */
  readonly isMatrix: boolean;
  /** Whether it is trained. If not, it has no gradient and no moments: their addresses are 0. */
  readonly isTrained: boolean;
}

/** All tensors of a model by their names in checkpoints, in the order of the network. */
export class Parameters {
  readonly all: readonly Parameter[];
  readonly trained: readonly Parameter[];
  readonly #byName: ReadonlyMap<string, Parameter>;

  /** @param lora adapters, which are trained instead of the model's own tensors; they come last */
  constructor(program: Program, config: DecoderConfig, moments: Moments, lora: Lora | null) {
    const shapes = shapesOf(config);
    const adapters = shapes.flatMap(([name, shape]) => Object.values(adapterOf(lora, name, shape) ?? {}));
    this.all = [...shapes, ...adapters].map(([name, shape]) => {
      const isTrained = lora === null || isAdapter(name);
      const count = shape.reduce((product, size) => product * size, 1);
      // Memory is all zeros at first.
      const floats = (what: string) => program.floats(`${name} ${what}`, count);
      const moment = (what: string) => program.bytes(`${name} ${what}`, (moments === "f32" ? 4 : 2) * count);
      const value = floats("value");
      const learned = isTrained
        ? { gradient: floats("gradient"), m: moment("m"), v: moment("v") }
        : { gradient: 0, m: 0, v: 0 };
      const addresses = { value, ...learned };
      return { name, shape, count, ...addresses, isMatrix: shape.length > 1, isTrained };
    });
    this.trained = this.all.filter(({ isTrained }) => isTrained);
    this.#byName = new Map(this.all.map((parameter) => [parameter.name, parameter]));
  }

  /** @throws BlockscaleError `option`: no such tensor */
  get(name: string): Parameter {
    const found = this.#byName.get(name);
    if (found !== undefined) return found;
    throw new BlockscaleError("option", {
      where: "trainer",
      expected: "the name of a tensor of the model",
      got: JSON.stringify(name),
      fix: `The first ones are ${this.all
        .slice(0, 3)
        .map((one) => one.name)
        .join(", ")}.`,
    });
  }
}

/** Names and shapes of the tensors of the Llama family. */
function shapesOf(config: DecoderConfig): [name: string, shape: readonly number[]][] {
  const { hidden, vocabulary, layers, isTied } = config;
  return [
    ["model.embed_tokens.weight", [vocabulary, hidden]],
    ...layers.flatMap(({ attention, mlp }, i): [string, number[]][] => {
      if (attention.kind !== "heads" || mlp.kind !== "dense" || attention.hasSinks) throw notTrained(config);
      const { heads, keyHeads, headDim, hasNorms } = attention;
      const at = `model.layers.${i}`;
      return [
        [`${at}.input_layernorm.weight`, [hidden]],
        [`${at}.self_attn.q_proj.weight`, [heads * headDim, hidden]],
        [`${at}.self_attn.k_proj.weight`, [keyHeads * headDim, hidden]],
        [`${at}.self_attn.v_proj.weight`, [keyHeads * headDim, hidden]],
        ...(hasNorms
          ? ([
              [`${at}.self_attn.q_norm.weight`, [headDim]],
              [`${at}.self_attn.k_norm.weight`, [headDim]],
            ] as [string, number[]][])
          : []),
        [`${at}.self_attn.o_proj.weight`, [hidden, heads * headDim]],
        [`${at}.post_attention_layernorm.weight`, [hidden]],
        [`${at}.mlp.gate_proj.weight`, [mlp.size, hidden]],
        [`${at}.mlp.up_proj.weight`, [mlp.size, hidden]],
        [`${at}.mlp.down_proj.weight`, [hidden, mlp.size]],
      ];
    }),
    ["model.norm.weight", [hidden]],
    ...(isTied ? [] : ([["lm_head.weight", [vocabulary, hidden]]] as [string, number[]][])),
  ];
}

export function notTrained({ architecture }: Pick<DecoderConfig, "architecture">): BlockscaleError {
  return new BlockscaleError("dialect", {
    where: "createTrainer: architectures",
    expected: "LlamaForCausalLM or Qwen3ForCausalLM, without biases",
    got: architecture,
    fix: "Train one of these. `blockscale/model` runs the others: mixtures of experts, latent attention.",
  });
}
