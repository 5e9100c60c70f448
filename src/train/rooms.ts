import type { DecoderConfig } from "../model/config.ts";
import { anglesOf } from "../model/decoder.ts";
import type { Program } from "../model/program.ts";
import type { Range, Seat } from "../model/share.ts";
import { Chunks } from "./chunks.ts";
import type { TrainKernels } from "./kernels.ts";
import { attentionOf, sizesOf } from "./linears.ts";
import type { Parameters } from "./parameters.ts";
import { blockRows } from "./products.ts";
import type { Recipe } from "./recipes.ts";
import type { Weight, Weights } from "./weights.ts";

/** The sizes of a pass: sequences of so many tokens. */
export interface BatchSize {
  readonly batch: number;
  readonly length: number;
}

/** The part of a plan that rooms depend on. */
interface RoomPlan {
  readonly config: DecoderConfig;
  readonly recipe: Recipe;
  readonly recompute: boolean;
}

/**
 * What both passes of a layer have places for, each [tokens, ...]: values in the forward
 * pass, their gradients in the backward pass.
 */
interface LayerRooms {
  /** What comes in. */
  readonly x: number;
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

/** What the forward pass of a layer leaves for the backward pass. */
export interface Saved extends LayerRooms {
  /** What is between attention and block. */
  readonly middle: number;
  /** x and middle, normalised. */
  readonly normedX: number;
  readonly normedMiddle: number;
}

/** Gradients on their way back through a layer. */
export interface Gradients extends LayerRooms {
  readonly normed: number;
}

/** Working memory of one member. */
export interface Workspace {
  /** An operand that was rounded, one that was turned, and a result that is to be added. */
  readonly rounded: number;
  readonly turned: number;
  readonly made: number;
  /** Transpose of a matrix of low rank, for adapters: [rank, tokens]. */
  readonly low: number;
  /** Workspace of the kernels for a product. */
  readonly product: number;
  readonly rounding: number;
  readonly attention: number;
  /**
   * One head of a sequence: q, k, v, the gradient of its result, one of
   * these turned, a result, each [length, dim].
   */
  readonly head: readonly [number, number, number, number, number, number];
  /** Its probabilities, their gradients, and one of these turned, [length, length]. */
  readonly scores: readonly [number, number, number];
}

/**
 * Where everything is that a pass over a batch works on, but for parameters. All members and the thread that
 * asks them make the same rooms in the same order, so that each finds the others' values in the memory they
 * share, and none has to be made while they are at work.
 */
export class Rooms {
  readonly size: BatchSize;
  readonly tokens: number;
  /** What members share tokens by. */
  readonly chunks: Chunks;
  /** Token ids, int32[tokens], and float64[chunks] of summed cross-entropies. */
  readonly inputs: number;
  readonly targets: number;
  readonly losses: number;
  readonly saved: readonly Saved[];
  /** Whether layers take the same rooms for all but what came in, one after another. */
  readonly isShared: boolean;
  readonly last: number;
  readonly lastNormed: number;
  readonly logits: number;
  readonly d: Gradients;
  /** The x of a linear layer, turned: [k, tokens]. */
  readonly turnedX: number;
  /** cos and sin for each token, and minus sin, which turns back: [tokens, dim / 2]. */
  readonly cos: number;
  readonly sin: number;
  readonly back: number;
  /** Gradients of norms by chunk, [chunks, cols], by the norm's name. */
  readonly norms: ReadonlyMap<string, number>;
  /** x A^T of adapters [tokens, rank], by the index of their weight; and up to three gradients of such. */
  readonly low: ReadonlyMap<number, number>;
  readonly dlow: readonly number[];
  readonly work: Workspace;
  readonly #program: Program;
  readonly #config: DecoderConfig;

  constructor(
    program: Program,
    { config, recipe, recompute }: RoomPlan,
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
    this.chunks = new Chunks(tokens, blockRows(recipe.forward.x, recipe.inputGradient.dy));
    const room = (name: string, cols: number) => program.room(name, tokens * cols);
    this.inputs = room("inputs", 1);
    this.targets = room("targets", 1);
    this.losses = program.bytes("losses", 8 * this.chunks.count);
    this.isShared = recompute;
    this.saved = layers.map((_, i) =>
      savedOf(config, (name, cols) => room(`${recompute && name !== "x" ? "any" : i} ${name}`, cols)),
    );
    this.last = room("last", hidden);
    this.lastNormed = room("last normed", hidden);
    this.logits = room("logits", vocabulary);
    this.d = gradientsOf(config, (name, cols) => room(`d${name}`, cols));
    this.turnedX = room("turned x", Math.max(...weights.linears.map(({ k }) => k), hidden));
    this.cos = room("all cos", rope.frequencies.length);
    this.sin = room("all sin", rope.frequencies.length);
    this.back = room("all back", rope.frequencies.length);
    const norms = parameters.all.filter(({ isMatrix }) => !isMatrix);
    this.norms = new Map(
      norms.map(({ name, count }) => [name, program.room(`${name} by chunk`, this.chunks.count * count)]),
    );
    const adapted = weights.linears.filter(({ adapter }) => adapter !== null);
    this.low = new Map(
      adapted.map(({ name, index, adapter }) => [index, room(`${name} low`, adapter!.rank)]),
    );
    const rank = adapted[0]?.adapter?.rank ?? 0;
    this.dlow = [0, 1, 2].map((i) => room(`dlow ${i}`, rank));
    const works = Array.from({ length: program.seat.size }, (_, rank) =>
      workspaceOf(program, config, weights, this.chunks, tokens, size, { rank, size: program.seat.size }),
    );
    this.work = works[program.seat.rank]!;
    this.#turn();
  }

  /** The tokens of this member. */
  get own(): Range {
    return this.chunks.rowsOf(this.#program.seat);
  }

  /**
   * Puts a batch of ids [batch, length + 1] in its place: each but the last of a row predicts the next one.
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
   * Computes the angles of all tokens: the thread that asks does it first,
   * and members write the same values again.
   */
  #turn(): void {
    const program = this.#program;
    const { batch, length } = this.size;
    const { cos, sin } = anglesOf(program, this.#config, 0, length);
    const n = length * this.#config.rope.frequencies.length;
    for (let row = 0; row < batch; row++) {
      program.copy(this.cos + 4 * row * n, cos, n);
      program.copy(this.sin + 4 * row * n, sin, n);
    }
    const back = program.view(this.back, batch * n);
    for (const [i, value] of program.view(this.sin, batch * n).entries()) back[i] = -value;
  }

  /** The summed cross-entropy of the last pass, in nats. */
  get loss(): number {
    const losses = new Float64Array(this.#program.buffer, this.losses, this.chunks.count);
    return losses.reduce((sum, loss) => sum + loss, 0);
  }
}

type MakeRoom = (name: string, cols: number) => number;

function layerRooms(config: DecoderConfig, room: MakeRoom): LayerRooms {
  const { hidden, inner, queries, keys } = sizesOf(config);
  const { hasNorms } = attentionOf(config);
  const q = room("q", queries);
  const k = room("k", keys);
  return {
    x: room("x", hidden),
    rawQ: hasNorms ? room("raw q", queries) : q,
    rawK: hasNorms ? room("raw k", keys) : k,
    q,
    k,
    v: room("v", keys),
    heads: room("heads", queries),
    gate: room("gate", inner),
    up: room("up", inner),
    act: room("act", inner),
  };
}

function savedOf(config: DecoderConfig, room: MakeRoom): Saved {
  const { hidden } = config;
  return {
    ...layerRooms(config, room),
    middle: room("middle", hidden),
    normedX: room("normed x", hidden),
    normedMiddle: room("normed middle", hidden),
  };
}

function gradientsOf(config: DecoderConfig, room: MakeRoom): Gradients {
  return { ...layerRooms(config, room), normed: room("normed", config.hidden) };
}

/** Room for the largest of all products that a member takes part in. */
function workspaceOf(
  program: Program,
  config: DecoderConfig,
  weights: Weights,
  chunks: Chunks,
  tokens: number,
  { length }: BatchSize,
  seat: Seat,
): Workspace {
  const kernels = program.kernels as TrainKernels;
  const { heads, keyHeads, headDim } = attentionOf(config);
  const name = (what: string) => `${what} of ${seat.rank}`;
  const floats = (what: string, n: number) => program.room(name(what), n);
  const ownOf = (shares: Chunks) => {
    const { start, end } = shares.rowsOf(seat);
    return end - start;
  };
  const rows = ownOf(chunks);
  const shapes = [...weights.linears, weights.head].map(({ n, k, recipe, adapter }: Weight) => {
    const { forward, inputGradient, weightGradient } = recipe;
    return {
      n,
      k,
      // An adapter's A is shared by columns.
      ownN: Math.max(
        ownOf(new Chunks(n, blockRows(weightGradient.dy))),
        adapter === null ? 0 : ownOf(new Chunks(k)),
      ),
      rank: adapter?.rank ?? 0,
      formats: [forward.x, forward.w, inputGradient.dy, inputGradient.w, weightGradient.dy, weightGradient.x],
    };
  });
  const most = (of: (shape: (typeof shapes)[number]) => number) => Math.max(...shapes.map(of));
  const products = shapes.flatMap(({ n, k, ownN }) => [
    kernels.plainWorkspace(rows, Math.max(n, k)),
    kernels.plainWorkspace(ownN, tokens),
  ]);
  const attention = Math.max(length, headDim);
  const widest = Math.max(
    tokens,
    most(({ n, k }) => Math.max(n, k)),
  );
  const tallest = blockRows(...shapes.flatMap(({ formats }) => formats));
  const dims = (what: string) => floats(what, length * headDim);
  const squares = (what: string) => floats(what, length * length);
  return {
    rounded: floats(
      "rounded",
      Math.max(
        most(({ n, k }) => rows * Math.max(n, k)),
        most(({ ownN }) => ownN * tokens),
      ),
    ),
    turned: floats(
      "turned",
      most(({ ownN }) => ownN * tokens),
    ),
    made: floats(
      "made",
      most(({ ownN, k }) => Math.max(rows, ownN) * k),
    ),
    low: floats(
      "low",
      most(({ rank }) => rank * tokens),
    ),
    product: program.bytes(
      name("product"),
      Math.max(...products.map((bytes) => bytes >>> 0), kernels.plainWorkspace(attention, attention) >>> 0),
    ),
    rounding: program.bytes(name("rounding"), kernels.roundWorkspace(widest, tallest) >>> 0),
    attention: program.bytes(
      name("attention"),
      kernels.attentionWorkspace(length * (heads / keyHeads), headDim, headDim) >>> 0,
    ),
    head: [dims("q"), dims("k"), dims("v"), dims("dout"), dims("turned head"), dims("made head")],
    scores: [squares("p"), squares("dp"), squares("turned p")],
  };
}
