import type { DecoderConfig } from "../model/config.ts";
import { anglesOf } from "../model/decoder.ts";
import type { Program } from "../model/program.ts";
import type { Range } from "../model/team.ts";
import { headAttentionOf, sizesOf } from "./linears.ts";
import type { Parameters } from "./parameters.ts";
import { blockRows, type Recipe } from "./recipes.ts";
import { RowShares } from "./row-shares.ts";
import type { Weights } from "./weights.ts";
import { type Workspace, workspaceOf } from "./workspace.ts";

/** The shape of a batch: `batch` sequences of `length` tokens. */
export interface BatchSize {
  readonly batch: number;
  readonly length: number;
}

/** The part of a setup that decides which buffers there are. */
interface BufferSetup {
  readonly config: DecoderConfig;
  readonly recipe: Recipe;
  readonly recompute: boolean;
}

/**
 * Addresses of the tensors [tokens, ...] of a layer that both passes have: in the forward pass their values,
 * in the backward pass their gradients.
 */
interface LayerBuffers {
  /** The layer's input. */
  readonly x: number;
  /** Queries and keys before the norms of heads; the same as q and k in models without such norms. */
  readonly rawQ: number;
  readonly rawK: number;
  /** Queries and keys with norms and positions. */
  readonly q: number;
  readonly k: number;
  readonly v: number;
  /** The results of all heads, before the output projection. */
  readonly heads: number;
  /** The MLP's x Wgate^T, x Wup^T, and silu(gate) * up. */
  readonly gate: number;
  readonly up: number;
  readonly act: number;
}

/** The tensors that the forward pass of a layer saves for its backward pass. */
export interface SavedActivations extends LayerBuffers {
  /** The residual stream between attention and the MLP. */
  readonly middle: number;
  /** x and middle, normalised. */
  readonly normedX: number;
  readonly normedMiddle: number;
}

/** The gradients of a layer. All layers use the same ones, one after another. */
export interface Gradients extends LayerBuffers {
  readonly normed: number;
}

/**
 * Addresses of everything that a pass over a batch reads and writes, except the parameters. All members and
 * the calling thread allocate the same buffers in the same order. So each knows where the others' values are
 * in the memory that they share, and nobody allocates during a pass.
 */
export class Buffers {
  readonly size: BatchSize;
  readonly tokens: number;
  /** The chunks of tokens that members share. */
  readonly chunks: RowShares;
  /** Token ids, int32[tokens], and float64[chunks] of summed cross-entropies. */
  readonly inputs: number;
  readonly targets: number;
  readonly losses: number;
  readonly saved: readonly SavedActivations[];
  /** Whether all layers use the same buffers, except for their inputs x (`recompute`). */
  readonly isShared: boolean;
  /** The output of the last layer, and the same after the final norm. */
  readonly last: number;
  readonly lastNormed: number;
  readonly logits: number;
  readonly d: Gradients;
  /** The input x of a linear layer, rounded along the tokens: [tokens, k], or its transpose [k, tokens]. */
  readonly roundedX: number;
  /** cos, sin and -sin of each token's angles, [tokens, dim / 2]. -sin undoes a rotation. */
  readonly cos: number;
  readonly sin: number;
  readonly negatedSin: number;
  /** Gradients of norms by chunk, [chunks, cols], by the norm's name. */
  readonly norms: ReadonlyMap<string, number>;
  /**
   * x A^T of adapters, [tokens, rank], by the index of their weight; and gradients of up to three of them.
   */
  readonly low: ReadonlyMap<number, number>;
  readonly dlow: readonly number[];
  readonly work: Workspace;
  readonly #program: Program;
  readonly #config: DecoderConfig;

  constructor(
    program: Program,
    { config, recipe, recompute }: BufferSetup,
    parameters: Parameters,
    weights: Weights,
    size: BatchSize,
  ) {
    const tokens = size.batch * size.length;
    const { hidden, vocabulary, layers, rope } = config;
    this.#program = program;
    this.#config = config;
    this.size = size;
    this.tokens = tokens;
    this.chunks = new RowShares(tokens, blockRows(recipe.forward.x, recipe.inputGradient.dy));
    const buffer = (name: string, cols: number) => program.floats(name, tokens * cols);
    this.inputs = buffer("inputs", 1);
    this.targets = buffer("targets", 1);
    this.losses = program.bytes("losses", 8 * this.chunks.count);
    this.isShared = recompute;
    this.saved = layers.map((_, i) =>
      savedOf(config, (name, cols) => buffer(`${recompute && name !== "x" ? "any" : i} ${name}`, cols)),
    );
    this.last = buffer("last", hidden);
    this.lastNormed = buffer("last normed", hidden);
    this.logits = buffer("logits", vocabulary);
    this.d = gradientsOf(config, (name, cols) => buffer(`d${name}`, cols));
    this.roundedX = buffer("rounded x", Math.max(...weights.linears.map(({ k }) => k), hidden));
    this.cos = buffer("all cos", rope.frequencies.length);
    this.sin = buffer("all sin", rope.frequencies.length);
    this.negatedSin = buffer("all -sin", rope.frequencies.length);
    const norms = parameters.all.filter(({ isMatrix }) => !isMatrix);
    this.norms = new Map(
      norms.map(({ name, count }) => [name, program.floats(`${name} by chunk`, this.chunks.count * count)]),
    );
    const adapted = weights.linears.filter(({ adapter }) => adapter !== null);
    this.low = new Map(
      adapted.map(({ name, index, adapter }) => [index, buffer(`${name} low`, adapter!.rank)]),
    );
    const adapterRank = adapted[0]?.adapter?.rank ?? 0;
    this.dlow = [0, 1, 2].map((i) => buffer(`dlow ${i}`, adapterRank));
    const { team } = program;
    const works = Array.from({ length: team.size }, (_, member) =>
      workspaceOf(program, config, weights, this.chunks, size, { member, size: team.size }),
    );
    this.work = works[team.member]!;
    this.#fillAngles();
  }

  /** The tokens of this member. */
  get own(): Range {
    return this.chunks.rowsOfMember(this.#program.team);
  }

  /**
   * Copies a batch of ids [batch, length + 1] in: each token but the last of a row predicts the next one.
   */
  take(ids: Int32Array): void {
    const { buffer } = this.#program;
    const { batch, length } = this.size;
    const inputs = new Int32Array(buffer, this.inputs, this.tokens);
    const targets = new Int32Array(buffer, this.targets, this.tokens);
    for (let row = 0; row < batch; row++) {
      const start = row * (length + 1);
      inputs.set(ids.subarray(start, start + length), row * length);
      targets.set(ids.subarray(start + 1, start + 1 + length), row * length);
    }
  }

  /**
   * Writes cos and sin for all tokens. The calling thread does it first, and members write the same values
   * again.
   */
  #fillAngles(): void {
    const program = this.#program;
    const { batch, length } = this.size;
    const { cos, sin } = anglesOf(program, this.#config, 0, length);
    const n = length * this.#config.rope.frequencies.length;
    for (let row = 0; row < batch; row++) {
      program.copy(this.cos + 4 * row * n, cos, n);
      program.copy(this.sin + 4 * row * n, sin, n);
    }
    const back = program.view(this.negatedSin, batch * n);
    for (const [i, value] of program.view(this.sin, batch * n).entries()) back[i] = -value;
  }

  /** The summed cross-entropy of the last pass, in nats. */
  get loss(): number {
    const losses = new Float64Array(this.#program.buffer, this.losses, this.chunks.count);
    return losses.reduce((sum, loss) => sum + loss, 0);
  }
}

type MakeBuffer = (name: string, cols: number) => number;

function layerBuffers(config: DecoderConfig, buffer: MakeBuffer): LayerBuffers {
  const { hidden, inner, queries, keys } = sizesOf(config);
  const { hasNorms } = headAttentionOf(config);
  const q = buffer("q", queries);
  const k = buffer("k", keys);
  return {
    x: buffer("x", hidden),
    rawQ: hasNorms ? buffer("raw q", queries) : q,
    rawK: hasNorms ? buffer("raw k", keys) : k,
    q,
    k,
    v: buffer("v", keys),
    heads: buffer("heads", queries),
    gate: buffer("gate", inner),
    up: buffer("up", inner),
    act: buffer("act", inner),
  };
}

function savedOf(config: DecoderConfig, buffer: MakeBuffer): SavedActivations {
  const { hidden } = config;
  return {
    ...layerBuffers(config, buffer),
    middle: buffer("middle", hidden),
    normedX: buffer("normed x", hidden),
    normedMiddle: buffer("normed middle", hidden),
  };
}

function gradientsOf(config: DecoderConfig, buffer: MakeBuffer): Gradients {
  return { ...layerBuffers(config, buffer), normed: buffer("normed", config.hidden) };
}
