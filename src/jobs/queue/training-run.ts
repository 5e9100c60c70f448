import type { Redis } from "ioredis";
import { hasKeys, isText, LONGEST_PATH, parsed } from "../spec.ts";
import { type Connection, openRedis, redisErrorOf } from "./connection.ts";

/** What all keys of training in Redis begin with. */
const PREFIX = "blockscale:train";
/** The key that holds the id of the training run under way. */
export const RUN_KEY: string = `${PREFIX}:session`;

/** A key of a training run, by the run's id. */
export function keyOf(runId: string, name: string): string {
  return `${PREFIX}:${runId}:${name}`;
}

/**
 * The key that a rank's heartbeat sets again and again. It expires when the rank's process or machine is
 * gone.
 */
export const heartbeatKeyOf = (runId: string, rank: number): string => keyOf(runId, `alive:${rank}`);

/** How often a heartbeat sets its key, in milliseconds. */
export const BEAT_EVERY = 2500;
/** How long the key lasts, in milliseconds. */
export const ALIVE_FOR = 10_000;

/** Sets the key of a heartbeat. */
export async function beat(redis: Redis, key: string): Promise<void> {
  await redis.set(key, "", "PX", ALIVE_FOR);
}

/** Which ranks of a run are alive. One that has just died still counts for some seconds. */
export async function arePresent(redis: Redis, runId: string, ranks: readonly number[]): Promise<boolean[]> {
  const values = await redis.mget(ranks.map((rank) => heartbeatKeyOf(runId, rank)));
  return values.map((value) => value !== null);
}

/** How far a training is, as rank 0 reports it. */
export interface TrainingProgress {
  readonly out: string;
  /** How many ranks the run has. */
  readonly size: number;
  readonly step: number;
  readonly steps: number;
  /** Loss of the last step; `null` before there is one. */
  readonly loss: number | null;
}

export interface TrainingStatus extends TrainingProgress {
  /** How many ranks are alive. */
  readonly present: number;
}

/**
 * The training run on a Redis, which may still be waiting for its ranks; `null` if there is none.
 * @throws BlockscaleError `option`, `io`: as `openRedis`
 */
export async function trainingOn(connection: Connection): Promise<TrainingStatus | null> {
  const redis = await openRedis(connection);
  try {
    const runId = await redis.get(RUN_KEY);
    const progress = runId === null ? null : await redis.get(keyOf(runId, "progress"));
    const told = progress === null ? null : checkProgress(parsed(progress));
    if (told === null) return null;
    const ranks = Array.from({ length: told.size }, (_, rank) => rank);
    const present = await arePresent(redis, runId!, ranks);
    return present[0] ? { ...told, present: present.filter(Boolean).length } : null;
  } catch (error) {
    throw redisErrorOf(error);
  } finally {
    redis.disconnect();
  }
}

/** The report of rank 0; `null` if another program has written something else there. */
function checkProgress(value: unknown): TrainingProgress | null {
  if (!hasKeys(value, ["out", "size", "step", "steps", "loss"])) return null;
  const { out, size, step, steps, loss } = value;
  const areCounts = [size, step, steps].every((count) => Number.isSafeInteger(count) && Number(count) >= 0);
  const isProgress =
    isText(out, LONGEST_PATH) &&
    areCounts &&
    Number(size) >= 1 &&
    Number(size) <= 1024 &&
    (loss === null || Number.isFinite(loss));
  return isProgress ? (value as unknown as TrainingProgress) : null;
}
