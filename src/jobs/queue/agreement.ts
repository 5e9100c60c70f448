import { isRecord } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import { hasKeys, parsed } from "../spec.ts";

// What ranks tell one another before they train.

/** Most characters of a message of a rank. */
export const LONGEST_MESSAGE = 2000;

/** What must be the same on all ranks, such as a digest of the "text", by name. */
export type Agreed = Readonly<Record<string, string | number>>;

/**
 * Checks what a rank says of the training that it is about to do, against that of rank 0.
 * @returns the id of the process that sent it
 * @throws BlockscaleError `format`, `option`: it is about to train something else
 */
export function checkHello(bytes: Buffer, rank: number, own: Agreed): string {
  const hello = bytes.length > LONGEST_MESSAGE ? undefined : parsed(bytes.toString());
  if (!hasKeys(hello, ["processId", "own"]) || typeof hello.processId !== "string" || !isRecord(hello.own))
    throw new BlockscaleError("format", {
      where: `train: rank ${rank}`,
      expected: "what it is about to train",
      got: "something else",
      fix: "Give this run a Redis of its own, or a database of its own (redis://HOST:PORT/1).",
    });
  const theirs = hello.own as Agreed;
  const other = Object.keys(own).find((name) => own[name] !== theirs[name]);
  if (other === undefined) return hello.processId;
  throw new BlockscaleError("option", {
    where: `train: rank ${rank}`,
    expected: `the ${other} of rank 0, ${own[other]}`,
    got: String(JSON.stringify(theirs[other] ?? "none")).slice(0, 100),
    fix: "Give all ranks the same command apart from --rank, the same files, and an OUT that they share.",
  });
}

/** Whether rank 0 has this process, and no earlier one of the same rank, in its list. */
export function isListed(go: string, rank: number, processId: string): boolean {
  const processIds = parsed(go);
  return Array.isArray(processIds) && processIds[rank] === processId;
}
