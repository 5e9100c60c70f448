import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import type { Redis } from "ioredis";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { Transport } from "../gradients.ts";
import { type Agreed, checkHello, isListed, LONGEST_MESSAGE } from "./agreement.ts";
import { type Connection, openRedis, redisErrorOf } from "./connection.ts";
import { Heartbeat } from "./heartbeat.ts";
import { gone, late, otherLength, replaced, stopped } from "./rank-errors.ts";
import {
  ALIVE_FOR,
  arePresent,
  beat,
  heartbeatKeyOf,
  keyOf,
  RUN_KEY,
  type TrainingProgress,
} from "./training-run.ts";

/** Most bytes of one value in Redis, whose own limit is 512 MiB. */
const PIECE = 1 << 26;
/** Shortest and longest pause between two requests while waiting, in milliseconds. */
const [SHORTEST_PAUSE, LONGEST_PAUSE] = [1, 50];
/**
 * Milliseconds for which a rank is missed before it counts as dead. All ranks connect again when Redis has
 * been started again, some later than others.
 */
const GONE_AFTER = 5000;
/** Least milliseconds between two reports of progress. */
const TOLD_EVERY = 1000;

export interface RankOptions {
  readonly rank: number;
  readonly size: number;
  /** Seconds that a rank waits for another one, or for Redis. */
  readonly timeout: number;
  readonly signal: AbortSignal;
}

/**
 * The ranks of one training run, which meet on a Redis. Rank 0 begins the run; the others send what they
 * are about to train; when all are there and agree, rank 0 lets them start. Values pass through keys that are
 * removed when all have read them, and expire if nobody does. A rank whose process dies, or whose machine is
 * cut off, no longer sets its key of a heartbeat, which the others miss.
 */
export class RedisRanks implements Transport {
  readonly #redis: Redis;
  readonly #heartbeat: Heartbeat;
  readonly #options: RankOptions;
  /** Keys of what this rank has sent, by its name. */
  readonly #sent = new Map<string, string[]>();
  #runId = "";
  #told = Number.NEGATIVE_INFINITY;

  private constructor(redis: Redis, heartbeat: Heartbeat, options: RankOptions) {
    this.#redis = redis;
    this.#heartbeat = heartbeat;
    this.#options = options;
  }

  /**
   * Connects; rank 0 begins the run.
   * @throws BlockscaleError `option`: a library is missing; `io`: no Redis, or one that another run uses
   */
  static async open(connection: Connection, options: RankOptions): Promise<RedisRanks> {
    const redis = await openRedis(connection, 1000 * options.timeout);
    let heartbeat: Heartbeat | undefined;
    try {
      heartbeat = await Heartbeat.start(connection);
      const ranks = new RedisRanks(redis, heartbeat, options);
      if (options.rank === 0) await ranks.#begin();
      return ranks;
    } catch (error) {
      redis.disconnect();
      await heartbeat?.stop();
      throw error;
    }
  }

  async #begin(): Promise<void> {
    const before = await this.#ask((redis) => redis.get(RUN_KEY));
    if (before !== null && (await this.#isBeating(before))) throw replaced("another one, which goes on");
    await this.#enter(randomUUID());
    // It does not expire: a Redis that has lost this key has lost what was sent too.
    await this.#ask((redis) => redis.set(RUN_KEY, this.#runId));
  }

  /** Whether rank 0 of a run sets its key again. One that has died leaves a key that expires. */
  async #isBeating(runId: string): Promise<boolean> {
    for (let before = Infinity; ; await setTimeout(LONGEST_PAUSE)) {
      this.#options.signal.throwIfAborted();
      const left = await this.#ask((redis) => redis.pttl(heartbeatKeyOf(runId, 0)));
      if (left < 0 || left > before) return left > 0;
      before = left;
    }
  }

  /** Lets the others see this rank in a run. */
  async #enter(runId: string): Promise<void> {
    const key = heartbeatKeyOf(runId, this.#options.rank);
    await this.#ask((redis) => beat(redis, key));
    this.#heartbeat.keep(key);
    this.#runId = runId;
  }

  async #isPresent(runId: string, rank: number): Promise<boolean> {
    const [isPresent] = await this.#ask((redis) => arePresent(redis, runId, [rank]));
    return isPresent === true;
  }

  /**
   * Waits until all ranks are there.
   * @throws BlockscaleError `io`: not in time; `option`: a rank is about to train something else
   */
  async join(own: Agreed): Promise<void> {
    await (this.#options.rank === 0 ? this.#lead(own) : this.#follow(own));
  }

  async #lead(own: Agreed): Promise<void> {
    const processIds = ["0"];
    for (let rank = 1; rank < this.#options.size; rank++) {
      const hello = await this.#wait(rank, this.#key(`hello:${rank}`), false);
      processIds.push(checkHello(hello, rank, own));
    }
    await this.#set(this.#key("go"), JSON.stringify(processIds));
  }

  async #follow(own: Agreed): Promise<void> {
    const processId = randomUUID();
    const { rank } = this.#options;
    await this.#until(0, async () => {
      if (this.#runId !== "") await this.#refuseStopped();
      const runId = await this.#findRun();
      if (runId === null) return null;
      const go = await this.#ask((redis) => redis.get(keyOf(runId, "go")));
      if (go !== null) return isListed(go, rank, processId) ? true : null;
      if (runId !== this.#runId) await this.#enter(runId);
      await this.#set(this.#key(`hello:${rank}`), JSON.stringify({ processId, own }));
      return null;
    });
  }

  /** The id of the run whose rank 0 is alive. One that died leaves its id, which the next one replaces. */
  async #findRun(): Promise<string | null> {
    const runId = (await this.#ask((redis) => redis.get(RUN_KEY))) ?? "";
    return /^[0-9a-f-]{36}$/.test(runId) && (await this.#isPresent(runId, 0)) ? runId : null;
  }

  /** Shows in `status` how far the training is. Nothing depends on it. */
  tell(progress: Omit<TrainingProgress, "size">): void {
    const { rank, size } = this.#options;
    if (rank !== 0 || performance.now() - this.#told < TOLD_EVERY) return;
    this.#told = performance.now();
    this.#set(this.#key("progress"), JSON.stringify({ ...progress, size })).catch(() => {});
  }

  async send(name: string, bytes: Uint8Array): Promise<void> {
    const keys: string[] = [];
    this.#sent.set(name, keys);
    for (let at = 0; at < bytes.length; at += PIECE) {
      keys.push(this.#key(`${name}:${this.#options.rank}:${at}`));
      const piece = bytes.subarray(at, at + PIECE);
      await this.#set(keys.at(-1)!, Buffer.from(piece.buffer, piece.byteOffset, piece.length));
    }
  }

  async receive(rank: number, name: string, length: number): Promise<Uint8Array> {
    const pieces: Buffer[] = [];
    for (let at = 0; at < length; at += PIECE) {
      const piece = await this.#wait(rank, this.#key(`${name}:${rank}:${at}`));
      if (piece.length !== Math.min(PIECE, length - at)) throw otherLength(rank, length, at + piece.length);
      pieces.push(piece);
    }
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
  }

  async forget(name: string): Promise<void> {
    await this.#ask((redis) => redis.del(this.#sent.get(name) ?? []));
    this.#sent.delete(name);
  }

  /** Tells the other ranks why this one stops, if Redis is there. */
  async stop(error: unknown): Promise<void> {
    if (this.#redis.status !== "ready") return;
    const { rank } = this.#options;
    const reason = (error instanceof Error ? error.message : String(error)).slice(0, LONGEST_MESSAGE);
    try {
      // This rank may not have met rank 0 yet, which may be waiting for it.
      if (this.#runId === "") this.#runId = await this.#findWaitingRun();
      if (this.#runId !== "") await this.#set(this.#key("stop"), JSON.stringify({ rank, reason }), true);
    } catch {
      // The others will miss this one.
    }
  }

  /** The id of the run whose rank 0 still waits for ranks, empty if there is none. */
  async #findWaitingRun(): Promise<string> {
    const runId = await this.#findRun();
    if (runId === null) return "";
    return (await this.#ask((redis) => redis.exists(keyOf(runId, "go")))) === 0 ? runId : "";
  }

  /** Ends the run and the connection. */
  async close(): Promise<void> {
    const { rank } = this.#options;
    const redis = this.#redis;
    if (rank === 0 && redis.status === "ready") {
      const runId = await redis.get(RUN_KEY).catch(() => null);
      if (runId === this.#runId) await redis.del(RUN_KEY).catch(() => 0);
    }
    redis.disconnect();
    await this.#heartbeat.stop();
  }

  #key(name: string): string {
    return keyOf(this.#runId, name);
  }

  async #set(key: string, value: string | Buffer, onlyFirst = false): Promise<void> {
    const seconds = 2 * this.#options.timeout + 60;
    await this.#ask((redis) =>
      onlyFirst ? redis.set(key, value, "EX", seconds, "NX") : redis.set(key, value, "EX", seconds),
    );
  }

  /**
   * Waits until a key has a value.
   * @param hasCome whether the rank that sets it has been there
   */
  #wait(rank: number, key: string, hasCome = true): Promise<Buffer> {
    // When the rank was first found missing. Time without Redis does not count: then nobody can be found.
    let missingSince = Infinity;
    return this.#until(rank, async () => {
      const [value, runId] = await this.#ask((redis) => redis.mgetBuffer(key, RUN_KEY));
      if (value) return value;
      await this.#refuseStopped();
      if (runId?.toString() !== this.#runId)
        throw replaced(runId ? "another rank 0 that has begun" : "a Redis that has forgotten it");
      const isMissing = hasCome && !(await this.#isPresent(this.#runId, rank));
      missingSince = isMissing ? Math.min(missingSince, performance.now()) : Infinity;
      if (performance.now() - missingSince > GONE_AFTER) throw gone(rank, (ALIVE_FOR + GONE_AFTER) / 1000);
      return null;
    });
  }

  async #refuseStopped(): Promise<void> {
    const stop = await this.#ask((redis) => redis.get(this.#key("stop")));
    if (stop !== null) throw stopped(stop.slice(0, 2 * LONGEST_MESSAGE));
  }

  /** Calls `read` until it gives a value. @param rank the rank to wait for */
  async #until<T>(rank: number, read: () => Promise<T | null>): Promise<T> {
    const { timeout, signal } = this.#options;
    const end = performance.now() + 1000 * timeout;
    for (let pause = SHORTEST_PAUSE; ; pause = Math.min(LONGEST_PAUSE, 2 * pause)) {
      signal.throwIfAborted();
      const found = await read();
      if (found !== null) return found;
      if (performance.now() > end) throw late(rank, timeout);
      await setTimeout(pause);
    }
  }

  async #ask<T>(command: (redis: Redis) => Promise<T>): Promise<T> {
    try {
      return await command(this.#redis);
    } catch (cause) {
      const error = redisErrorOf(cause);
      if (error instanceof BlockscaleError) throw error;
      throw new BlockscaleError(
        "io",
        {
          where: "--queue",
          expected: `a Redis that answers within ${this.#options.timeout} s`,
          got: cause instanceof Error ? cause.message : "no answer",
          fix: "Start all ranks again: they go on from the last checkpoint.",
        },
        { cause },
      );
    }
  }
}
