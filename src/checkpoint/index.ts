/**
 * Checkpoints of block-scaled weights, from Blobs to Web streams: open, plan, convert, inspect, compare. Nothing here
 * knows a file system; it runs in browsers and edge workers as it does in Node.
 * @module
 */
export type { UrlOptions, UrlSource } from "../io/http.ts";
export { openUrl } from "../io/http.ts";
export type { Source } from "../io/source.ts";
export type { Header, TensorInfo, TensorSpec } from "../safetensors/header.ts";
export type { ShardIndex } from "../safetensors/shards.ts";
export type { Checkpoint, Config, Place, Shard } from "./checkpoint.ts";
export { readCheckpoint } from "./checkpoint.ts";
export type { ComparedTensor, CompareOptions, Side, WorstBlock } from "./compare.ts";
export { compareCheckpoints } from "./compare.ts";
export type { Conversion, PlainTarget, ScaledTarget } from "./conversion.ts";
export type { Piece } from "./convert.ts";
export type { DequantizeOptions } from "./dequantize.ts";
export { planDequantize } from "./dequantize.ts";
export type { Dialect, DialectName, Document } from "./dialects.ts";
export { dialects } from "./dialects.ts";
export type { Direction, OpenedCheckpoint } from "./folder.ts";
export { documentsOf, openCheckpoint } from "./folder.ts";
export type { InspectedTensor, Inspection } from "./inspect.ts";
export { inspect } from "./inspect.ts";
export type { FilePlan, Plan, PlannedTensor, Step, StoredAs } from "./plan.ts";
export type { Pool, Port } from "./pool.ts";
export { createPool, serveConversions } from "./pool.ts";
export type { QuantizeOptions } from "./quantize.ts";
export { planQuantize } from "./quantize.ts";
export type { ResolveOptions } from "./resolve.ts";
export type { KeepRule, Override, Selection } from "./rules.ts";
export { KEEP_RULES } from "./rules.ts";
export type { Converter, Progress, RunOptions } from "./run.ts";
export { fileBytes, fileStream, localConverter } from "./run.ts";
export type { ScaleFacts } from "./scales.ts";
export type { Strip } from "./strip.ts";
export type { PrecisionSummary, Summary, TensorSummary } from "./summary.ts";
export { jsonOf, summarize } from "./summary.ts";
export type { Element, PlainWeight, ScaledWeight, ScaleType } from "./weights.ts";
