/**
 * Models of FP8, FP4 and plain checkpoints on the CPU: logits, generation,
 * embeddings. Runs wherever WebAssembly does.
 * @module
 */
export type { CacheType } from "./cache.ts";
export type { DecoderConfig, EncoderConfig, ModelConfig } from "./config.ts";
export { architectures, modelConfigOf } from "./config.ts";
export type { LoadProgress } from "./load.ts";
export type { Model } from "./model.ts";
export { openModel } from "./open.ts";
export type { EmbedOptions, Generated, GenerateOptions, ModelOptions } from "./options.ts";
export type { Pooling } from "./pooling.ts";
export type { ModelActivations, Precisions } from "./precisions.ts";
export type { Sampling } from "./sampler.ts";
export { lendModelWorkers } from "./script.ts";
export type { WeightForm } from "./store.ts";
export type { ChatMessage, Tokenizer } from "./tokenizer.ts";
