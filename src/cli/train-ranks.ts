import { createHash } from "node:crypto";
import { GradientExchange, type GradientFormat } from "../jobs/gradients.ts";
import { parseQueue } from "../jobs/queue/connection.ts";
import { RedisRanks } from "../jobs/queue/ranks.ts";
import { load } from "../load.ts";
import { compileForModels } from "../model/build.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { Trainer } from "../train/trainer.ts";
import { placeOf } from "./part.ts";
import { version } from "./version.ts";

export interface RankFlags {
  readonly queue?: string;
  readonly rank?: number;
  readonly worldSize?: number;
  readonly gradients: GradientFormat;
  readonly timeout: number;
  readonly batch: number;
  readonly microBatches: number;
}

/** This machine's place among those of `train --queue`. */
export class TrainingRank {
  readonly exchange: GradientExchange;
  readonly #ranks: RedisRanks;

  private constructor(ranks: RedisRanks, exchange: GradientExchange) {
    this.#ranks = ranks;
    this.exchange = exchange;
  }

  /**
   * @returns `null` for a run on one machine
   * @throws BlockscaleError `option`: flags that do not go together; `io`: no Redis
   */
  static async open(flags: RankFlags, signal: AbortSignal): Promise<TrainingRank | null> {
    const { queue, rank, worldSize: size, gradients: format, timeout, batch, microBatches } = flags;
    if (queue === undefined && rank === undefined && size === undefined) return null;
    if (queue === undefined || rank === undefined || size === undefined)
      throw wrongFlags(
        "--queue, --rank and --world-size together",
        `no ${missing({ queue, rank, "world-size": size }).join(", no ")}`,
      );
    if (rank >= size)
      throw wrongFlags("a --rank from 0 to N - 1 of --world-size N", `--rank ${rank} of ${size}`);
    if (batch % (size * microBatches) !== 0)
      throw wrongFlags(
        `a --batch that ${size} ranks of ${microBatches} micro-batches can share`,
        String(batch),
      );
    const engine = await load();
    const ranks = await RedisRanks.open(parseQueue(queue), { rank, size, timeout, signal });
    return new TrainingRank(ranks, new GradientExchange(ranks, { rank, size, format }, engine));
  }

  /** Waits for the other ranks, and makes sure that they are about to train the same. */
  async join(trainer: Trainer, options: object, ids: Int32Array): Promise<void> {
    await this.#ranks.join({
      version: version(),
      build: compileForModels().variant,
      options: digestOf([Buffer.from(JSON.stringify(options))]),
      text: digestOf([ids]),
      step: trainer.steps,
      weights: digestOfWeights(trainer),
    });
  }

  /** Shows in `status` how far the training is, without waiting. */
  tell(out: string, step: number, steps: number, loss: number | undefined): void {
    this.#ranks.tell({ out: placeOf(out), step, steps, loss: loss ?? null });
  }

  /** Makes sure that all ranks have the same weights. */
  async agree(trainer: Trainer): Promise<void> {
    await this.exchange.agree(trainer.steps, digestOfWeights(trainer));
  }

  async stop(error: unknown): Promise<void> {
    await this.#ranks.stop(error);
  }

  async close(): Promise<void> {
    await this.#ranks.close();
  }
}

/** SHA-256 of all weights, in the order of their names. */
export function digestOfWeights(trainer: Trainer): string {
  return digestOf(trainer.names.map((name) => trainer.weight(name)));
}

function digestOf(arrays: readonly (Uint8Array | Int32Array | Float32Array)[]): string {
  const hash = createHash("sha256");
  for (const array of arrays) hash.update(array);
  return hash.digest("hex");
}

/** The flags that were not given, as they are written. */
function missing(flags: { readonly [flag: string]: unknown }): string[] {
  return Object.keys(flags)
    .filter((flag) => flags[flag] === undefined)
    .map((flag) => `--${flag}`);
}

function wrongFlags(expected: string, got: string): BlockscaleError {
  return new BlockscaleError("option", {
    where: "train: ranks",
    expected,
    got,
    fix: "Give all machines the same command, each with its own --rank; leave all of these out for one machine.",
  });
}
