import type { DecoderConfig } from "../model/config.ts";
import type { ExchangeMemory } from "../model/exchange.ts";
import { Program } from "../model/program.ts";
import type { Team } from "../model/team.ts";
import type { Instance } from "../wasm/instantiate.ts";
import { type BatchSize, Buffers } from "./buffers.ts";
import { Counts } from "./counts.ts";
import type { TrainKernels } from "./kernels.ts";
import type { Observer } from "./layer.ts";
import type { Lora } from "./lora.ts";
import { Network, type RandomCounters } from "./network.ts";
import { Optimizer, type Update } from "./optimizer.ts";
import { type Moments, Parameters } from "./parameters.ts";
import type { Recipe } from "./recipes.ts";
import { Weights } from "./weights.ts";

/** The settings that all members share: the model, the recipe and the optimiser. A plain record. */
export interface TrainingSetup {
  readonly config: DecoderConfig;
  readonly recipe: Recipe;
  readonly counts: boolean;
  readonly moments: Moments;
  /** Whether layers are computed once more in the backward pass. */
  readonly recompute: boolean;
  /** Adapters to train instead of the model, or `null`. */
  readonly lora: Lora | null;
}

/** One step of work that all members do together. */
export type TrainingRequest =
  /**
   * A pass over the batch in the buffers: forward alone ("none"), or forward and backward. Gradients of the
   * loss times `factor` replace those of before ("first"), or are added to them ("more").
   */
  | {
      readonly kind: "pass";
      readonly size: BatchSize;
      readonly factor: number;
      readonly counters: RandomCounters;
      readonly gradients: "none" | "first" | "more";
    }
  | { readonly kind: "sumSquares" }
  | { readonly kind: "update"; readonly update: Update };

/**
 * One of the threads that train a model together, each with its view of the memory that all share: the
 * parameters, the buffers of a pass, and the passes over them.
 */
export class TrainingMember {
  readonly program: Program;
  readonly parameters: Parameters;
  readonly optimizer: Optimizer;
  readonly counts: Counts | null;
  /** Called in backward passes. Used with one member only. */
  observer: Observer | null = null;
  readonly #setup: TrainingSetup;
  readonly #weights: Weights;
  readonly #network: Network;
  #buffers: Buffers | undefined;
  /** The weights whose rounded and transposed forms have to be made again. */
  #stale: "all" | "trained" | "none" = "all";

  constructor(instance: Instance, team: Team, shared: ExchangeMemory | null, setup: TrainingSetup) {
    const { config, counts, moments, lora } = setup;
    const program = new Program(instance, team, shared, {});
    if (team.size > 1) moveScratch(program);
    this.program = program;
    this.#setup = setup;
    this.parameters = new Parameters(program, config, moments, lora);
    this.#weights = new Weights(program, setup, this.parameters);
    this.optimizer = new Optimizer(program, this.parameters, moments);
    this.counts = counts ? new Counts(program, this.#weights.linears) : null;
    this.#network = new Network(program, config, this.parameters, this.#weights, this.counts);
  }

  /** The buffers for batches of a size; those of another size are dropped. */
  buffers(size: BatchSize): Buffers {
    const { batch, length } = this.#buffers?.size ?? {};
    if (batch !== size.batch || length !== size.length) {
      this.#buffers = new Buffers(this.program, this.#setup, this.parameters, this.#weights, size);
    }
    return this.#buffers!;
  }

  run(request: TrainingRequest): void {
    try {
      if (request.kind === "pass") this.#pass(request);
      else if (request.kind === "sumSquares") this.optimizer.sumSquares();
      else {
        this.optimizer.step(request.update);
        this.#stale = "trained";
      }
    } catch (error) {
      this.program.exchange.fail();
      throw error;
    }
  }

  #pass({ size, factor, gradients, counters }: TrainingRequest & { kind: "pass" }): void {
    const buffers = this.buffers(size);
    this.#network.setCounters(counters);
    if (this.#stale !== "none") this.#network.refresh(buffers, this.#stale === "all");
    this.#stale = "none";
    if (gradients === "first") this.optimizer.clear();
    this.program.exchange.barrier();
    this.#network.forward(buffers, factor);
    if (gradients !== "none") this.#network.backward(buffers, this.observer);
  }
}

/**
 * Gives each member's kernels their own working memory in the memory that all share. The calling thread runs
 * kernels only while no member does, so it uses that of member 0.
 */
function moveScratch(program: Program): void {
  const kernels = program.kernels as TrainKernels;
  kernels.moveScratch(program.ownBytes("scratch", kernels.scratchBytes()));
}
