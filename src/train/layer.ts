import { ROPE_CALL } from "../model/calls.ts";
import type { DecoderConfig } from "../model/config.ts";
import type { Program } from "../model/program.ts";
import type { Range } from "../model/team.ts";
import type { Adapters } from "./adapters.ts";
import { TrainedAttention } from "./attention.ts";
import type { Buffers, SavedActivations } from "./buffers.ts";
import type { TrainKernels } from "./kernels.ts";
import { headAttentionOf, sizesOf } from "./linears.ts";
import type { Parameter, Parameters } from "./parameters.ts";
import type { LinearProducts } from "./products.ts";
import type { LinearWeight, Weights } from "./weights.ts";

/** A linear layer y = x w^T in a backward pass: the addresses of x [rows, k] and dy [rows, n]. */
export interface ObservedLinear {
  readonly x: number;
  readonly dy: number;
  readonly rows: number;
  readonly n: number;
  readonly k: number;
}

/**
 * Called in the backward pass for each linear layer, with the name of its weight, its input and the gradient
 * of its output.
 */
export type Observer = (name: string, seen: ObservedLinear) => void;

/**
 * A decoder layer of the Llama family, with Qwen3's norms of heads where the model has them: a backward
 * function beside each forward one. A member computes its own tokens, except in attention, where it has its
 * own heads, and in gradients of weights, where it has its own rows. Barriers stand where it reads what
 * others have written.
 */
export class TrainedLayer {
  readonly #program: Program;
  readonly #config: DecoderConfig;
  readonly #path: string;
  readonly #parameters: Parameters;
  readonly #weights: Weights["layers"][number];
  readonly #products: LinearProducts;
  readonly #adapters: Adapters;
  readonly #attention: TrainedAttention;

  constructor(
    program: Program,
    config: DecoderConfig,
    index: number,
    parameters: Parameters,
    weights: Weights,
    products: LinearProducts,
    adapters: Adapters,
  ) {
    this.#program = program;
    this.#config = config;
    this.#path = `model.layers.${index}`;
    this.#parameters = parameters;
    this.#weights = weights.layers[index]!;
    this.#products = products;
    this.#adapters = adapters;
    this.#attention = new TrainedAttention(program, config, products);
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  #norm(name: string): Parameter {
    return this.#parameters.get(`${this.#path}.${name}.weight`);
  }

  /** next <- the output of the layer for its input saved.x; both are [tokens, hidden]. */
  forward(saved: SavedActivations, next: number, buffers: Buffers): void {
    const { hidden } = this.#config;
    const { heads, keyHeads } = headAttentionOf(this.#config);
    const { inner } = sizesOf(this.#config);
    const { q, k, v, o, gate, up, down } = this.#weights;
    const { own, work } = buffers;
    const kernels = this.#kernels;
    const linear = (x: number, ...products: { y: number; weight: LinearWeight }[]) => {
      this.#products.forward(x, own, products, work);
      for (const { y, weight } of products)
        if (weight.adapter !== null) this.#adapters.forward(y, x, weight, weight.adapter, buffers);
    };
    const add = (dst: number, src: number) => {
      const at = 4 * own.start * hidden;
      kernels.addScaled(dst + at, src + at, (own.end - own.start) * hidden, 1);
    };
    this.#normalize(saved.normedX, saved.x, this.#norm("input_layernorm"), own, 1);
    linear(
      saved.normedX,
      { y: saved.rawQ, weight: q },
      { y: saved.rawK, weight: k },
      { y: saved.v, weight: v },
    );
    this.#normAndRotate(saved.q, saved.rawQ, "self_attn.q_norm", heads, buffers);
    this.#normAndRotate(saved.k, saved.rawK, "self_attn.k_norm", keyHeads, buffers);
    this.#program.exchange.barrier();
    this.#attention.forward(saved, buffers);
    this.#program.exchange.barrier();
    linear(saved.heads, { y: saved.middle, weight: o });
    add(saved.middle, saved.x);
    this.#normalize(saved.normedMiddle, saved.middle, this.#norm("post_attention_layernorm"), own, 1);
    linear(saved.normedMiddle, { y: saved.gate, weight: gate }, { y: saved.up, weight: up });
    const at = 4 * own.start * inner;
    kernels.swiglu(saved.act + at, saved.gate + at, saved.up + at, (own.end - own.start) * inner);
    linear(saved.act, { y: next, weight: down });
    add(next, saved.middle);
  }

  /** y <- RMSNorm of x for tokens `start` to `end`; a token has so many `vectors`: its heads, or 1. */
  #normalize(y: number, x: number, norm: Parameter, { start, end }: Range, vectors: number): void {
    const stride = 4 * norm.count;
    const at = stride * vectors * start;
    const rows = (end - start) * vectors;
    this.#kernels.rmsNorm(y + at, stride, x + at, stride, norm.value, rows, norm.count, this.#config.epsilon);
  }

  /** x <- raw with each head normalised, where the model does that, and rotated by its position. */
  #normAndRotate(x: number, raw: number, norm: string, heads: number, buffers: Buffers): void {
    if (headAttentionOf(this.#config).hasNorms) this.#normalize(x, raw, this.#norm(norm), buffers.own, heads);
    this.#rotate(x, heads, buffers.sin, buffers);
  }

  /** Rotates the heads of this member's tokens by their positions (RoPE), in place. */
  #rotate(x: number, heads: number, sin: number, { own: { start, end }, cos }: Buffers): void {
    const { headDim } = headAttentionOf(this.#config);
    const { dim } = this.#config.rope;
    const stride = 4 * heads * headDim;
    const at = 4 * start * (dim / 2);
    // biome-ignore format: a table of arguments
    const call = this.#program.call(ROPE_CALL, {
      x: x + start * stride, tokens: end - start, tokenStride: stride, heads, headStride: 4 * headDim,
      dim, cos: cos + at, sin: sin + at, isInterleaved: 0,
    });
    this.#kernels.rope(call);
  }

  /** Takes the gradient of the layer's output in d.x, and leaves that of its input there. */
  backward(saved: SavedActivations, buffers: Buffers, observer: Observer | null): void {
    const { inner } = sizesOf(this.#config);
    const { heads, keyHeads } = headAttentionOf(this.#config);
    const { q, k, v, o, gate, up, down } = this.#weights;
    const { d, own } = buffers;
    const rows = own.end - own.start;
    const linear = (dx: number, x: number, ...products: { dy: number; weight: LinearWeight }[]) =>
      linearBackward(this.#program, this.#products, this.#adapters, dx, x, products, buffers, observer);
    linear(d.act, saved.act, { dy: d.x, weight: down });
    const at = 4 * own.start * inner;
    // biome-ignore format: a table of arguments
    this.#kernels.swigluBackward(d.gate + at, d.up + at, d.act + at, saved.gate + at, saved.up + at, rows * inner);
    linear(d.normed, saved.normedMiddle, { dy: d.gate, weight: gate }, { dy: d.up, weight: up });
    // d.x already holds the gradient of the residual connection; that through the MLP is added to it.
    const second = this.#norm("post_attention_layernorm");
    normBackward(this.#program, this.#config, d.x, second, d.normed, saved.middle, buffers, 1);
    linear(d.heads, saved.heads, { dy: d.x, weight: o });
    this.#program.exchange.barrier();
    this.#attention.backward(saved, buffers);
    this.#program.exchange.barrier();
    this.#normAndRotateBackward(d.rawQ, d.q, saved.rawQ, "self_attn.q_norm", heads, buffers);
    this.#normAndRotateBackward(d.rawK, d.k, saved.rawK, "self_attn.k_norm", keyHeads, buffers);
    linear(
      d.normed,
      saved.normedX,
      { dy: d.rawQ, weight: q },
      { dy: d.rawK, weight: k },
      { dy: d.v, weight: v },
    );
    const first = this.#norm("input_layernorm");
    normBackward(this.#program, this.#config, d.x, first, d.normed, saved.x, buffers, 1);
  }

  /** Undoes the rotation in the gradient dx; dRaw <- the gradient before the norms of heads, if there are. */
  #normAndRotateBackward(
    dRaw: number,
    dx: number,
    raw: number,
    norm: string,
    heads: number,
    buffers: Buffers,
  ): void {
    this.#rotate(dx, heads, buffers.negatedSin, buffers);
    if (!headAttentionOf(this.#config).hasNorms) return;
    const { start, end } = buffers.own;
    const parameter = this.#norm(norm);
    const width = heads * parameter.count;
    this.#program.view(dRaw + 4 * start * width, (end - start) * width).fill(0);
    normBackward(this.#program, this.#config, dRaw, parameter, dx, raw, buffers, heads);
  }
}

/**
 * The gradients of y = x w^T for all weights that multiply the same x: dw += dy^T x, and dx <- the sum of
 * their dy w.
 */
export function linearBackward(
  program: Program,
  products: LinearProducts,
  adapters: Adapters,
  dx: number,
  x: number,
  linears: readonly { readonly dy: number; readonly weight: LinearWeight }[],
  buffers: Buffers,
  observer: Observer | null,
): void {
  const { tokens, roundedX, own, work } = buffers;
  const trained = linears.filter(({ weight }) => weight.parameter.isTrained);
  const adapted = linears.flatMap(({ dy, weight }, i) =>
    weight.adapter === null ? [] : [{ dy, weight, adapter: weight.adapter, dlow: buffers.dlow[i]! }],
  );
  for (const { dy, weight } of linears) {
    const { n, k, parameter } = weight;
    observer?.(parameter.name, { x, dy, rows: tokens, n, k });
  }
  program.exchange.barrier(); // All members have written dy and x, and are done with the last roundedX.
  if (trained.length > 0) products.roundX(roundedX, x, tokens, linears[0]!.weight, work);
  for (const { dlow, dy, weight, adapter } of adapted)
    adapters.lowGradient(dlow, dy, weight, adapter, buffers);
  program.exchange.barrier();
  for (const { dy, weight } of trained) products.weightGradient(weight, dy, x, roundedX, tokens, work);
  for (const [i, { dy, weight }] of linears.entries())
    products.inputGradient(dx, dy, own, weight, work, i > 0);
  for (const { dlow, dy, weight, adapter } of adapted) {
    adapters.weightGradients(dlow, dy, x, weight, adapter, buffers);
    adapters.inputGradient(dx, dlow, weight, adapter, buffers);
  }
}

/**
 * dx += the gradient of a norm's input for this member's tokens, of which each has so many `vectors`. The
 * gradient of its weight is kept as one sum for each chunk.
 */
export function normBackward(
  program: Program,
  { epsilon }: DecoderConfig,
  dx: number,
  { name, value, count }: Parameter,
  dy: number,
  x: number,
  { chunks, norms }: Buffers,
  vectors: number,
): void {
  const kernels = program.kernels as TrainKernels;
  const { start, end } = chunks.chunksOfMember(program.team);
  for (let chunk = start; chunk < end; chunk++) {
    const rows = chunks.rowsOfChunks({ start: chunk, end: chunk + 1 });
    const at = 4 * rows.start * vectors * count;
    const weight = norms.get(name)! + 4 * chunk * count;
    program.view(weight, count).fill(0);
    const allVectors = (rows.end - rows.start) * vectors;
    kernels.rmsNormBackward(dx + at, weight, dy + at, x + at, value, allVectors, count, epsilon);
  }
}
