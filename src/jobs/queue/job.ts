import { createHash } from "node:crypto";
import { isAbsolute } from "node:path";
import { isWithin } from "../../io/node-folder.ts";
import { isAddress } from "../../io/place.ts";
import { isS3 } from "../../io/s3.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { checkSpec, hasKeys, isText, type Spec } from "../spec.ts";

/** What one job is to make: one output file of a run. */
export interface JobData {
  readonly spec: Spec;
  /** The output folder, as every machine sees it. */
  readonly to: string;
  readonly file: string;
}

/** What a job has made. */
export interface JobResult {
  readonly size: number;
  readonly sha256: string;
  readonly worker: string;
}

/** How far a job is. */
export interface JobProgress {
  readonly bytes: number;
  readonly worker: string;
}

/** The same job has the same id, whoever asks for it and however often. */
export function jobId({ spec, to, file }: JobData): string {
  return createHash("sha256")
    .update(JSON.stringify([spec.fingerprint, to, file]))
    .digest("hex")
    .slice(0, 40);
}

/** @throws BlockscaleError `format`: no job of ours */
export function checkJob(value: unknown): JobData {
  const isJob = hasKeys(value, ["spec", "to", "file"]) && isText(value.to, 4096) && isText(value.file, 1024);
  if (!isJob) {
    throw new BlockscaleError("format", {
      where: "a job of the queue",
      expected: "a run, its output and a file",
      got: `${JSON.stringify(value)}`.slice(0, 200),
      fix: "Something else writes into this queue: give blockscale a Redis, or a database of one, by itself.",
    });
  }
  return {
    spec: checkSpec("a job of the queue", value.spec),
    to: value.to as string,
    file: value.file as string,
  };
}

export function isResult(value: unknown): value is JobResult {
  return (
    hasKeys(value, ["size", "sha256", "worker"]) &&
    Number.isSafeInteger(value.size) &&
    isText(value.sha256, 64) &&
    isText(value.worker, 200)
  );
}

/**
 * Refuses what a worker was not allowed to read or write. Whoever can write into the queue could ask for any file otherwise.
 * @param allowed folders, and beginnings of addresses
 * @throws BlockscaleError `option`
 */
export async function refusePlaces({ spec, to }: JobData, allowed: readonly string[]): Promise<void> {
  for (const place of [spec.from, to]) {
    const isWritten = place === to;
    const checks = allowed.map((one) =>
      isAddress(place) ? isBelow(one, place) : !isAddress(one) && isAbsolute(place) && isWithin(one, place),
    );
    if ((!isWritten || !isAddress(place) || isS3(place)) && (await Promise.all(checks)).some(Boolean))
      continue;
    throw new BlockscaleError("option", {
      where: "a job of the queue",
      expected: `places that this worker may use: ${allowed.join(", ")}`,
      got: `${isWritten ? "OUT" : "IN"} ${place}`.slice(0, 300),
      fix: "If it is right, start the worker with --allow and the folder or the beginning of the address.",
    });
  }
}

/** Whether an address lies below another, path by path, without parts that servers resolve. */
function isBelow(allowed: string, place: string): boolean {
  if (!isAddress(allowed) || /[?#@\\]|%2e|%2f|%5c/i.test(place.replace(/^hf:/, ""))) return false;
  if (place.split("/").some((part) => part === ".." || part === ".")) return false;
  const base = /[/:]$/.test(allowed) ? allowed : `${allowed}/`;
  return place === allowed || place.startsWith(base);
}

/**
 * Refuses addresses that hold a secret: they would stand in the queue for all to read.
 * @throws BlockscaleError `option`
 */
export function refuseSecrets(from: string): void {
  if (!isAddress(from) || !/^\w+:\/\/[^/]*@|\?/.test(from)) return;
  throw new BlockscaleError("option", {
    where: "IN",
    expected: "an address without user, password or query, since it is kept in the queue",
    got: "one that has some",
    fix: "Give workers what they need in their environment, such as HF_TOKEN.",
  });
}
