import { openCheckpoint } from "../checkpoint/plan/folder.ts";
import { Engine } from "../engine/engine.ts";
import type { Source } from "../io/source.ts";
import { compileForModels } from "../model/build.ts";
import { type DecoderConfig, modelConfigOf } from "../model/config.ts";
import type { Json } from "../model/json.ts";
import { loadWeights } from "../model/load.ts";
import { locate } from "../model/locate.ts";
import { Program } from "../model/program.ts";
import { Store } from "../model/store.ts";
import { serializeHeader } from "../safetensors/header.ts";
import { readHeader } from "../safetensors/read.ts";
import { checkKnown } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { Variant } from "../wasm/builds.ts";
import { instantiate } from "../wasm/instantiate.ts";
import type { TrainKernels } from "./kernels.ts";
import { Network, type SeenLinear } from "./network.ts";
import { notTrained, type Parameter, Parameters } from "./parameters.ts";
import { LinearProducts, type OperandName, type RangeCounts } from "./products.ts";
import { normalValues } from "./random.ts";
import { type Recipe, type RecipeName, recipeOf } from "./recipes.ts";

/** The learning rate of a step, from 0 on: a part of the trainer's. */
export type Schedule = (step: number) => number;

export interface TrainerOptions {
  /** How products round their operands; "deepseek" if left out. */
  readonly recipe?: RecipeName | Recipe | undefined;
  /** 1e-3 if left out. */
  readonly learningRate?: number | undefined;
  /** Of AdamW; 0.9 and 0.95 if left out. */
  readonly betas?: readonly [number, number] | undefined;
  /** 1e-8 if left out. */
  readonly epsilon?: number | undefined;
  /** Of matrices; 0.1 if left out. */
  readonly weightDecay?: number | undefined;
  /** The norm of all gradients together is cut down to this; 1 if left out, and 0 leaves them alone. */
  readonly clip?: number | undefined;
  /** Left out, the learning rate stays what it is. See {@link warmupCosine}. */
  readonly schedule?: Schedule | undefined;
  /** Whether roundings are counted: see {@link Trainer.ranges}. */
  readonly counts?: boolean | undefined;
  readonly variant?: Variant | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A model to begin with: config.json and the seed of its random weights. */
export interface Beginning {
  readonly config: Json;
  readonly seed: number;
}

/** What a step has done. */
export interface StepResult {
  /** Mean cross-entropy of the next tokens, in nats. */
  readonly loss: number;
  /** The norm of all gradients together, before it was cut. */
  readonly gradientNorm: number;
}

/** From 0 to the whole rate in `warmup` steps, then down to `last` of it along half a cosine. */
export function warmupCosine(warmup: number, steps: number, last = 0.1): Schedule {
  return (step) => {
    if (step < warmup) return (step + 1) / warmup;
    const done = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
    return last + ((1 - last) * (1 + Math.cos(Math.PI * done))) / 2;
  };
}

const OPTIMIZER = "optimizer.safetensors";

/**
 * Makes a trainer of a checkpoint, or of a config and a seed. Where the files hold the state of an optimiser, as {@link Trainer.files} writes it,
 * training goes on to the same bits.
 * @throws BlockscaleError `dialect`: an architecture that is run here but not trained; `format`, `io`, `memory`, `option`
 */
export async function createTrainer(
  beginning: ReadonlyMap<string, Source> | Beginning,
  options: TrainerOptions = {},
): Promise<Trainer> {
  const settings = checkOptions(options);
  const { module, variant } = compileForModels(options.variant);
  const instance = instantiate(module);
  const program = new Program(instance, { rank: 0, size: 1 }, null, { activations: "f32", weights: "codes" });
  const isFiles = beginning instanceof Map;
  const opened = isFiles ? await openCheckpoint(withoutState(beginning), "the model") : null;
  const json = opened === null ? (beginning as Beginning).config : (opened.checkpoint.config as Json | null);
  const config = modelConfigOf(json);
  if (config.kind !== "decoder") throw notTrained(config);
  const parameters = new Parameters(program, config);
  const trainer = new Trainer(program, config, json!, parameters, settings);
  if (opened === null)
    initialize(program, parameters, (beginning as Beginning).config, (beginning as Beginning).seed);
  else {
    const located = locate(config, opened);
    const bias = located.find(({ wanted }) => wanted.key.endsWith(".bias"));
    if (bias !== undefined) throw notTrained(config);
    // By way of a store of its own, which is given back: weights may be codes, and are trained as what these stand for.
    const store = new Store(program.kernels, program.arena, "files");
    const engine = new Engine(instantiate(module), variant);
    await loadWeights(located, [store], { sources: opened.sources, engine, signal: options.signal });
    takeWeights(program, parameters, store);
    store.drop("");
    const state = (beginning as ReadonlyMap<string, Source>).get(OPTIMIZER);
    if (state !== undefined) await trainer.takeState(state);
  }
  return trainer;
}

function withoutState(files: ReadonlyMap<string, Source>): Map<string, Source> {
  return new Map([...files].filter(([name]) => name !== OPTIMIZER));
}

/** Norms of 1, and normal values with the standard deviation that config.json names. */
function initialize(program: Program, parameters: Parameters, config: Json, seed: number): void {
  if (!Number.isSafeInteger(seed)) throw wrongOption("seed", "a whole number", seed);
  const deviation = typeof config.initializer_range === "number" ? config.initializer_range : 0.02;
  parameters.all.forEach(({ value, count, isMatrix }, i) => {
    const values = program.view(value, count);
    if (isMatrix) normalValues(values, deviation, seed, i);
    else values.fill(1);
  });
}

/** The weights of a store, as float32 parameters. */
function takeWeights(program: Program, parameters: Parameters, store: Store): void {
  const { kernels } = program;
  for (const { name, value, count } of parameters.all) {
    const key = keyOf(name);
    const { slices, cols, rows } = store.get(key);
    const stored = slices[0]!;
    if (stored.kind === "int7") throw new Error("integers cannot be trained");
    if (stored.kind === "plain") kernels.widen(stored.type, value, stored.start, count);
    else {
      const [codes, scales, , , , blockRows, blockCols] = stored.place;
      kernels.dequantize(
        stored.types[0],
        0,
        stored.types[1],
        value,
        codes,
        scales,
        rows,
        cols,
        blockRows,
        blockCols,
      );
    }
  }
}

const KEYS: { readonly [part: string]: string } = {
  "self_attn.q_proj": "attention.q",
  "self_attn.k_proj": "attention.k",
  "self_attn.v_proj": "attention.v",
  "self_attn.o_proj": "attention.o",
  "self_attn.q_norm": "attention.q_norm",
  "self_attn.k_norm": "attention.k_norm",
  "mlp.gate_proj": "block.gate",
  "mlp.up_proj": "block.up",
  "mlp.down_proj": "block.down",
  input_layernorm: "attention_norm",
  post_attention_layernorm: "block_norm",
};

/** What the forward pass of models calls a tensor. */
function keyOf(name: string): string {
  const found = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name);
  if (found !== null) return `${found[1]}.${KEYS[found[2]!]!}`;
  if (name === "model.norm.weight") return "norm";
  return name === "lm_head.weight" ? "head" : "embedding";
}

type Settings = Required<
  Pick<TrainerOptions, "learningRate" | "betas" | "epsilon" | "weightDecay" | "clip">
> & {
  readonly recipe: Recipe;
  readonly schedule: Schedule;
  readonly counts: boolean;
};

const OPTIONS = [
  "recipe",
  "learningRate",
  "betas",
  "epsilon",
  "weightDecay",
  "clip",
  "schedule",
  "counts",
  "variant",
  "signal",
];

function checkOptions(options: TrainerOptions): Settings {
  checkKnown("createTrainer", options, OPTIONS);
  const number = (name: "learningRate" | "epsilon" | "weightDecay" | "clip", standard: number): number => {
    const value = options[name] ?? standard;
    if (typeof value === "number" && value >= 0 && value < Infinity) return value;
    throw wrongOption(name, "a number from 0 on", value);
  };
  const betas = options.betas ?? [0.9, 0.95];
  if (betas.length !== 2 || !betas.every((beta) => beta >= 0 && beta < 1))
    throw wrongOption("betas", "two numbers from 0 to 1, 1 left out", betas);
  return {
    recipe: recipeOf(options.recipe ?? "deepseek"),
    learningRate: number("learningRate", 1e-3),
    betas,
    epsilon: number("epsilon", 1e-8),
    weightDecay: number("weightDecay", 0.1),
    clip: number("clip", 1),
    schedule: options.schedule ?? (() => 1),
    counts: options.counts ?? false,
  };
}

function wrongOption(name: string, expected: string, got: unknown): BlockscaleError {
  return new BlockscaleError("option", {
    where: `createTrainer: ${name}`,
    expected,
    got: String(got),
    fix: "Leave it out to get what is usual.",
  });
}

/** A model that learns. Its weights, gradients and optimiser are float32; its products are those of the recipe. */
export class Trainer {
  readonly config: DecoderConfig;
  readonly #program: Program;
  readonly #json: Json;
  readonly #parameters: Parameters;
  readonly #products: LinearProducts;
  readonly #network: Network;
  readonly #settings: Settings;
  #steps = 0;

  /** Use {@link createTrainer}. */
  constructor(
    program: Program,
    config: DecoderConfig,
    json: Json,
    parameters: Parameters,
    settings: Settings,
  ) {
    this.config = config;
    this.#program = program;
    this.#json = json;
    this.#parameters = parameters;
    this.#settings = settings;
    this.#products = new LinearProducts(program, settings.recipe);
    if (settings.counts) this.#products.counts = new Map();
    this.#network = new Network(program, config, parameters, this.#products);
  }

  /** Steps that have been taken. */
  get steps(): number {
    return this.#steps;
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  /**
   * One step: forward, backward, AdamW.
   * @param ids tokens [batch, length + 1]: each but the last of a row predicts the next one
   * @param parts the batch is taken in so many parts, one after another, whose gradients add up: less memory, the same step
   * @throws BlockscaleError `option`: another shape, tokens outside the vocabulary; `dialect`: the loss is no number any more
   */
  async step(ids: Int32Array, shape: readonly [number, number], parts = 1): Promise<StepResult> {
    const { betas, epsilon, weightDecay, clip, learningRate, schedule } = this.#settings;
    const { all } = this.#parameters;
    for (const { gradient, count } of all) this.#program.view(gradient, count).fill(0);
    const loss = this.#run(ids, shape, true, parts);
    const squares = all.map(({ gradient, count }) => this.#kernels.sumOfSquares(gradient, count));
    const gradientNorm = Math.sqrt(squares.reduce((a, b) => a + b, 0));
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) throw this.#failed(loss, squares);
    this.#steps++;
    // As torch's clip_grad_norm_ computes it.
    const factor = clip > 0 ? Math.min(1, clip / (gradientNorm + 1e-6)) : 1;
    const rate = learningRate * schedule(this.#steps - 1);
    const [beta1, beta2] = betas;
    for (const { value, gradient, m, v, count, isMatrix } of all) {
      this.#kernels.adamw(
        value,
        gradient,
        m,
        v,
        count,
        factor,
        rate / (1 - beta1 ** this.#steps),
        beta1,
        beta2,
        epsilon,
        1 / (1 - beta2 ** this.#steps),
        isMatrix ? rate * weightDecay : 0,
      );
    }
    return { loss, gradientNorm };
  }

  /** The mean cross-entropy of the next tokens, without learning from them. */
  async loss(ids: Int32Array, shape: readonly [number, number]): Promise<number> {
    return this.#run(ids, shape, false, 1);
  }

  /**
   * Shows each linear layer with the gradient of the summed cross-entropy (in nats) by its output, without learning.
   * @param look called layer by layer, the last first; places are those of the program
   */
  observe(
    ids: Int32Array,
    shape: readonly [number, number],
    look: (program: Program, name: string, seen: SeenLinear) => void,
  ): void {
    const [batch, width] = checkBatch(ids, shape, this.config);
    this.#network.onLinear = (name, seen) => look(this.#program, name, seen);
    try {
      this.#network.run(ids, { batch, length: width - 1 }, 1, true);
    } finally {
      this.#network.onLinear = null;
    }
  }

  #run(ids: Int32Array, shape: readonly [number, number], withGradients: boolean, parts: number): number {
    const [batch, width] = checkBatch(ids, shape, this.config);
    if (!Number.isInteger(parts) || parts < 1 || batch % parts !== 0)
      throw wrongOption("parts", `a divisor of the batch, ${batch}`, parts);
    const size = batch / parts;
    const tokens = batch * (width - 1);
    let loss = 0;
    for (let part = 0; part < parts; part++) {
      const rows = ids.subarray(part * size * width, (part + 1) * size * width);
      loss += this.#network.run(rows, { batch: size, length: width - 1 }, 1 / tokens, withGradients);
    }
    return loss / tokens;
  }

  /** The first tensor that went wrong: of the backward pass, which ends with the embedding. */
  #failed(loss: number, squares: readonly number[]): BlockscaleError {
    const name = this.#parameters.all.filter((_, i) => !Number.isFinite(squares[i])).at(-1)?.name;
    return new BlockscaleError("dialect", {
      where: `trainer: step ${this.#steps + 1}`,
      expected: "a loss and gradients that are numbers",
      got: `a loss of ${loss}${name === undefined ? "" : `; the first gradient without numbers is that of ${name}`}`,
      fix: "Take a lower learning rate, a longer warm-up, or a recipe of higher precision.",
    });
  }

  /** The gradient of the last step by the name of its tensor, before it was cut. */
  gradient(name: string): Float32Array {
    const { gradient, count } = this.#parameters.get(name);
    return this.#program.view(gradient, count).slice();
  }

  /** A tensor of the model by its name. */
  weight(name: string): Float32Array {
    const { value, count } = this.#parameters.get(name);
    return this.#program.view(value, count).slice();
  }

  /** Names of all tensors. */
  get names(): string[] {
    return this.#parameters.all.map(({ name }) => name);
  }

  /**
   * What rounding has done to the operands of each linear layer since this was last asked; empty unless the trainer was made with `counts`.
   */
  ranges(): Map<string, Record<OperandName, RangeCounts>> {
    const found = this.#products.counts ?? new Map();
    if (this.#products.counts !== null) this.#products.counts = new Map();
    return found;
  }

  /**
   * The checkpoint: config.json and model.safetensors in float32, which load in transformers and in `openModel`.
   * @param withOptimizer adds optimizer.safetensors, from which `createTrainer` goes on
   */
  files(withOptimizer = false): Map<string, Blob> {
    const { all } = this.#parameters;
    const dtype = { dtype: "float32", torch_dtype: "float32" };
    const { quantization_config: _, ...json } = this.#json as { quantization_config?: unknown };
    const config = JSON.stringify({ ...json, ...dtype }, null, 2);
    const files = new Map<string, Blob>([
      ["config.json", new Blob([config])],
      [
        "model.safetensors",
        this.#fileOf(
          all.map((one) => [one.name, one, one.value]),
          { format: "pt" },
        ),
      ],
    ]);
    if (withOptimizer) {
      const means = all.flatMap((one): [string, Parameter, number][] => [
        [`${one.name}.m`, one, one.m],
        [`${one.name}.v`, one, one.v],
      ]);
      files.set(OPTIMIZER, this.#fileOf(means, { steps: String(this.#steps) }));
    }
    return files;
  }

  #fileOf(
    tensors: readonly [name: string, parameter: Parameter, place: number][],
    metadata: { [key: string]: string },
  ): Blob {
    const specs = tensors.map(([name, { shape }]) => ({ name, dtype: "F32" as const, shape: [...shape] }));
    const { bytes } = serializeHeader("model.safetensors", specs, new Map(Object.entries(metadata)));
    const values = tensors.map(([, { count }, place]) => this.#program.view(place, count).slice());
    return new Blob([bytes as BlobPart, ...(values as BlobPart[])]);
  }

  /**
   * Goes on from the state of an optimiser.
   * @throws BlockscaleError `format`: it belongs to another model
   */
  async takeState(source: Source): Promise<void> {
    const { tensors, dataStart, metadata } = await readHeader(OPTIMIZER, source);
    const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
    for (const { name, count, m, v } of this.#parameters.all) {
      for (const [suffix, place] of [
        ["m", m],
        ["v", v],
      ] as const) {
        const found = byName.get(`${name}.${suffix}`);
        if (found?.dtype !== "F32" || found.end - found.begin !== 4 * count)
          throw otherState(`${name}.${suffix}`);
        const bytes = await source.slice(dataStart + found.begin, dataStart + found.end).arrayBuffer();
        this.#program.view(place, count).set(new Float32Array(bytes));
      }
    }
    const steps = Number(metadata?.get("steps"));
    if (!Number.isSafeInteger(steps) || steps < 0) throw otherState("steps");
    this.#steps = steps;
  }

  /** The trainer cannot be used any more; its memory goes with it. */
  async close(): Promise<void> {}
}

function otherState(name: string): BlockscaleError {
  return new BlockscaleError("format", {
    where: OPTIMIZER,
    expected: `${name} of this model`,
    got: "none, or another size",
    fix: "Take it from the same folder as the weights, or leave it out to begin with a fresh optimiser.",
  });
}

function checkBatch(
  ids: Int32Array,
  [batch, width]: readonly [number, number],
  { vocabulary, context }: DecoderConfig,
): readonly [number, number] {
  const isShape = Number.isInteger(batch) && Number.isInteger(width) && batch > 0 && width > 1;
  if (!isShape || !(ids instanceof Int32Array) || ids.length !== batch * width) {
    throw new BlockscaleError("shape", {
      where: "trainer: ids",
      expected: "an Int32Array of [batch, length + 1]",
      got: `${ids?.length} values for [${batch}, ${width}]`,
      fix: "Each row holds one token more than the model sees at once.",
    });
  }
  if (width - 1 > context)
    throw wrongOption("length", `at most ${context} tokens, which is the model's context`, width - 1);
  const bad = ids.findIndex((id) => id < 0 || id >= vocabulary);
  if (bad < 0) return [batch, width];
  throw wrongOption(`token ${bad}`, `a whole number from 0 to ${vocabulary - 1}`, ids[bad]);
}
