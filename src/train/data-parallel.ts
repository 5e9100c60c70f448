import type { Program } from "../model/program.ts";
import { isRecord } from "../tensor/checks.ts";
import type { Parameters } from "./parameters.ts";
import { wrongOption } from "./wrong-option.ts";

/** What one rank has found in a step, from its share of the batch. */
export interface RankStep {
  /** The number of the step, from 1 on. */
  readonly step: number;
  /** Mean cross-entropy of this rank's tokens, in nats. */
  readonly loss: number;
  /**
   * This rank's share of the gradients of the mean loss of all ranks, one trained tensor after another: to be
   * replaced by the sum over all ranks.
   */
  readonly gradients: Float32Array;
}

/**
 * Synchronous data parallelism: `size` trainers with the same weights each take a share of every batch, all
 * of the same number of tokens, and exchange their gradients.
 */
export interface DataParallel {
  /** The number of this trainer, from 0 to `size - 1`. */
  readonly rank: number;
  /** How many trainers there are: the world size. */
  readonly size: number;
  /**
   * Called in each step between the backward pass and the update. Replaces the gradients by their sum over
   * all ranks, which must have the same bits on each of them.
   * @returns the mean of all losses
   */
  exchange(own: RankStep): Promise<number>;
}

/** @throws BlockscaleError `option` */
export function checkDataParallel(value: unknown): DataParallel | null {
  if (value === undefined) return null;
  const { rank, size, exchange } = (isRecord(value) ? value : {}) as { readonly [name: string]: unknown };
  const isRank =
    Number.isInteger(size) && Number.isInteger(rank) && 0 <= Number(rank) && Number(rank) < Number(size);
  if (isRank && typeof exchange === "function") return value as DataParallel;
  throw wrongOption("dataParallel", "{ rank, size, exchange }, with a rank from 0 to size - 1", value);
}

/**
 * Lets the ranks exchange the gradients in memory.
 * @returns the mean loss of all ranks
 */
export async function exchangeGradients(
  dataParallel: DataParallel,
  program: Program,
  { trained }: Parameters,
  step: number,
  loss: number,
): Promise<number> {
  const gradients = new Float32Array(trained.reduce((sum, { count }) => sum + count, 0));
  let at = 0;
  for (const { gradient, count } of trained) {
    gradients.set(program.view(gradient, count), at);
    at += count;
  }
  const mean = await dataParallel.exchange({ step, loss, gradients });
  at = 0;
  for (const { gradient, count } of trained) {
    program.view(gradient, count).set(gradients.subarray(at, at + count));
    at += count;
  }
  return mean;
}
