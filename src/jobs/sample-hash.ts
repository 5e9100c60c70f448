import { createHash } from "node:crypto";
import { readRange, type Source } from "../io/source.ts";

/** The number of places in a file that a sample hash covers, spread evenly, and the bytes of each. */
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
 * SHA-256 over samples of a file, taken while the file is written. With it a file of hundreds of gigabytes
 * can be recognised without reading it again. It notices a file that is cut off, has holes or is another one,
 * but perhaps not a change of a few bytes.
 */
export class SampleHash {
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
 * The sample hash of an existing file.
 * @throws BlockscaleError `io`
 */
export async function sampleHashOf(name: string, source: Source): Promise<string> {
  const hash = createHash("sha256");
  const pieces = [...placesIn(source.size)].map(([start, end]) => readRange(name, source, start, end));
  for (const piece of await Promise.all(pieces)) hash.update(piece);
  return hash.digest("hex");
}
