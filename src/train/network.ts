import type { DecoderConfig, HeadAttention } from "../model/config.ts";
import { anglesOf } from "../model/decoder.ts";
import type { Program } from "../model/program.ts";
import type { TrainKernels } from "./kernels.ts";
import type { Parameters } from "./parameters.ts";
import type { LinearProducts } from "./products.ts";

/** The sizes of a step: sequences of so many tokens. */
export interface BatchSize {
  readonly batch: number;
  readonly length: number;
}

/** What the forward pass of a layer leaves for the backward pass, each [tokens, ...]. */
interface Saved {
  /** What came in, and what is between attention and block. */
  readonly x: number;
  readonly middle: number;
  /** These normalised. */
  readonly normedX: number;
  readonly normedMiddle: number;
  /** Queries and keys before their norms, where there are any; and after norms and positions. */
  readonly rawQ: number;
  readonly rawK: number;
  readonly q: number;
  readonly k: number;
  readonly v: number;
  readonly heads: number;
  readonly gate: number;
  readonly up: number;
  readonly act: number;
}

/** A linear layer y = x w^T as a backward pass meets it: places of x [rows, k] and dy [rows, n]. */
export interface SeenLinear {
  readonly x: number;
  readonly dy: number;
  readonly rows: number;
  readonly n: number;
  readonly k: number;
}

/**
 * Forward and backward pass of the Llama family with Qwen3's norms: a function beside each function, as the gradient of each part needs what
 * went into it. All places are float32 in the program's memory.
 */
export class Network {
  /** Called in the backward pass for each linear layer, with its weight's name: what went in, and the gradient of what came out. */
  onLinear: ((name: string, seen: SeenLinear) => void) | null = null;
  readonly #program: Program;
  readonly #config: DecoderConfig;
  readonly #parameters: Parameters;
  readonly #products: LinearProducts;

  constructor(program: Program, config: DecoderConfig, parameters: Parameters, products: LinearProducts) {
    this.#program = program;
    this.#config = config;
    this.#parameters = parameters;
    this.#products = products;
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  get #attention(): HeadAttention {
    return this.#config.layers[0]!.attention as HeadAttention;
  }

  get #inner(): number {
    const { block } = this.#config.layers[0]!;
    return block.size;
  }

  /**
   * Cross-entropy of the next tokens, summed in nats; adds the gradients of `factor` times that to those of the parameters.
   * @param ids [batch, length + 1]
   * @param withGradients whether there is a backward pass
   */
  run(ids: Int32Array, { batch, length }: BatchSize, factor: number, withGradients: boolean): number {
    const program = this.#program;
    const { hidden, vocabulary, layers, epsilon, isTied } = this.#config;
    const tokens = batch * length;
    const inputs = new Int32Array(tokens);
    const targets = new Int32Array(tokens);
    for (let row = 0; row < batch; row++) {
      const start = row * (length + 1);
      inputs.set(ids.subarray(start, start + length), row * length);
      targets.set(ids.subarray(start + 1, start + 1 + length), row * length);
    }
    const saved = layers.map((_, i) => this.#roomOf(i, tokens));
    const last = program.room("last", tokens * hidden);
    this.#angles(batch, length);
    this.#embed(saved[0]!.x, inputs);
    for (let i = 0; i < layers.length; i++)
      this.#layer(i, saved[i]!, saved[i + 1]?.x ?? last, { batch, length });
    const kernels = this.#kernels;
    const stride = 4 * hidden;
    const normed = program.room("last normed", tokens * hidden);
    const head = this.#parameters.get(isTied ? "model.embed_tokens.weight" : "lm_head.weight");
    const norm = this.#parameters.get("model.norm.weight");
    kernels.rmsNorm(normed, stride, last, stride, norm.value, tokens, hidden, epsilon);
    const logits = program.room("logits", tokens * vocabulary);
    this.#products.multiply(logits, normed, head.value, [tokens, vocabulary, hidden]);
    const places = program.bytes("targets", 4 * tokens);
    new Int32Array(program.buffer, places, tokens).set(targets);
    const loss = kernels.crossEntropy(logits, places, tokens, vocabulary, factor);
    if (!withGradients) return loss;
    const dx = this.#zeros("dx", tokens * hidden);
    const dnormed = this.#zeros("dnormed", tokens * hidden);
    this.#plainGradients(dnormed, head, logits, normed, [tokens, vocabulary, hidden]);
    kernels.rmsNormBackward(dx, norm.gradient, dnormed, last, norm.value, tokens, hidden, epsilon);
    for (let i = layers.length - 1; i >= 0; i--) this.#layerBackward(i, saved[i]!, dx, { batch, length });
    const words = this.#parameters.get("model.embed_tokens.weight");
    for (const [token, id] of inputs.entries())
      kernels.addScaled(words.gradient + 4 * id * hidden, dx + 4 * token * hidden, hidden, 1);
    return loss;
  }

  #roomOf(i: number, tokens: number): Saved {
    const { hidden } = this.#config;
    const { heads, keyHeads, headDim, hasNorms } = this.#attention;
    const room = (name: string, cols: number) => this.#program.room(`${i} ${name}`, tokens * cols);
    const q = room("q", heads * headDim);
    const k = room("k", keyHeads * headDim);
    return {
      x: room("x", hidden),
      middle: room("middle", hidden),
      normedX: room("normed x", hidden),
      normedMiddle: room("normed middle", hidden),
      rawQ: hasNorms ? room("raw q", heads * headDim) : q,
      rawK: hasNorms ? room("raw k", keyHeads * headDim) : k,
      q,
      k,
      v: room("v", keyHeads * headDim),
      heads: room("heads", heads * headDim),
      gate: room("gate", this.#inner),
      up: room("up", this.#inner),
      act: room("act", this.#inner),
    };
  }

  #zeros(name: string, floats: number): number {
    const place = this.#program.room(name, floats);
    this.#program.view(place, floats).fill(0);
    return place;
  }

  /** cos and sin for each token of a batch, and minus sin, which turns back. */
  #angles(batch: number, length: number): void {
    const program = this.#program;
    const n = this.#config.rope.frequencies.length;
    const { cos, sin } = anglesOf(program, this.#config, 0, length);
    const [all, there, back] = ["all cos", "all sin", "all back"].map((name) =>
      program.room(name, batch * length * n),
    ) as [number, number, number];
    for (let row = 0; row < batch; row++) {
      program.copy(all + 4 * row * length * n, cos, length * n);
      program.copy(there + 4 * row * length * n, sin, length * n);
    }
    const [forth, reverse] = [
      program.view(there, batch * length * n),
      program.view(back, batch * length * n),
    ];
    for (let i = 0; i < forth.length; i++) reverse[i] = -forth[i]!;
  }

  #embed(x: number, ids: Int32Array): void {
    const { hidden } = this.#config;
    const words = this.#parameters.get("model.embed_tokens.weight").value;
    for (const [token, id] of ids.entries())
      this.#program.copy(x + 4 * token * hidden, words + 4 * id * hidden, hidden);
  }

  /** next <- the layer of saved.x */
  #layer(i: number, saved: Saved, next: number, size: BatchSize): void {
    const { hidden, epsilon } = this.#config;
    const { heads, keyHeads, headDim } = this.#attention;
    const tokens = size.batch * size.length;
    const kernels = this.#kernels;
    const stride = 4 * hidden;
    const weight = (name: string) => this.#parameters.get(`model.layers.${i}.${name}.weight`).value;
    const linear = (name: string, y: number, x: number, n: number, k: number) =>
      this.#products.forward(`${i}.${name}`, y, x, weight(name), [tokens, n, k]);
    kernels.rmsNorm(
      saved.normedX,
      stride,
      saved.x,
      stride,
      weight("input_layernorm"),
      tokens,
      hidden,
      epsilon,
    );
    linear("self_attn.q_proj", saved.rawQ, saved.normedX, heads * headDim, hidden);
    linear("self_attn.k_proj", saved.rawK, saved.normedX, keyHeads * headDim, hidden);
    linear("self_attn.v_proj", saved.v, saved.normedX, keyHeads * headDim, hidden);
    this.#turn(i, "q_norm", saved.q, saved.rawQ, tokens, heads);
    this.#turn(i, "k_norm", saved.k, saved.rawK, tokens, keyHeads);
    this.#attend(saved, size);
    linear("self_attn.o_proj", saved.middle, saved.heads, hidden, heads * headDim);
    kernels.addScaled(saved.middle, saved.x, tokens * hidden, 1);
    const norm = weight("post_attention_layernorm");
    kernels.rmsNorm(saved.normedMiddle, stride, saved.middle, stride, norm, tokens, hidden, epsilon);
    const inner = this.#inner;
    linear("mlp.gate_proj", saved.gate, saved.normedMiddle, inner, hidden);
    linear("mlp.up_proj", saved.up, saved.normedMiddle, inner, hidden);
    kernels.swiglu(saved.act, saved.gate, saved.up, tokens * inner);
    linear("mlp.down_proj", next, saved.act, hidden, inner);
    kernels.addScaled(next, saved.middle, tokens * hidden, 1);
  }

  /** Norm of each head, where there is one, and positions: x <- of raw. */
  #turn(i: number, norm: string, x: number, raw: number, tokens: number, heads: number): void {
    const { headDim, hasNorms } = this.#attention;
    const { rope, epsilon } = this.#config;
    const stride = 4 * headDim;
    if (hasNorms) {
      const weight = this.#parameters.get(`model.layers.${i}.self_attn.${norm}.weight`).value;
      this.#kernels.rmsNorm(x, stride, raw, stride, weight, tokens * heads, headDim, epsilon);
    }
    this.#rotate(x, tokens, heads, rope.dim, "all sin");
  }

  #rotate(x: number, tokens: number, heads: number, dim: number, sin: string): void {
    const { headDim } = this.#attention;
    const n = tokens * (dim / 2);
    const [cos, angles] = [this.#program.room("all cos", n), this.#program.room(sin, n)];
    this.#kernels.rope(x, tokens, 4 * heads * headDim, heads, 4 * headDim, dim, cos, angles, 0);
  }

  #attend(saved: Saved, { batch, length }: BatchSize): void {
    const { heads, keyHeads, headDim } = this.#attention;
    const kernels = this.#kernels;
    const group = heads / keyHeads;
    const work = this.#program.bytes("scores", kernels.attentionWorkspace(length * group, headDim, headDim));
    const [wide, narrow] = [4 * heads * headDim, 4 * keyHeads * headDim];
    for (let row = 0; row < batch; row++) {
      for (let head = 0; head < keyHeads; head++) {
        const q = row * length * wide + 4 * head * group * headDim;
        const k = row * length * narrow + 4 * head * headDim;
        // biome-ignore format: a table of arguments
        kernels.attend(
          saved.heads + q, wide, 4 * headDim, saved.q + q, wide, 4 * headDim, length, group,
          saved.k + k, narrow, 0, saved.v + k, narrow, 0, 0,
          length, headDim, headDim, 1, 0, this.#config.attentionScale, 0, work,
        );
      }
    }
  }

  /** dx, the gradient of what the layer gave, becomes that of what went in. */
  #layerBackward(i: number, saved: Saved, dx: number, size: BatchSize): void {
    const { hidden, epsilon } = this.#config;
    const { heads, keyHeads, headDim } = this.#attention;
    const tokens = size.batch * size.length;
    const kernels = this.#kernels;
    const program = this.#program;
    const inner = this.#inner;
    const parameter = (name: string) => this.#parameters.get(`model.layers.${i}.${name}.weight`);
    /** Adds the gradients of y = x w^T: to the weight's, and to dxOf. */
    const linear = (name: string, dxOf: number, dy: number, x: number, n: number, k: number) => {
      const { value, gradient } = parameter(name);
      this.onLinear?.(`model.layers.${i}.${name}.weight`, { x, dy, rows: tokens, n, k });
      this.#products.weightGradient(`${i}.${name}`, gradient, dy, x, [tokens, n, k]);
      this.#products.inputGradient(dxOf, dy, value, [tokens, n, k]);
    };
    const dact = this.#zeros("dact", tokens * inner);
    linear("mlp.down_proj", dact, dx, saved.act, hidden, inner);
    const dgate = program.room("dgate", tokens * inner);
    const dup = program.room("dup", tokens * inner);
    kernels.swigluBackward(dgate, dup, dact, saved.gate, saved.up, tokens * inner);
    const dnormed = this.#zeros("dnormed", tokens * hidden);
    linear("mlp.gate_proj", dnormed, dgate, saved.normedMiddle, inner, hidden);
    linear("mlp.up_proj", dnormed, dup, saved.normedMiddle, inner, hidden);
    const second = parameter("post_attention_layernorm");
    // What goes around the block is in dx already: the block's own part is added.
    kernels.rmsNormBackward(
      dx,
      second.gradient,
      dnormed,
      saved.middle,
      second.value,
      tokens,
      hidden,
      epsilon,
    );
    const dheads = this.#zeros("dheads", tokens * heads * headDim);
    linear("self_attn.o_proj", dheads, dx, saved.heads, hidden, heads * headDim);
    const dq = this.#zeros("dq", tokens * heads * headDim);
    const dk = this.#zeros("dk", tokens * keyHeads * headDim);
    const dv = this.#zeros("dv", tokens * keyHeads * headDim);
    this.#attendBackward(saved, { dheads, dq, dk, dv }, size);
    const dRawQ = this.#turnBackward(i, "q_norm", dq, saved.rawQ, tokens, heads);
    const dRawK = this.#turnBackward(i, "k_norm", dk, saved.rawK, tokens, keyHeads);
    const dnormedX = this.#zeros("dnormed", tokens * hidden);
    linear("self_attn.q_proj", dnormedX, dRawQ, saved.normedX, heads * headDim, hidden);
    linear("self_attn.k_proj", dnormedX, dRawK, saved.normedX, keyHeads * headDim, hidden);
    linear("self_attn.v_proj", dnormedX, dv, saved.normedX, keyHeads * headDim, hidden);
    const first = parameter("input_layernorm");
    kernels.rmsNormBackward(dx, first.gradient, dnormedX, saved.x, first.value, tokens, hidden, epsilon);
  }

  /** Turns a gradient back by the positions, and through the norms of heads. */
  #turnBackward(i: number, norm: string, dx: number, raw: number, tokens: number, heads: number): number {
    const { headDim, hasNorms } = this.#attention;
    const { rope, epsilon } = this.#config;
    this.#rotate(dx, tokens, heads, rope.dim, "all back");
    if (!hasNorms) return dx;
    const { value, gradient } = this.#parameters.get(`model.layers.${i}.self_attn.${norm}.weight`);
    const draw = this.#zeros(`draw ${norm}`, tokens * heads * headDim);
    this.#kernels.rmsNormBackward(draw, gradient, dx, raw, value, tokens * heads, headDim, epsilon);
    return draw;
  }

  /** The probabilities are computed once more, head by head: to keep them would take length^2 values for each. */
  #attendBackward(
    saved: Saved,
    d: { readonly dheads: number; readonly dq: number; readonly dk: number; readonly dv: number },
    { batch, length }: BatchSize,
  ): void {
    const { heads, keyHeads, headDim } = this.#attention;
    const { attentionScale } = this.#config;
    const program = this.#program;
    const kernels = this.#kernels;
    const [q, k, v, dout, turned, made] = [
      "one q",
      "one k",
      "one v",
      "one dout",
      "one turned",
      "one made",
    ].map((name) => program.room(name, length * headDim)) as [number, number, number, number, number, number];
    const [p, dp, turnedP] = ["one p", "one dp", "one turned p"].map((name) =>
      program.room(name, length * length),
    ) as [number, number, number];
    const take = (dst: number, src: number, count: number, head: number, row: number) => {
      for (let t = 0; t < length; t++)
        program.copy(dst + 4 * t * headDim, src + 4 * ((row * length + t) * count + head) * headDim, headDim);
    };
    const add = (dst: number, src: number, count: number, head: number, row: number) => {
      for (let t = 0; t < length; t++)
        kernels.addScaled(
          dst + 4 * ((row * length + t) * count + head) * headDim,
          src + 4 * t * headDim,
          headDim,
          1,
        );
    };
    const multiply = (dst: number, x: number, w: number, n: number, depth: number) =>
      this.#products.multiply(dst, x, w, [length, n, depth]);
    for (let row = 0; row < batch; row++) {
      for (let head = 0; head < heads; head++) {
        const keyHead = Math.floor((head * keyHeads) / heads);
        take(q, saved.q, heads, head, row);
        take(k, saved.k, keyHeads, keyHead, row);
        take(v, saved.v, keyHeads, keyHead, row);
        take(dout, d.dheads, heads, head, row);
        multiply(p, q, k, length, headDim);
        kernels.causalSoftmax(p, length, attentionScale);
        multiply(dp, dout, v, length, headDim);
        // dv = p^T dout
        kernels.transpose(turnedP, p, length, length);
        kernels.transpose(turned, dout, length, headDim);
        multiply(made, turnedP, turned, headDim, length);
        add(d.dv, made, keyHeads, keyHead, row);
        kernels.softmaxBackward(dp, dp, p, length, attentionScale);
        // dq = ds k
        kernels.transpose(turned, k, length, headDim);
        multiply(made, dp, turned, headDim, length);
        add(d.dq, made, heads, head, row);
        // dk = ds^T q
        kernels.transpose(turnedP, dp, length, length);
        kernels.transpose(turned, q, length, headDim);
        multiply(made, turnedP, turned, headDim, length);
        add(d.dk, made, keyHeads, keyHead, row);
      }
    }
  }

  /** The gradients of the head, in float32: dx += dy w, dw += dy^T x. */
  #plainGradients(
    dx: number,
    { value, gradient }: { readonly value: number; readonly gradient: number },
    dy: number,
    x: number,
    [m, n, k]: readonly [number, number, number],
  ): void {
    const program = this.#program;
    const kernels = this.#kernels;
    const turned = program.room("turned w", n * k);
    kernels.transpose(turned, value, n, k);
    this.#products.multiply(dx, dy, turned, [m, k, n]);
    const [turnedDy, turnedX] = [program.room("turned dy", m * n), program.room("turned x", m * k)];
    kernels.transpose(turnedDy, dy, m, n);
    kernels.transpose(turnedX, x, m, k);
    const made = program.room("made dw", n * k);
    this.#products.multiply(made, turnedDy, turnedX, [n, k, m]);
    kernels.addScaled(gradient, made, n * k, 1);
  }
}
