import type { FilePlan } from "../checkpoint/plan/plan.ts";
import { BlockscaleError } from "../tensor/errors.ts";

/** Which part of the output files this machine makes: part 2 of 8, for example. */
export interface PartNumber {
  /** Number of the part, from 1 to `of`. */
  readonly part: number;
  readonly of: number;
}

/**
 * The files of one part. Files are assigned from the largest to the smallest, each to the first part with the
 * fewest bytes so far; so all machines with the same plan get the same parts.
 */
export function filesOfPart(files: readonly FilePlan[], { part, of }: PartNumber): FilePlan[] {
  const bytes = new Array<number>(of).fill(0);
  const mine: FilePlan[] = [];
  const bySize = [...files].sort((a, b) => b.size - a.size || (a.name < b.name ? -1 : 1));
  for (const file of bySize) {
    const least = bytes.indexOf(Math.min(...bytes));
    bytes[least]! += file.size;
    if (least === part - 1) mine.push(file);
  }
  return mine;
}

/** Parts that a conversion or an evaluation may be cut into. */
export const MOST_PARTS = 100_000;

/**
 * Reads `2/8`.
 * @throws BlockscaleError `option`
 */
export function parsePart(text: string): PartNumber {
  const [part, of] = /^[0-9]{1,6}\/[0-9]{1,6}$/.test(text) ? text.split("/").map(Number) : [0, 0];
  if (part! >= 1 && part! <= of! && of! <= MOST_PARTS) return { part: part!, of: of! };
  throw new BlockscaleError("option", {
    where: "--part",
    expected: `a part and how many there are, such as 1/8 to 8/8; at most ${MOST_PARTS}`,
    got: JSON.stringify(text),
    fix: "Parts count from 1: an index that counts from 0 needs one more.",
  });
}
