/**
 * Training in FP8: forward, backward and optimiser over the kernels of this package.
 * @module
 */
export type { OperandName, RangeCounts } from "./products.ts";
export type { OperandFormat, Recipe, RecipeName } from "./recipes.ts";
export { recipes } from "./recipes.ts";
export type { Beginning, Schedule, StepResult, Trainer, TrainerOptions } from "./trainer.ts";
export { createTrainer, warmupCosine } from "./trainer.ts";
