import { createHash } from "node:crypto";
import { readRange, type Source } from "../io/source.ts";

/** Places of a file that are looked at, spread evenly from its first byte to its last, and bytes in each. */
const PLACES = 32;
const LENGTH = 1 << 14;

function* placesIn(size: number): Generator<[start: number, end: number]> {
  if (size <= PLACES * LENGTH) return yield [0, size];
  for (let i = 0; i < PLACES; i++) {
    const start = Math.floor((i * (size - LENGTH)) / (PLACES - 1));
    yield [start, start + LENGTH];
  }
}

/**
 * A short stand-in for the contents of a file, taken while it is written: whether it is still the same can
 * then be told without reading hundreds of gigabytes again. A change of a few bytes by hand may escape it; a
 * file that is empty in places, cut off, or another one does not.
 */
export class Fingerprint {
  readonly #hash = createHash("sha256");
  readonly #places: readonly (readonly [start: number, end: number])[];
  #at = 0;

  /** @param size of the whole file */
  constructor(size: number) {
    this.#places = [...placesIn(size)];
  }

  /** Takes in the next bytes. */
  update(bytes: Uint8Array): void {
    for (const [start, end] of this.#places) {
      const from = Math.max(0, start - this.#at);
      const to = Math.min(bytes.length, end - this.#at);
      if (from < to) this.#hash.update(bytes.subarray(from, to));
    }
    this.#at += bytes.length;
  }

  digest(): string {
    return this.#hash.digest("hex");
  }
}

/**
 * The fingerprint of a file that is there.
 * @throws BlockscaleError `io`
 */
export async function fingerprintOf(name: string, source: Source): Promise<string> {
  const hash = createHash("sha256");
  const pieces = [...placesIn(source.size)].map(([start, end]) => readRange(name, source, start, end));
  for (const piece of await Promise.all(pieces)) hash.update(piece);
  return hash.digest("hex");
}
