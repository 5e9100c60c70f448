/**
 * Training in FP8: forward, backward and optimiser over the kernels of this package.
 * @module
 */

export type { OperandName, RangeCounts } from "./counts.ts";
export { createTrainer, type NewModel } from "./create.ts";
export type { DataParallel, RankStep } from "./data-parallel.ts";
export type { LoraOptions } from "./lora.ts";
export { type Schedule, type TrainerOptions, warmupCosine } from "./options.ts";
export type { OperandFormat, Recipe, RecipeName } from "./recipes.ts";
export { recipes } from "./recipes.ts";
export { lendTrainerWorkers } from "./script.ts";
export { type RandomWords, type StochasticCast, stochasticCast } from "./stochastic-cast.ts";
export type { StepResult, Trainer } from "./trainer.ts";
