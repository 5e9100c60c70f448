import { isAbsolute } from "node:path";
import { isWithin } from "../../io/node-folder.ts";
import { isAddress } from "../../io/place.ts";
import { isS3 } from "../../io/s3.ts";
import { BlockscaleError } from "../../tensor/errors.ts";

/** Places that a job reads, and those that it writes. */
export interface Places {
  readonly reads: readonly string[];
  readonly writes: readonly string[];
}

/**
 * Refuses what a worker was not allowed to read or write. Whoever can write into
 * the queue could ask for any file otherwise.
 * @param allowed folders, and beginnings of addresses
 * @throws BlockscaleError `option`
 */
export async function refusePlaces({ reads, writes }: Places, allowed: readonly string[]): Promise<void> {
  const isAllowed = async (place: string): Promise<boolean> => {
    const checks = allowed.map((one) =>
      isAddress(place) ? isBelow(one, place) : !isAddress(one) && isAbsolute(place) && isWithin(one, place),
    );
    return (await Promise.all(checks)).some(Boolean);
  };
  const refuse = (place: string): never => {
    throw new BlockscaleError("option", {
      where: "a job of the queue",
      expected: `places that this worker may use: ${allowed.join(", ")}`,
      got: place.slice(0, 300),
      fix: "If the job is right, start the worker with --allow and the folder or the beginning of the address.",
    });
  };
  for (const place of reads) if (!(await isAllowed(place))) refuse(`IN ${place}`);
  for (const place of writes) {
    if ((isAddress(place) && !isS3(place)) || !(await isAllowed(place))) refuse(`OUT ${place}`);
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
export function refuseSecrets(place: string): void {
  if (!isAddress(place) || !/^\w+:\/\/[^/]*@|\?/.test(place)) return;
  throw new BlockscaleError("option", {
    where: "IN",
    expected: "an address without user, password or query, since it is kept in the queue",
    got: "one that has some",
    fix: "Give workers what they need in their environment, such as HF_TOKEN.",
  });
}
