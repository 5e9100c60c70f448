import type { DecoderConfig } from "../model/config.ts";
import type { Shared } from "../model/exchange.ts";
import { Program } from "../model/program.ts";
import type { Seat } from "../model/share.ts";
import type { Instance } from "../wasm/instantiate.ts";
import { Counts } from "./counts.ts";
import type { TrainKernels } from "./kernels.ts";
import type { Observer } from "./layer.ts";
import type { Lora } from "./lora.ts";
import { type Draw, Network } from "./network.ts";
import { Optimizer, type Update } from "./optimizer.ts";
import { type Moments, Parameters } from "./parameters.ts";
import type { Recipe } from "./recipes.ts";
import { type BatchSize, Rooms } from "./rooms.ts";
import { Weights } from "./weights.ts";

/** What members need to know to train: the model, the recipe and the optimiser. A plain record. */
export interface Plan {
  readonly config: DecoderConfig;
  readonly recipe: Recipe;
  readonly counts: boolean;
  readonly moments: Moments;
  /** Whether layers are computed once more in the backward pass. */
  readonly recompute: boolean;
  /** Adapters to train instead of the model, or `null`. */
  readonly lora: Lora | null;
}

/** What all members are asked to do together. */
export type Request =
  /**
   * A pass over the batch in the rooms; `gradients` of the loss times `factor` are
   * added to those that are there, or to none.
   */
  | {
      readonly kind: "pass";
      readonly size: BatchSize;
      readonly factor: number;
      readonly draw: Draw;
      readonly gradients: "none" | "first" | "more";
    }
  | { readonly kind: "measure" }
  | { readonly kind: "update"; readonly update: Update };

/**
 * Tensors, rooms and the passes over them: what each of those who train
 * together has of the memory that they share.
 */
export class Member {
  readonly program: Program;
  readonly parameters: Parameters;
  readonly optimizer: Optimizer;
  readonly counts: Counts | null;
  /** Called in backward passes, where there is one member. */
  observer: Observer | null = null;
  readonly #plan: Plan;
  readonly #weights: Weights;
  readonly #network: Network;
  #rooms: Rooms | undefined;
  /** Which weights have changed since products were made ready for them. */
  #stale: "all" | "trained" | "none" = "all";

  constructor(instance: Instance, seat: Seat, shared: Shared | null, plan: Plan) {
    const { config, counts, moments, lora } = plan;
    const program = new Program(instance, seat, shared, {});
    if (seat.size > 1) moveScratch(program);
    this.program = program;
    this.#plan = plan;
    this.parameters = new Parameters(program, config, moments, lora);
    this.#weights = new Weights(program, plan, this.parameters);
    this.optimizer = new Optimizer(program, this.parameters, moments);
    this.counts = counts ? new Counts(program, this.#weights.linears) : null;
    this.#network = new Network(program, config, this.parameters, this.#weights, this.counts);
  }

  /** The rooms for batches of a size. Those of the last size are gone. */
  rooms(size: BatchSize): Rooms {
    const { batch, length } = this.#rooms?.size ?? {};
    if (batch !== size.batch || length !== size.length) {
      this.#rooms = new Rooms(this.program, this.#plan, this.parameters, this.#weights, size);
    }
    return this.#rooms!;
  }

  run(request: Request): void {
    try {
      if (request.kind === "pass") this.#pass(request);
      else if (request.kind === "measure") this.optimizer.measure();
      else {
        this.optimizer.step(request.update);
        this.#stale = "trained";
      }
    } catch (error) {
      this.program.exchange.fail();
      throw error;
    }
  }

  #pass({ size, factor, gradients, draw }: Request & { kind: "pass" }): void {
    const rooms = this.rooms(size);
    this.#network.draw(draw);
    if (this.#stale !== "none") this.#network.refresh(rooms, this.#stale === "all");
    this.#stale = "none";
    if (gradients === "first") this.optimizer.clear();
    this.program.exchange.barrier();
    this.#network.forward(rooms, factor);
    if (gradients !== "none") this.#network.backward(rooms, this.observer);
  }
}

/**
 * Moves what the kernels keep of their own out of the others' way. The thread that asks works while
 * no member does, and takes the first place.
 */
function moveScratch(program: Program): void {
  const kernels = program.kernels as TrainKernels;
  const { rank, size } = program.seat;
  const bytes = kernels.scratchBytes();
  kernels.moveScratch(program.bytes("scratch", bytes * size) + rank * bytes);
}
