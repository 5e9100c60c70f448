// Why the ranks of a training stop.
import { BlockscaleError } from "../../tensor/errors.ts";
import { parsed } from "../spec.ts";

export function late(rank: number, timeout: number): BlockscaleError {
  return new BlockscaleError("io", {
    where: `train: rank ${rank}`,
    expected: `it to come within ${timeout} s (--timeout)`,
    got: "nothing",
    fix: "Start all ranks again: they go on from the last checkpoint.",
  });
}

export function stopped(stop: string): BlockscaleError {
  const { rank, reason } = (parsed(stop) ?? {}) as { rank?: unknown; reason?: unknown };
  return new BlockscaleError("io", {
    where: `train: rank ${Number(rank)}`,
    expected: "it to go on",
    got: `it stopped: ${String(reason).slice(0, 2000).replace(/\.$/, "")}`,
    fix: "Fix the cause, then start all ranks again: they go on from the last checkpoint.",
  });
}

/** @param seconds without a heartbeat */
export function gone(rank: number, seconds: number): BlockscaleError {
  return new BlockscaleError("io", {
    where: `train: rank ${rank}`,
    expected: "a heartbeat of it on Redis every few seconds",
    got: `none for ${seconds} s`,
    fix: "See whether its process died or its network was cut off, then start all ranks again: they go on from the last checkpoint.",
  });
}

export function replaced(got: string): BlockscaleError {
  return new BlockscaleError("io", {
    where: "train: --queue",
    expected: "one training run on a database of Redis, which stays there",
    got,
    fix: "Start all ranks again: they go on from the last checkpoint. Another run needs another database: redis://HOST:PORT/1.",
  });
}

export function otherLength(rank: number, expected: number, got: number): BlockscaleError {
  return new BlockscaleError("format", {
    where: `train: rank ${rank}`,
    expected: `${expected} bytes`,
    got: `${got} bytes`,
    fix: "Give this run a Redis of its own, or a database of its own (redis://HOST:PORT/1).",
  });
}
