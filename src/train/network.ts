import type { DecoderConfig } from "../model/config.ts";
import type { Program } from "../model/program.ts";
import { Adapters } from "./adapters.ts";
import type { Buffers } from "./buffers.ts";
import type { Counts } from "./counts.ts";
import type { TrainKernels } from "./kernels.ts";
import { linearBackward, normBackward, type Observer, TrainedLayer } from "./layer.ts";
import type { Parameters } from "./parameters.ts";
import { LinearProducts } from "./products.ts";
import type { Weights } from "./weights.ts";

/**
 * The counters of a pass that choose random words: seed, step, and micro-batch of the step. Numbers of 32
 * bits. With the number of an operand they are a `RandomStream`.
 */
export interface RandomCounters {
  readonly seed: number;
  readonly step: number;
  readonly microBatch: number;
}

/**
 * One member's part of the forward and backward pass of a model that predicts the next token.
 */
export class Network {
  readonly #program: Program;
  readonly #config: DecoderConfig;
  readonly #parameters: Parameters;
  readonly #weights: Weights;
  readonly #products: LinearProducts;
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
    this.#products = new LinearProducts(program, counts);
    this.#adapters = new Adapters(program, this.#products);
    this.#layers = config.layers.map(
      (_, i) => new TrainedLayer(program, config, i, parameters, weights, this.#products, this.#adapters),
    );
  }

  get #kernels(): TrainKernels {
    return this.#program.kernels as TrainKernels;
  }

  /** Sets the counters that choose the random words of stochastic rounding. */
  setCounters({ seed, step, microBatch }: RandomCounters): void {
    Object.assign(this.#products.roundings, { seed, step, microBatch });
  }

  /**
   * Makes this member's part of the rounded weights, after their values have changed. Other
   * members may read them after the next barrier.
   */
  refresh(buffers: Buffers, isFirst: boolean): void {
    for (const weight of [...this.#weights.linears, this.#weights.head]) {
      // Weights that are not trained stay as they are.
      if (isFirst || weight.parameter.isTrained) this.#products.refresh(weight, buffers.work);
    }
  }

  /**
   * Leaves the summed cross-entropies of the next tokens in buffers.losses, one for each chunk, and `factor`
   * times their gradient in buffers.logits.
   */
  forward(buffers: Buffers, factor: number): void {
    const { layers } = this.#config;
    const { saved, last } = buffers;
    this.#embed(buffers);
    for (let i = 0; i < layers.length; i++)
      this.#layers[i]!.forward(saved[i]!, saved[i + 1]?.x ?? last, buffers);
    this.#predict(buffers, factor);
  }

  #embed({ own, inputs, saved }: Buffers): void {
    const { hidden } = this.#config;
    const program = this.#program;
    const table = this.#parameters.get("model.embed_tokens.weight").value;
    const ids = new Int32Array(program.buffer, inputs, own.end);
    for (let token = own.start; token < own.end; token++)
      program.copy(saved[0]!.x + 4 * token * hidden, table + 4 * ids[token]! * hidden, hidden);
  }

  /** The final norm, the head and the loss. */
  #predict({ own, chunks, last, lastNormed, logits, targets, losses, work }: Buffers, factor: number): void {
    const { hidden, vocabulary, epsilon } = this.#config;
    const program = this.#program;
    const kernels = this.#kernels;
    const stride = 4 * hidden;
    const at = stride * own.start;
    const norm = this.#parameters.get("model.norm.weight").value;
    kernels.rmsNorm(lastNormed + at, stride, last + at, stride, norm, own.end - own.start, hidden, epsilon);
    this.#products.forward(lastNormed, own, [{ y: logits, weight: this.#weights.head }], work);
    const { start, end } = chunks.chunksOfMember(program.team);
    for (let chunk = start; chunk < end; chunk++) {
      const rows = chunks.rowsOfChunks({ start: chunk, end: chunk + 1 });
      const address = logits + 4 * rows.start * vocabulary;
      const count = rows.end - rows.start;
      const loss = kernels.crossEntropy(address, targets + 4 * rows.start, count, vocabulary, factor);
      new Float64Array(program.buffer, losses)[chunk] = loss;
    }
  }

  /** Adds the gradients of what `forward` has computed to those of the parameters. */
  backward(buffers: Buffers, observer: Observer | null): void {
    const { hidden, layers } = this.#config;
    const program = this.#program;
    const { d, own, saved, last, lastNormed, logits } = buffers;
    program.view(d.x + 4 * own.start * hidden, (own.end - own.start) * hidden).fill(0);
    const head = { dy: logits, weight: this.#weights.head };
    linearBackward(program, this.#products, this.#adapters, d.normed, lastNormed, [head], buffers, null);
    const norm = this.#parameters.get("model.norm.weight");
    normBackward(program, this.#config, d.x, norm, d.normed, last, buffers, 1);
    for (let i = layers.length - 1; i >= 0; i--) {
      // With `recompute`, only the last layer's buffers still hold its own values. The output of the layer is
      // not needed again, so it goes to `last`, which is not needed either.
      if (buffers.isShared && i < layers.length - 1) {
        program.exchange.barrier(); // Nobody reads the buffers for gradients of weights any more.
        this.#layers[i]!.forward(saved[i]!, last, buffers);
      }
      this.#layers[i]!.backward(saved[i]!, buffers, observer);
    }
    program.exchange.barrier();
    this.#embedBackward(buffers);
    this.#addNorms(buffers);
  }

  /** Gradients of the embedding. A member adds those of the tokens with id % members = its own number. */
  #embedBackward({ tokens, inputs, d }: Buffers): void {
    const { hidden } = this.#config;
    const { buffer, team } = this.#program;
    const { gradient: table, isTrained } = this.#parameters.get("model.embed_tokens.weight");
    if (!isTrained) return;
    for (const [token, id] of new Int32Array(buffer, inputs, tokens).entries())
      if (id % team.size === team.member)
        this.#kernels.addScaled(table + 4 * id * hidden, d.x + 4 * token * hidden, hidden, 1);
  }

  /** Adds up the gradients of norms over chunks. Each norm is done by one member. */
  #addNorms({ norms, chunks }: Buffers): void {
    const { team } = this.#program;
    for (const [i, [name, chunkGradients]] of [...norms].entries()) {
      const { gradient, count, isTrained } = this.#parameters.get(name);
      if (!isTrained || i % team.size !== team.member) continue;
      for (let chunk = 0; chunk < chunks.count; chunk++)
        this.#kernels.addScaled(gradient, chunkGradients + 4 * chunk * count, count, 1);
    }
  }
}
