/**
 * Checkpoints of block-scaled weights, from Blobs to Web streams: open, plan, convert, inspect, compare.
 * Nothing here knows a file system; it runs in browsers and edge workers as it does in Node.
 * @module
 */
export type { UrlOptions, UrlSource } from "../io/http.ts";
export { openUrl } from "../io/http.ts";
export type { Source } from "../io/source.ts";
export type { CacheOptions } from "../io/url-cache.ts";
export { openCached, removeCached } from "../io/url-cache.ts";
export type { Header, TensorInfo, TensorSpec } from "../safetensors/header.ts";
export type { ShardIndex } from "../safetensors/shards.ts";
export type { ConvertedCheckpoint, ConvertOptions, ConvertProgress } from "./convert.ts";
export { convertCheckpoint } from "./convert.ts";
export type {
  Dialect,
  DialectName,
  NamedShape,
  OutputText,
  StoredPart,
  WeightStorage,
} from "./dialects/index.ts";
export { dialects } from "./dialects/index.ts";
export type { Override } from "./dialects/overrides.ts";
export type { KeepRule, Selection } from "./dialects/rules.ts";
export { KEEP_RULES } from "./dialects/rules.ts";
export type { ComparedTensor, CompareOptions, Side } from "./measure/compare.ts";
export { compareCheckpoints } from "./measure/compare.ts";
export type { InspectedTensor, Inspection } from "./measure/inspect.ts";
export { inspect } from "./measure/inspect.ts";
export type { PrecisionSummary, Summary, TensorSummary } from "./measure/summary.ts";
export { jsonOf, summarize } from "./measure/summary.ts";
export type { WorstBlock } from "./measure/worst-block.ts";
export type {
  AmaxTarget,
  Measure,
  PlainTarget,
  Preparation,
  ScaledTarget,
  WeightConversion,
} from "./plan/conversion.ts";
export type { DequantizeOptions } from "./plan/dequantize.ts";
export { planDequantize } from "./plan/dequantize.ts";
export type { Direction, OpenedCheckpoint } from "./plan/folder.ts";
export { documentsOf, openCheckpoint } from "./plan/folder.ts";
export type { FilePlan, Plan, PlannedTensor, Step, StoredAs } from "./plan/plan.ts";
export type { QuantizeOptions } from "./plan/quantize.ts";
export { planQuantize } from "./plan/quantize.ts";
export type { Strip } from "./plan/strip.ts";
export { warningsOf } from "./plan/warnings.ts";
export type { Checkpoint, Config, Shard, StoredTensor } from "./read/checkpoint.ts";
export { readCheckpoint } from "./read/checkpoint.ts";
export type { ResolveOptions } from "./read/resolve.ts";
export type { ScaleFacts } from "./read/scales.ts";
export type { ElementType, PlainWeight, ScaledWeight, ScaleType } from "./read/weights.ts";
export type { ConvertedStrip } from "./run/convert.ts";
export type { Converter, Progress, RunOptions } from "./run/run.ts";
export { fileBytes, fileStream, localConverter } from "./run/run.ts";
export type { Pool, Port } from "./run/workers.ts";
export { createPool, serveConversions } from "./run/workers.ts";
