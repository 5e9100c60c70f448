import { checkKnown, checkRequires } from "../tensor/options.ts";
import { checkPort } from "../threads/lend.ts";
import type { Variant } from "../wasm/builds.ts";
import { checkDataParallel, type DataParallel } from "./data-parallel.ts";
import { checkLora, type Lora, type LoraOptions } from "./lora.ts";
import type { Moments } from "./parameters.ts";
import { type Recipe, type RecipeName, recipeOf } from "./recipes.ts";
import { wrongOption } from "./wrong-option.ts";

/** What the learning rate is multiplied by in a step; steps count from 0. */
export type Schedule = (step: number) => number;

export interface TrainerOptions {
  /** How products round their operands; "deepseek" if left out. */
  readonly recipe?: RecipeName | Recipe | undefined;
  /** 1e-3 if left out. */
  readonly learningRate?: number | undefined;
  /** Decay of the two moments of AdamW; 0.9 and 0.95 if left out. */
  readonly betas?: readonly [number, number] | undefined;
  /** 1e-8 if left out. */
  readonly epsilon?: number | undefined;
  /** Weight decay of matrices; 0.1 if left out. */
  readonly weightDecay?: number | undefined;
  /** Largest norm of all gradients together, which are scaled down to it; 1 if left out, 0 for no limit. */
  readonly clip?: number | undefined;
  /** Left out, the learning rate is the same in all steps. See {@link warmupCosine}. */
  readonly schedule?: Schedule | undefined;
  /** Whether roundings are counted: see {@link Trainer.ranges}. */
  readonly counts?: boolean | undefined;
  /**
   * How many workers share a step; the results have the same bits. 1 if left out, and wherever memory cannot
   * be shared (a page without COOP and COEP headers): then the calling thread does the work.
   */
  readonly threads?: number | undefined;
  /**
   * In a worker: the port of `lendTrainerWorkers` of its page, which then makes the threads in place of the
   * worker.
   */
  readonly workers?: MessagePort | undefined;
  /** The type of AdamW's two moments; "f32" if left out. */
  readonly moments?: Moments | undefined;
  /**
   * Whether the backward pass computes each layer's forward pass again instead of keeping the activations of
   * all layers ("activation checkpointing"): a third more work, memory for one layer and for the inputs of
   * the others, and the same bits.
   */
  readonly recompute?: boolean | undefined;
  /** Left out, all weights are trained. */
  readonly lora?: LoraOptions | undefined;
  /** This trainer's place among several, on other machines say, that train one model together. */
  readonly dataParallel?: DataParallel | undefined;
  /** Seed of stochastic rounding, a whole number below 2^32; 0 if left out. */
  readonly seed?: number | undefined;
  readonly variant?: Variant | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Rises to the whole rate in `warmup` steps, then falls to `last` of it along half a cosine. */
export function warmupCosine(warmup: number, steps: number, last = 0.1): Schedule {
  return (step) => {
    if (step < warmup) return (step + 1) / warmup;
    const done = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
    return last + ((1 - last) * (1 + Math.cos(Math.PI * done))) / 2;
  };
}

/** Checked options, with defaults for those that were left out. */
export type TrainerSettings = Required<
  Pick<TrainerOptions, "learningRate" | "betas" | "epsilon" | "weightDecay" | "clip">
> & {
  readonly recipe: Recipe;
  readonly schedule: Schedule;
  readonly counts: boolean;
  readonly threads: number;
  readonly seed: number;
  readonly moments: Moments;
  readonly recompute: boolean;
  readonly lora: Lora | null;
  readonly dataParallel: DataParallel | null;
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
  "threads",
  "workers",
  "seed",
  "moments",
  "recompute",
  "lora",
  "dataParallel",
  "variant",
  "signal",
];

/** @throws BlockscaleError `option` */
export function checkOptions(options: TrainerOptions): TrainerSettings {
  checkKnown("createTrainer", options, OPTIONS);
  checkPort("createTrainer", options.workers);
  checkRequires("createTrainer", options, "workers", "threads");
  const number = (name: "learningRate" | "epsilon" | "weightDecay" | "clip", standard: number): number => {
    const value = options[name] ?? standard;
    if (typeof value === "number" && value >= 0 && value < Infinity) return value;
    throw wrongOption(name, "a number from 0 on", value);
  };
  const betas = options.betas ?? [0.9, 0.95];
  if (!Array.isArray(betas) || betas.length !== 2 || !betas.every((beta) => beta >= 0 && beta < 1))
    throw wrongOption("betas", "two numbers, each at least 0 and below 1", betas);
  const threads = options.threads ?? 1;
  if (!Number.isInteger(threads) || threads < 1 || threads > 64)
    throw wrongOption("threads", "a whole number from 1 to 64", threads);
  const seed = options.seed ?? 0;
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32)
    throw wrongOption("seed", "a whole number below 2^32", seed);
  for (const name of ["counts", "recompute"] as const)
    if (!["undefined", "boolean"].includes(typeof options[name]))
      throw wrongOption(name, "true or false", options[name]);
  if (!["undefined", "function"].includes(typeof options.schedule))
    throw wrongOption("schedule", "a function of the step", options.schedule);
  const moments = options.moments ?? "f32";
  if (moments !== "f32" && moments !== "bf16") throw wrongOption("moments", '"f32" or "bf16"', moments);
  return {
    recipe: recipeOf(options.recipe ?? "deepseek"),
    learningRate: number("learningRate", 1e-3),
    betas,
    epsilon: number("epsilon", 1e-8),
    weightDecay: number("weightDecay", 0.1),
    clip: number("clip", 1),
    schedule: options.schedule ?? (() => 1),
    counts: options.counts ?? false,
    threads,
    seed,
    moments,
    recompute: options.recompute ?? false,
    lora: options.lora === undefined ? null : checkLora(options.lora),
    dataParallel: checkDataParallel(options.dataParallel),
  };
}
