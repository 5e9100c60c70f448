import type { Redis } from "ioredis";
import { hasKeys, isText, LONGEST_PATH, parsed } from "../spec.ts";
import { type Connection, openRedis, refusalOf } from "./connection.ts";

/** What names of keys begin with, and the key that names the session of the training under way. */
const PREFIX = "blockscale:train";
export const SESSION: string = `${PREFIX}:session`;

/** The name of a key of a session. */
export function keyOf(session: string, name: string): string {
  return `${PREFIX}:${session}:${name}`;
}

/**
 * The key that a rank's heartbeat sets again and again. It expires when the rank's process or machine is
 * gone.
 */
export const aliveKeyOf = (session: string, rank: number): string => keyOf(session, `alive:${rank}`);

/** How often a heartbeat sets its key, in milliseconds. */
export const BEAT_EVERY = 2500;
/** How long the key lasts, in milliseconds. */
export const ALIVE_FOR = 10_000;

/** Sets the key of a heartbeat. */
export async function beat(redis: Redis, key: string): Promise<void> {
  await redis.set(key, "", "PX", ALIVE_FOR);
}

/** Which ranks of a session are alive. One that has just died still counts for some seconds. */
export async function arePresent(
  redis: Redis,
  session: string,
  ranks: readonly number[],
): Promise<boolean[]> {
  const values = await redis.mget(ranks.map((rank) => aliveKeyOf(session, rank)));
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
    const session = await redis.get(SESSION);
    const progress = session === null ? null : await redis.get(keyOf(session, "progress"));
    const told = progress === null ? null : checkProgress(parsed(progress));
    if (told === null) return null;
    const ranks = Array.from({ length: told.size }, (_, rank) => rank);
    const present = await arePresent(redis, session!, ranks);
    return present[0] ? { ...told, present: present.filter(Boolean).length } : null;
  } catch (error) {
    throw refusalOf(error);
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
