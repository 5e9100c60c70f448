/**
 * The arguments of those kernels for training that take many, and a record that names a stream of random
 * words: see src/model/calls.ts. Strides count values here.
 */
import { RecordLayout, type RecordOf } from "../wasm/record.ts";

const PRODUCT = {
  /** [m, n] */
  dst: "u32",
  dstStride: "u32",
  /** [m, k], or [k, m] if it is transposed. */
  x: "u32",
  xStride: "u32",
  isXTransposed: "u32",
  /** [n, k], or [k, n] if it is transposed. */
  w: "u32",
  wStride: "u32",
  isWTransposed: "u32",
  m: "u32",
  n: "u32",
  k: "u32",
  /** What the product is multiplied by before it is added; 0: it is stored. */
  factor: "f32",
  /** Working memory: `plainWorkspace(m, k)` bytes. */
  work: "u32",
} as const;

/** The arguments of `multiply`. */
export type ProductCall = RecordOf<typeof PRODUCT>;
export const PRODUCT_CALL: RecordLayout<ProductCall> = new RecordLayout<ProductCall>(PRODUCT);

const ROUNDING = {
  /** A number of FORMAT_ID. */
  format: "u32",
  /** [rows, cols]; may be src where nothing is counted. */
  dst: "u32",
  dstStride: "u32",
  src: "u32",
  srcStride: "u32",
  rows: "u32",
  cols: "u32",
  blockRows: "u32",
  blockCols: "u32",
  /** A number of ROUNDING_ID. */
  rounding: "u32",
  /**
   * Nine float64, to three of which the kernel adds what `compare` would: the largest magnitude, and how
   * many values were flushed to 0 and cut to the largest code; or 0.
   */
  sums: "u32",
  /** Working memory: `roundWorkspace(cols, blockRows)` bytes. */
  work: "u32",
} as const;

/** The arguments of `round`. */
export type RoundingCall = RecordOf<typeof ROUNDING>;
export const ROUNDING_CALL: RecordLayout<RoundingCall> = new RecordLayout<RoundingCall>(ROUNDING);

const ADAMW = {
  /** What m and v are, a number of VALUE_TYPE_ID: float32 or bfloat16. */
  type: "u32",
  /** [count], as are the gradient, m and v. */
  weights: "u32",
  gradient: "u32",
  /** Running means of the gradient and of its square. */
  m: "u32",
  v: "u32",
  count: "u32",
  /** What the gradient is multiplied by first. */
  factor: "f32",
  /** The rate over 1 - beta1^t. */
  correctedRate: "f32",
  beta1: "f32",
  beta2: "f32",
  epsilon: "f32",
  /** 1 / (1 - beta2^t), what v is multiplied by. */
  correction: "f32",
  /** The part of themselves that weights lose. */
  decay: "f32",
} as const;

/** The arguments of `adamw`. */
export type AdamwCall = RecordOf<typeof ADAMW>;
export const ADAMW_CALL: RecordLayout<AdamwCall> = new RecordLayout<AdamwCall>(ADAMW);

const RANDOM_STREAM_FIELDS = {
  seed: "u32",
  /**
   * The number of an operand: six times the index of its weight, and its role; one more for Hadamard signs.
   */
  stream: "u32",
  step: "u32",
  microBatch: "u32",
} as const;

/**
 * Counters that name the random words of a stochastic rounding: element i of a tensor takes word i of this
 * stream. All four are numbers of 32 bits.
 */
export type RandomStream = RecordOf<typeof RANDOM_STREAM_FIELDS>;
export const RANDOM_STREAM: RecordLayout<RandomStream> = new RecordLayout<RandomStream>(RANDOM_STREAM_FIELDS);
