/**
 * Block-scaled FP8 tensors in WebAssembly: quantise, dequantise and multiply, with the same bits of casts in
 * every runtime. Checkpoints, models and training have entries of their own.
 * @module
 */
export type { LoadOptions } from "./load.ts";
export { lendEngineWorkers, load } from "./load.ts";
export * from "./public.ts";
export type { ThreadedEngine, ThreadedWeights } from "./threads/engine.ts";
export type { LentWorkers } from "./threads/lend.ts";
export type { Variant } from "./wasm/builds.ts";
export type { WasmSource } from "./wasm/module.ts";
