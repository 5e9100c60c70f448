import type { DecoderConfig } from "../model/config.ts";
import type { Program } from "../model/program.ts";
import { Adapters } from "./adapters.ts";
import type { Counts } from "./counts.ts";
import type { TrainKernels } from "./kernels.ts";
import { linearBackward, normBackward, type Observer, TrainedLayer } from "./layer.ts";
import type { Parameters } from "./parameters.ts";
import { Products } from "./products.ts";
import type { Rooms } from "./rooms.ts";
import type { Weights } from "./weights.ts";

/** A part of a step, by which random words are told apart; all numbers of 32 bits. */
export interface Draw {
  readonly seed: number;
  readonly step: number;
  readonly part: number;
}

/**
 * Forward and backward pass of a model that predicts the next token, for one of those who run them together.
 */
export class Network {
  readonly #program: Program;
  readonly #config: DecoderConfig;
  readonly #parameters: Parameters;
  readonly #weights: Weights;
  readonly #products: Products;
  readonly #adapters: Adapters;
  readonly #layers: readonly TrainedLayer[];

  constructor(
    program: Program,
    config: DecoderConfig,
    parameters: Parameters,
    weights: Weights,
    counts: Counts | null,
  ) {
    this.#program = program;
    this.#config = config;
    this.#parameters = parameters;
    this.#weights = weights;
    this.#products = new Products(program, counts);
    this.#adapters = new Adapters(program, this.#products);
    this.#layers = config.layers.map(
      (_, i) => new TrainedLayer(program, config, i, parameters, weights, this.#products, this.#adapters),
    );
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  /** Says which random words roundings by chance take. */
  draw({ seed, step, part }: Draw): void {
    Object.assign(this.#products, { seed, step, part });
  }

  /**
   * Makes what products read of the weights, whose values have
   * changed. Others read it after the next barrier.
   */
  refresh(rooms: Rooms, isFirst: boolean): void {
    for (const weight of [...this.#weights.linears, this.#weights.head]) {
      // Weights that are not trained stay as they are.
      if (isFirst || weight.parameter.isTrained) this.#products.refresh(weight, rooms.work);
      if (weight.adapter !== null) this.#adapters.refresh(weight, weight.adapter);
    }
  }

  /**
   * The cross-entropies of the next tokens, by chunk in rooms.losses; and `factor`
   * times the gradient of each logit by them.
   */
  forward(rooms: Rooms, factor: number): void {
    const { layers } = this.#config;
    const { saved, last } = rooms;
    this.#embed(rooms);
    for (let i = 0; i < layers.length; i++)
      this.#layers[i]!.forward(saved[i]!, saved[i + 1]?.x ?? last, rooms);
    this.#predict(rooms, factor);
  }

  #embed({ own, inputs, saved }: Rooms): void {
    const { hidden } = this.#config;
    const program = this.#program;
    const words = this.#parameters.get("model.embed_tokens.weight").value;
    const ids = new Int32Array(program.buffer, inputs, own.end);
    for (let token = own.start; token < own.end; token++)
      program.copy(saved[0]!.x + 4 * token * hidden, words + 4 * ids[token]! * hidden, hidden);
  }

  /** The last norm, the head and the loss. */
  #predict({ own, chunks, last, lastNormed, logits, targets, losses, work }: Rooms, factor: number): void {
    const { hidden, vocabulary, epsilon } = this.#config;
    const program = this.#program;
    const kernels = this.#kernels;
    const stride = 4 * hidden;
    const at = stride * own.start;
    const norm = this.#parameters.get("model.norm.weight").value;
    kernels.rmsNorm(lastNormed + at, stride, last + at, stride, norm, own.end - own.start, hidden, epsilon);
    this.#products.forward(lastNormed, own, [{ y: logits, weight: this.#weights.head }], work);
    const { start, end } = chunks.of(program.seat);
    for (let chunk = start; chunk < end; chunk++) {
      const rows = chunks.rows({ start: chunk, end: chunk + 1 });
      const place = logits + 4 * rows.start * vocabulary;
      const count = rows.end - rows.start;
      const loss = kernels.crossEntropy(place, targets + 4 * rows.start, count, vocabulary, factor);
      new Float64Array(program.buffer, losses)[chunk] = loss;
    }
  }

  /** Adds the gradients of what `forward` has computed to those of the parameters. */
  backward(rooms: Rooms, observer: Observer | null): void {
    const { hidden, layers } = this.#config;
    const program = this.#program;
    const { d, own, saved, last, lastNormed, logits } = rooms;
    for (const place of [d.x, d.normed])
      program.view(place + 4 * own.start * hidden, (own.end - own.start) * hidden).fill(0);
    const head = { dy: logits, weight: this.#weights.head };
    linearBackward(program, this.#products, this.#adapters, d.normed, lastNormed, [head], rooms, null);
    const norm = this.#parameters.get("model.norm.weight");
    normBackward(program, this.#config, d.x, norm, d.normed, last, rooms, 1);
    for (let i = layers.length - 1; i >= 0; i--) {
      // Of the last layer everything is still there; what a layer gives is not needed a second time, nor is
      // `last`.
      if (rooms.isShared && i < layers.length - 1) this.#layers[i]!.forward(saved[i]!, last, rooms);
      this.#layers[i]!.backward(saved[i]!, rooms, observer);
    }
    program.exchange.barrier();
    this.#embedBackward(rooms);
    this.#addNorms(rooms);
  }

  /** A member adds the gradients of every so manyth word. */
  #embedBackward({ tokens, inputs, d }: Rooms): void {
    const { hidden } = this.#config;
    const { buffer, seat } = this.#program;
    const { gradient: words, isTrained } = this.#parameters.get("model.embed_tokens.weight");
    if (!isTrained) return;
    for (const [token, id] of new Int32Array(buffer, inputs, tokens).entries())
      if (id % seat.size === seat.rank)
        this.#kernels.addScaled(words + 4 * id * hidden, d.x + 4 * token * hidden, hidden, 1);
  }

  /** The gradients of norms, which are there by chunk; a member adds those of some of them. */
  #addNorms({ norms, chunks }: Rooms): void {
    const { seat } = this.#program;
    for (const [i, [name, parts]] of [...norms].entries()) {
      const { gradient, count, isTrained } = this.#parameters.get(name);
      if (!isTrained || i % seat.size !== seat.rank) continue;
      for (let chunk = 0; chunk < chunks.count; chunk++)
        this.#kernels.addScaled(gradient, parts + 4 * chunk * count, count, 1);
    }
  }
}
