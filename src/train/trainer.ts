/// <reference lib="esnext.disposable" preserve="true" />
import type { DecoderConfig } from "../model/config.ts";
import type { Json } from "../model/json.ts";
import type { Program } from "../model/program.ts";
import type { BlockscaleError } from "../tensor/errors.ts";
import type { BatchSize, Buffers } from "./buffers.ts";
import { checkBatch, checkFlag } from "./check-arguments.ts";
import type { OperandName, RangeCounts } from "./counts.ts";
import { exchangeGradients } from "./data-parallel.ts";
import { adapterFiles, modelFiles, OPTIMIZER, optimizerFile } from "./files.ts";
import type { ObservedLinear } from "./layer.ts";
import type { TrainingMember } from "./member.ts";
import type { TrainingMembers } from "./members.ts";
import { firstNonFinite, nonFiniteStep } from "./non-finite.ts";
import type { TrainerSettings } from "./options.ts";
import { wrongArgument } from "./wrong-option.ts";

/** The result of a training step. */
export interface StepResult {
  /** Mean cross-entropy of the next tokens, in nats. */
  readonly loss: number;
  /** The norm of all gradients together, before it was clipped. */
  readonly gradientNorm: number;
}

/** What a trainer is made of. */
export interface TrainerParts {
  /** The member of this thread: the only one, or the view of the workers' memory. */
  readonly member: TrainingMember;
  readonly members: TrainingMembers;
  readonly config: DecoderConfig;
  readonly json: Json;
  readonly settings: TrainerSettings;
  readonly steps: number;
}

/**
 * A model in training. Its weights, gradients and optimiser are float32; its recipe says how the operands of
 * products are rounded.
 */
export class Trainer {
  readonly config: DecoderConfig;
  readonly #member: TrainingMember;
  readonly #members: TrainingMembers;
  readonly #json: Json;
  readonly #settings: TrainerSettings;
  #steps: number;
  #isClosed = false;

  /** Use {@link createTrainer}. */
  constructor({ member, members, config, json, settings, steps }: TrainerParts) {
    this.config = config;
    this.#member = member;
    this.#members = members;
    this.#json = json;
    this.#settings = settings;
    this.#steps = steps;
  }

  /** The number of steps taken so far. */
  get steps(): number {
    return this.#steps;
  }

  /** The number of threads that share a step. */
  get threads(): number {
    return this.#program.team.size;
  }

  get #program(): Program {
    return this.#member.program;
  }

  /**
   * One step: forward, backward, AdamW.
   * @param ids tokens [batch, length + 1]: each but the last of a row predicts the next one. With
   * `dataParallel` this rank's share of the batch
   * @param microBatches micro-batches that the batch is cut into (gradient accumulation): less memory, the
   * same step
   * @throws BlockscaleError `option`: another shape, tokens outside the vocabulary;
   * `dialect`: the loss is not a finite number
   */
  async step(ids: Int32Array, shape: readonly [number, number], microBatches = 1): Promise<StepResult> {
    const { betas, epsilon, weightDecay, clip, learningRate, schedule, dataParallel } = this.#settings;
    const own = await this.#run(ids, shape, true, microBatches);
    const { program, parameters } = this.#member;
    const loss =
      dataParallel === null
        ? own
        : await exchangeGradients(dataParallel, program, parameters, this.#steps + 1, own);
    await this.#members.run({ kind: "sumSquares" });
    const { norm, nonFinite } = this.#member.optimizer.norm();
    if (!Number.isFinite(loss) || !Number.isFinite(norm)) {
      const size = { batch: shape[0] / microBatches, length: shape[1] - 1 };
      throw this.#failed(loss, own, this.#member.buffers(size), nonFinite);
    }
    const rate = learningRate * schedule(this.#steps);
    if (!(rate >= 0 && rate < Infinity))
      throw wrongArgument("step: schedule", "a rate from 0 on", rate, "Return a number from 0 on.");
    this.#steps++;
    await this.#members.run({
      kind: "update",
      update: {
        step: this.#steps,
        // As torch's clip_grad_norm_ computes it.
        factor: clip > 0 ? Math.min(1, clip / (norm + 1e-6)) : 1,
        rate,
        betas,
        epsilon,
        weightDecay,
      },
    });
    return { loss, gradientNorm: norm };
  }

  /** The mean cross-entropy of the next tokens, without learning from them. */
  async loss(ids: Int32Array, shape: readonly [number, number]): Promise<number> {
    return this.#run(ids, shape, false, 1);
  }

  /**
   * Runs a forward and a backward pass without an update, and calls `visit` with the input of each linear
   * layer and the gradient of the summed cross-entropy (in nats) by its output.
   * @param visit called for each layer, the last one first; addresses are those of the program's memory
   * @throws BlockscaleError `option`: there are several threads
   */
  async observe(
    ids: Int32Array,
    shape: readonly [number, number],
    visit: (program: Program, name: string, seen: ObservedLinear) => void,
  ): Promise<void> {
    if (this.threads > 1)
      throw wrongArgument("observe", "a trainer of one thread", this.threads, "Create it with threads: 1.");
    const [batch, width] = checkBatch(ids, shape, this.config);
    this.#member.observer = (name, seen) => visit(this.#program, name, seen);
    try {
      await this.#pass(ids, { batch, length: width - 1 }, 1, "first", 0);
    } finally {
      this.#member.observer = null;
    }
  }

  async #run(
    ids: Int32Array,
    shape: readonly [number, number],
    withGradients: boolean,
    microBatches: number,
  ): Promise<number> {
    const [batch, width] = checkBatch(ids, shape, this.config);
    if (!Number.isInteger(microBatches) || microBatches < 1 || batch % microBatches !== 0)
      throw wrongArgument(
        "step: microBatches",
        `a divisor of the batch, ${batch}`,
        microBatches,
        "Leave it out for 1.",
      );
    const size = batch / microBatches;
    const tokens = batch * (width - 1);
    // Stochastic rounding draws for each micro-batch what a trainer of the whole batch would draw.
    const { rank, size: ranks } = this.#settings.dataParallel ?? { rank: 0, size: 1 };
    const first = rank * microBatches;
    let loss = 0;
    for (let i = 0; i < microBatches; i++) {
      const rows = ids.subarray(i * size * width, (i + 1) * size * width);
      const gradients = !withGradients ? "none" : i === 0 ? "first" : "more";
      loss += await this.#pass(
        rows,
        { batch: size, length: width - 1 },
        1 / (tokens * ranks),
        gradients,
        first + i,
      );
    }
    return loss / tokens;
  }

  /** @returns the summed cross-entropy */
  async #pass(
    ids: Int32Array,
    size: BatchSize,
    factor: number,
    gradients: "none" | "first" | "more",
    microBatch: number,
  ): Promise<number> {
    if (this.#isClosed)
      throw wrongArgument("step", "a trainer that is open", "one that was closed", "Create another.");
    const counters = { seed: this.#settings.seed, step: this.#steps, microBatch };
    const buffers = this.#member.buffers(size);
    buffers.take(ids);
    await this.#members.run({ kind: "pass", size, factor, gradients, counters });
    return buffers.loss;
  }

  /**
   * The error of a step without finite results: it names the first tensor with NaN or Inf.
   * @param own the loss of this rank alone: if it is finite, the cause is on another rank
   */
  #failed(loss: number, own: number, buffers: Buffers, gradient: string | undefined): BlockscaleError {
    const first = Number.isFinite(loss)
      ? `the gradient of ${gradient}`
      : Number.isFinite(own)
        ? "on another rank"
        : (firstNonFinite(this.#program, this.config, this.#member.parameters, buffers) ?? "the logits");
    return nonFiniteStep(this.#steps + 1, loss, first);
  }

  /** The gradient of a tensor in the last step, before clipping, by the tensor's name. */
  gradient(name: string): Float32Array {
    const { gradient, count, isTrained } = this.#member.parameters.get(name);
    if (!isTrained)
      throw wrongArgument(
        "gradient",
        "a tensor that is trained",
        name,
        "With lora only adapters are trained.",
      );
    return this.#program.view(gradient, count).slice();
  }

  /** The values of any tensor of the model, norms and embeddings too, by its name. */
  weight(name: string): Float32Array {
    const { value, count } = this.#member.parameters.get(name);
    return this.#program.view(value, count).slice();
  }

  /** The names of all tensors. */
  get names(): string[] {
    return this.#member.parameters.all.map(({ name }) => name);
  }

  /**
   * What rounding has done to the operands of each linear layer since the last call: their largest magnitude,
   * and how many values became 0 or were cut. Empty unless the trainer was created with `counts`.
   */
  ranges(): Map<string, Record<OperandName, RangeCounts>> {
    return this.#member.counts?.take() ?? new Map();
  }

  /**
   * The checkpoint: config.json and model.safetensors in float32, which load in transformers and in
   * `openModel`. Adapters are added to the weights.
   * @param withOptimizer adds optimizer.safetensors, from which `createTrainer` goes on
   */
  files(withOptimizer = false): Map<string, Blob> {
    const { lora } = this.#settings;
    checkFlag("files", withOptimizer);
    if (withOptimizer && lora !== null)
      throw wrongArgument(
        "files",
        "a trainer without lora, to add the optimiser",
        "adapters",
        "Use adapter(true).",
      );
    const files = modelFiles(this.#program, this.#member.parameters, lora, this.#json);
    return this.#withOptimizer(files, withOptimizer);
  }

  /**
   * The adapters in PEFT's layout: adapter_config.json and adapter_model.safetensors. With these beside the
   * files of the model, `createTrainer` goes on with them.
   * @param withOptimizer adds optimizer.safetensors, for the same bits
   * @throws BlockscaleError `option`: the trainer was made without `lora`
   */
  adapter(withOptimizer = false): Map<string, Blob> {
    const { lora } = this.#settings;
    checkFlag("adapter", withOptimizer);
    if (lora === null)
      throw wrongArgument(
        "adapter",
        "a trainer with lora",
        "one without",
        "Create it with lora: { rank: 8 }.",
      );
    const files = adapterFiles(this.#program, this.#member.parameters, lora);
    return this.#withOptimizer(files, withOptimizer);
  }

  #withOptimizer(files: Map<string, Blob>, isWanted: boolean): Map<string, Blob> {
    const { trained } = this.#member.parameters;
    if (isWanted)
      files.set(OPTIMIZER, optimizerFile(this.#program, trained, this.#settings.moments, this.#steps));
    return files;
  }

  /** Ends the workers. The trainer cannot be used any more; its memory goes with it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#members.close();
  }

  /** The end of an `await using` block closes it. */
  declare [Symbol.asyncDispose]: () => Promise<void>;
}

// Hosts of 2024 and before have no such symbol.
if (Symbol.asyncDispose) Trainer.prototype[Symbol.asyncDispose] = Trainer.prototype.close;
