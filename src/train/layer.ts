import type { DecoderConfig } from "../model/config.ts";
import type { Program } from "../model/program.ts";
import type { Range } from "../model/share.ts";
import type { Adapters } from "./adapters.ts";
import { TrainedAttention } from "./attention.ts";
import type { TrainKernels } from "./kernels.ts";
import { attentionOf, sizesOf } from "./linears.ts";
import type { Parameter, Parameters } from "./parameters.ts";
import type { Products } from "./products.ts";
import type { Rooms, Saved } from "./rooms.ts";
import type { Weight, Weights } from "./weights.ts";

/** A linear layer y = x w^T as a backward pass meets it: places of x [rows, k] and dy [rows, n]. */
export interface SeenLinear {
  readonly x: number;
  readonly dy: number;
  readonly rows: number;
  readonly n: number;
  readonly k: number;
}

/**
 * Called in the backward pass for each linear layer, with its weight's name: what
 * went in, and the gradient of what came out.
 */
export type Observer = (name: string, seen: SeenLinear) => void;

/**
 * A layer of the Llama family with Qwen3's norms: a backward function beside each forward one, as the
 * gradient of each part needs what went into it. A member computes its own tokens of everything but attention
 * and the gradients of weights; it waits for the others before it reads theirs.
 */
export class TrainedLayer {
  readonly #program: Program;
  readonly #config: DecoderConfig;
  readonly #path: string;
  readonly #parameters: Parameters;
  readonly #weights: Weights["layers"][number];
  readonly #products: Products;
  readonly #adapters: Adapters;
  readonly #attention: TrainedAttention;

  constructor(
    program: Program,
    config: DecoderConfig,
    index: number,
    parameters: Parameters,
    weights: Weights,
    products: Products,
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

  /** next <- the layer of saved.x */
  forward(saved: Saved, next: number, rooms: Rooms): void {
    const { hidden } = this.#config;
    const { heads, keyHeads } = attentionOf(this.#config);
    const { inner } = sizesOf(this.#config);
    const { q, k, v, o, gate, up, down } = this.#weights;
    const { own, work } = rooms;
    const kernels = this.#kernels;
    const linear = (x: number, ...products: { y: number; weight: Weight }[]) => {
      this.#products.forward(x, own, products, work);
      for (const { y, weight } of products)
        if (weight.adapter !== null) this.#adapters.forward(y, x, weight, weight.adapter, rooms);
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
    this.#turn(saved.q, saved.rawQ, "self_attn.q_norm", heads, rooms);
    this.#turn(saved.k, saved.rawK, "self_attn.k_norm", keyHeads, rooms);
    this.#program.exchange.barrier();
    this.#attention.forward(saved, rooms);
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

  /** y <- the norm of x for some tokens, of which each has `parts` vectors. */
  #normalize(y: number, x: number, norm: Parameter, { start, end }: Range, parts: number): void {
    const stride = 4 * norm.count;
    const at = stride * parts * start;
    const rows = (end - start) * parts;
    this.#kernels.rmsNorm(y + at, stride, x + at, stride, norm.value, rows, norm.count, this.#config.epsilon);
  }

  /** Norm of each head, where there is one, and positions: x <- of raw. */
  #turn(x: number, raw: number, norm: string, heads: number, rooms: Rooms): void {
    if (attentionOf(this.#config).hasNorms) this.#normalize(x, raw, this.#norm(norm), rooms.own, heads);
    this.#rotate(x, heads, rooms.sin, rooms);
  }

  /** Turns heads of this member's tokens by their angles. */
  #rotate(x: number, heads: number, sin: number, { own: { start, end }, cos }: Rooms): void {
    const { headDim } = attentionOf(this.#config);
    const { dim } = this.#config.rope;
    const stride = 4 * heads * headDim;
    const at = 4 * start * (dim / 2);
    // biome-ignore format: a table of arguments
    this.#kernels.rope(x + start * stride, end - start, stride, heads, 4 * headDim, dim, cos + at, sin + at, 0);
  }

  /** rooms.d.x, the gradient of what the layer gave, becomes that of what went in. */
  backward(saved: Saved, rooms: Rooms, observer: Observer | null): void {
    const { hidden } = this.#config;
    const { inner, queries, keys } = sizesOf(this.#config);
    const { heads, keyHeads } = attentionOf(this.#config);
    const { q, k, v, o, gate, up, down } = this.#weights;
    const { d, own } = rooms;
    const rows = own.end - own.start;
    const clear = (place: number, cols: number) =>
      this.#program.view(place + 4 * own.start * cols, rows * cols).fill(0);
    const linear = (dx: number, x: number, ...products: { dy: number; weight: Weight }[]) =>
      linearBackward(this.#program, this.#products, this.#adapters, dx, x, products, rooms, observer);
    clear(d.act, inner);
    linear(d.act, saved.act, { dy: d.x, weight: down });
    const at = 4 * own.start * inner;
    // biome-ignore format: a table of arguments
    this.#kernels.swigluBackward(d.gate + at, d.up + at, d.act + at, saved.gate + at, saved.up + at, rows * inner);
    clear(d.normed, hidden);
    linear(d.normed, saved.normedMiddle, { dy: d.gate, weight: gate }, { dy: d.up, weight: up });
    // What goes around the block is in d.x already: the block's own part is added.
    const second = this.#norm("post_attention_layernorm");
    normBackward(this.#program, this.#config, d.x, second, d.normed, saved.middle, rooms, 1);
    clear(d.heads, queries);
    linear(d.heads, saved.heads, { dy: d.x, weight: o });
    clear(d.q, queries);
    clear(d.k, keys);
    clear(d.v, keys);
    this.#program.exchange.barrier();
    this.#attention.backward(saved, rooms);
    this.#program.exchange.barrier();
    this.#turnBackward(d.rawQ, d.q, saved.rawQ, "self_attn.q_norm", heads, rooms);
    this.#turnBackward(d.rawK, d.k, saved.rawK, "self_attn.k_norm", keyHeads, rooms);
    clear(d.normed, hidden);
    linear(
      d.normed,
      saved.normedX,
      { dy: d.rawQ, weight: q },
      { dy: d.rawK, weight: k },
      { dy: d.v, weight: v },
    );
    const first = this.#norm("input_layernorm");
    normBackward(this.#program, this.#config, d.x, first, d.normed, saved.x, rooms, 1);
  }

  /** Turns a gradient back by the positions, and through the norms of heads: draw <- of dx. */
  #turnBackward(draw: number, dx: number, raw: number, norm: string, heads: number, rooms: Rooms): void {
    this.#rotate(dx, heads, rooms.back, rooms);
    if (!attentionOf(this.#config).hasNorms) return;
    const { start, end } = rooms.own;
    const parameter = this.#norm(norm);
    const width = heads * parameter.count;
    this.#program.view(draw + 4 * start * width, (end - start) * width).fill(0);
    normBackward(this.#program, this.#config, draw, parameter, dx, raw, rooms, heads);
  }
}

/** The gradients of y = x w^T for all weights that met the same x: dw += dy^T x, dx += dy w. */
export function linearBackward(
  program: Program,
  products: Products,
  adapters: Adapters,
  dx: number,
  x: number,
  linears: readonly { readonly dy: number; readonly weight: Weight }[],
  rooms: Rooms,
  observer: Observer | null,
): void {
  const { tokens, turnedX, own, work } = rooms;
  const trained = linears.filter(({ weight }) => weight.parameter.isTrained);
  const adapted = linears.flatMap(({ dy, weight }, i) =>
    weight.adapter === null ? [] : [{ dy, weight, adapter: weight.adapter, dlow: rooms.dlow[i]! }],
  );
  for (const { dy, weight } of linears) {
    const { n, k, parameter } = weight;
    observer?.(parameter.name, { x, dy, rows: tokens, n, k });
  }
  program.exchange.barrier(); // dy and x of all tokens are there, and nobody reads the last turnedX any more
  if (trained.length > 0) products.turn(turnedX, x, tokens, linears[0]!.weight, work);
  for (const { dlow, dy, weight, adapter } of adapted) adapters.lower(dlow, dy, weight, adapter, rooms);
  program.exchange.barrier();
  for (const { dy, weight } of trained) products.weightGradient(weight, dy, turnedX, tokens, work);
  for (const { dy, weight } of linears) products.inputGradient(dx, dy, own, weight, work);
  for (const { dlow, dy, weight, adapter } of adapted) {
    adapters.weightGradients(dlow, dy, x, weight, adapter, rooms);
    adapters.inputGradient(dx, dlow, weight, adapter, rooms);
  }
}

/**
 * dx += the gradient of a norm for this member's tokens, of which each has `parts` vectors;
 * those of its weight stay apart by chunk.
 */
export function normBackward(
  program: Program,
  { epsilon }: DecoderConfig,
  dx: number,
  { name, value, count }: Parameter,
  dy: number,
  x: number,
  { chunks, norms }: Rooms,
  parts: number,
): void {
  const kernels = program.kernels as TrainKernels;
  const { start, end } = chunks.of(program.seat);
  for (let chunk = start; chunk < end; chunk++) {
    const rows = chunks.rows({ start: chunk, end: chunk + 1 });
    const at = 4 * rows.start * parts * count;
    const weight = norms.get(name)! + 4 * chunk * count;
    program.view(weight, count).fill(0);
    const vectors = (rows.end - rows.start) * parts;
    kernels.rmsNormBackward(dx + at, weight, dy + at, x + at, value, vectors, count, epsilon);
  }
}
