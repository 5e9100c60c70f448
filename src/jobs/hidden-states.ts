import { createHash } from "node:crypto";
import type { StateStore } from "../evaluate/layers.ts";
import { createAt, openAt, placeIn, removeAt } from "../io/place.ts";
import { readRange, type Source } from "../io/source.ts";
import { sampleHashOf } from "./sample-hash.ts";
import { hasKeys } from "./spec.ts";

/** Bytes that are read or written at a time: hidden states may take many gigabytes. */
const PIECE = 1 << 24;
/** Bytes of the line in front, at most. */
const LONGEST_LINE = 256;

/** Hidden states in a file: a line of JSON that says what they belong to, then float32. */
export class FileStates implements StateStore {
  readonly #place: string;
  readonly #key: string;

  /**
   * @param folder a folder, or a prefix in object storage
   * @param name of the model among those of an evaluation
   * @param key what the states depend on: those of another key are not taken up
   */
  constructor(folder: string, name: string, key: string) {
    this.#place = placeIn(folder, `${name}.states`);
    this.#key = key;
  }

  /** @throws BlockscaleError `io`: a file that is there cannot be read */
  async read(): Promise<{ layers: number; states: Float32Array } | null> {
    const source = await openAt(this.#place).catch(() => null);
    if (source === null) return null;
    try {
      const front = await readRange(this.#place, source, 0, Math.min(LONGEST_LINE, source.size));
      const start = front.indexOf(10) + 1;
      const layers = this.#layersIn(new TextDecoder().decode(front.subarray(0, start)));
      const size = source.size - start;
      // Not what this program wrote of these models and this text: the run begins anew.
      if (layers === null || size % 4 !== 0) return null;
      const bytes = new Uint8Array(size);
      for (let at = 0; at < size; at += PIECE) {
        const end = Math.min(size, at + PIECE);
        bytes.set(await readRange(this.#place, source, start + at, start + end), at);
      }
      return { layers, states: new Float32Array(bytes.buffer) };
    } finally {
      await source.close();
    }
  }

  #layersIn(line: string): number | null {
    try {
      const found: unknown = JSON.parse(line);
      const isOurs = hasKeys(found, ["key", "layers"]) && found.key === this.#key;
      return isOurs && Number.isInteger(found.layers) ? (found.layers as number) : null;
    } catch {
      return null;
    }
  }

  /** @throws BlockscaleError `io` */
  async write(layers: number, states: Float32Array): Promise<void> {
    const line = new TextEncoder().encode(`${JSON.stringify({ key: this.#key, layers })}\n`);
    const bytes = new Uint8Array(states.buffer, states.byteOffset, states.byteLength);
    const writer = (await createAt(this.#place, line.length + bytes.length)).getWriter();
    try {
      await writer.write(line);
      for (let at = 0; at < bytes.length; at += PIECE) await writer.write(bytes.subarray(at, at + PIECE));
      await writer.close();
    } catch (error) {
      await writer.abort(error).catch(() => {});
      throw error;
    }
  }

  remove(): Promise<void> {
    return removeAt(this.#place);
  }
}

/** A hash of what hidden states depend on: the files of the model, the ids, and the settings of the run. */
export async function stateKey(
  files: ReadonlyMap<string, Source>,
  ids: Int32Array,
  settings: readonly unknown[],
): Promise<string> {
  const hash = createHash("sha256").update(ids);
  hash.update(JSON.stringify(settings));
  for (const [file, source] of files) {
    if (!/\.(safetensors|json)$/.test(file)) continue;
    hash.update(await sampleHashOf(file, source));
  }
  return hash.digest("hex");
}
