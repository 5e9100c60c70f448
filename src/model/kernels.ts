import type { FormatId, ValueTypeId } from "../tensor/formats.ts";
import type { Kernels } from "../wasm/kernels.ts";
import type { AttentionCall, RopeCall, RoutingCall } from "./calls.ts";

/** The activation function of an MLP. */
export const ACTIVATION_ID = { silu: 0, gelu: 1, geluTanh: 2 } as const;
export type ActivationName = keyof typeof ACTIVATION_ID;

/** How the scores of experts come from logits: softmax of all, sigmoid, softmax of those that are chosen. */
export const ROUTING_ID = { softmax: 0, sigmoid: 1, softmaxOfChosen: 2 } as const;
export type RoutingName = keyof typeof ROUTING_ID;

/**
 * What the wasm builds for models export besides {@link Kernels}. Pointers are byte
 * offsets, counts are elements, strides are bytes; all values are float32 unless said
 * otherwise. As there, kernels trust their arguments.
 */
export interface ModelKernels extends Kernels {
  /** Bytes of working memory that `gemmPlain` needs for this many rows or fewer. */
  plainWorkspace(rows: number, k: number): number;

  /** dst[rows, n] <- x[rows, k] . values[n, k]^T, values of a type and without scales. */
  gemmPlain(
    type: ValueTypeId,
    dst: number,
    x: number,
    rows: number,
    values: number,
    n: number,
    k: number,
    work: number,
  ): void;

  /** dst[n] <- values[n] of a type, float32 too, unlike `widen` of the builds without models. */
  widen(type: ValueTypeId, dst: number, src: number, n: number): void;

  /**
   * dst[rows, cols] <- src / sqrt(mean(src^2) + epsilon) * weight[cols], by row; dst may be src. Strides are
   * in bytes.
   */
  rmsNorm(
    dst: number,
    dstStride: number,
    src: number,
    srcStride: number,
    weight: number,
    rows: number,
    cols: number,
    epsilon: number,
  ): void;

  /** dst[rows, cols] <- (src - mean) / sqrt(variance + epsilon) * weight + bias, by row; dst may be src. */
  layerNorm(
    dst: number,
    src: number,
    weight: number,
    bias: number,
    rows: number,
    cols: number,
    epsilon: number,
  ): void;

  /** dst[rows, cols] += row[cols], for each row. The stride is in bytes. */
  addToRows(dst: number, stride: number, row: number, rows: number, cols: number): void;

  /** dst[n] += src[n] * factor */
  addScaled(dst: number, src: number, n: number, factor: number): void;

  /** dst <- src, rows of so many bytes whose beginnings are strides, in bytes too, apart. */
  copyRows(dst: number, dstStride: number, src: number, srcStride: number, rows: number, bytes: number): void;

  /** Rotates heads by the angles of their tokens, in place. `call`: the address of a {@link RopeCall}. */
  rope(call: number): void;

  /** Bytes of working memory for `attend`, for tokens * group rows. */
  attentionWorkspace(rows: number, dim: number, valueDim: number): number;

  /**
   * out <- softmax(scale * q . keys^T) . values, for `group` heads of queries of the last `tokens` of `count`
   * positions. `call`: the address of an {@link AttentionCall}.
   */
  attend(call: number): void;

  /** x[n] <- activation(x) */
  activate(kind: number, x: number, n: number): void;

  /** gate[n] <- activation(gate) * up */
  activateGated(kind: number, gate: number, up: number, n: number): void;

  /** dst[n] <- the clamped SwiGLU of n pairs (gate, up); dst may be where they are. */
  activatePairs(dst: number, pairs: number, n: number, limit: number): void;

  /** Chooses the experts of each token, and their weights. `call`: the address of a {@link RoutingCall}. */
  route(call: number): void;

  /** dst[n] <- e^((src - largest) * factor) over the sum of all; returns the largest of src. */
  softmax(dst: number, src: number, n: number, factor: number): number;
}

/** E4M3, in which the cache may be kept. */
export const CACHE_FORMAT: FormatId = 0;
