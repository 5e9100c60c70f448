/**
 * The arguments of the kernels that take many: records, which a caller writes into memory (`Program.call`)
 * and whose address a kernel takes. Unless said otherwise fields are addresses of float32 values (byte
 * offsets) and counts, strides are bytes, and a flag is 0 or 1.
 */
import { RecordLayout, type RecordOf } from "../wasm/record.ts";

const ATTENTION = {
  /** The results [tokens, group], each `valueDim` values. */
  out: "u32",
  outTokenStride: "u32",
  outHeadStride: "u32",
  /** Queries [tokens, group], each `dim` values: those of the last `tokens` of `count` positions. */
  q: "u32",
  qTokenStride: "u32",
  qHeadStride: "u32",
  tokens: "u32",
  /** How many heads of queries share the keys and values. */
  group: "u32",
  /** Keys [count, dim]: float32, or E4M3 codes with a float32 scale each where `keyScales` is not 0. */
  keys: "u32",
  keyStride: "u32",
  keyScales: "u32",
  /** Values [count, valueDim], kept as the keys are. */
  values: "u32",
  valueStride: "u32",
  valueScales: "u32",
  /** From a scale to that of the next position. */
  scaleStride: "u32",
  count: "u32",
  dim: "u32",
  valueDim: "u32",
  /** Whether a token sees no later one. */
  isCausal: "u32",
  /** How many keys a token sees at most: its own and the last ones before it; 0 for all. */
  window: "u32",
  scale: "f32",
  /** A score for each head that takes part in the softmax without a value; 0 if there are none. */
  sinks: "u32",
  /** Working memory: `attentionWorkspace` bytes. */
  work: "u32",
} as const;

/** The arguments of `attend`. */
export type AttentionCall = RecordOf<typeof ATTENTION>;
export const ATTENTION_CALL: RecordLayout<AttentionCall> = new RecordLayout<AttentionCall>(ATTENTION);

const ROPE = {
  /** Values [tokens, heads], each `dim` of them or more. */
  x: "u32",
  tokens: "u32",
  tokenStride: "u32",
  heads: "u32",
  headStride: "u32",
  /** How many values of a head are rotated, in pairs. */
  dim: "u32",
  /** [tokens, dim / 2] */
  cos: "u32",
  sin: "u32",
  /** Whether pairs are neighbours, instead of values i and i + dim / 2. */
  isInterleaved: "u32",
} as const;

/** The arguments of `rope`. */
export type RopeCall = RecordOf<typeof ROPE>;
export const ROPE_CALL: RecordLayout<RopeCall> = new RecordLayout<RopeCall>(ROPE);

const ROUTING = {
  /** A number of ROUTING_ID. */
  kind: "u32",
  /** The experts of each token, the best first: int32 [tokens, chosen]. */
  indices: "u32",
  /** Their weights [tokens, chosen]. */
  weights: "u32",
  /** [tokens, experts] */
  logits: "u32",
  tokens: "u32",
  experts: "u32",
  chosen: "u32",
  /** [experts], added to the scores for the choice alone; 0 if there is none. */
  bias: "u32",
  /** Above 1: experts are chosen from `chosenGroups` of so many groups. */
  groups: "u32",
  chosenGroups: "u32",
  /** Whether the weights of a token are divided by their sum. */
  isNormalized: "u32",
  /** What all weights are multiplied by. */
  factor: "f32",
  /** Working memory: 8 * experts + 4 * groups bytes. */
  work: "u32",
} as const;

/** The arguments of `route`. */
export type RoutingCall = RecordOf<typeof ROUTING>;
export const ROUTING_CALL: RecordLayout<RoutingCall> = new RecordLayout<RoutingCall>(ROUTING);
