import { readFile } from "node:fs/promises";
import { systemFault } from "../io/node.ts";
import type { Source } from "../io/source.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { byteTokenizer } from "../train/byte-tokenizer.ts";
import { wordAt } from "../train/initial-values.ts";
import type { Trainer } from "../train/trainer.ts";

/** Most sequences of held-out text that the loss is computed on. */
const MOST_HELD_OUT = 16;

/** The texts of files, one after another. */
export async function readTexts(paths: readonly string[]): Promise<string> {
  const texts = paths.map((path) =>
    readFile(path, "utf8").catch((cause) => {
      throw systemFault(path, "a readable text file", cause);
    }),
  );
  return (await Promise.all(texts)).join("\n");
}

/** The files of the tokenizer: the one that was named, or else the model's, or else that of bytes. */
export async function tokenizerOf(
  name: string | undefined,
  model: ReadonlyMap<string, Source> | null,
): Promise<Map<string, Source>> {
  const own = [...(model ?? [])].filter(([file]) => /^tokenizer(_config)?\.json$/.test(file));
  if (name === undefined && own.length > 0) return new Map(own);
  if (name === undefined || name === "bytes") return byteTokenizer();
  const bytes = await readFile(name).catch((cause) => {
    throw systemFault(name, "a tokenizer.json", cause);
  });
  return new Map([["tokenizer.json", new Blob([bytes as BlobPart])]]);
}

/** The size of the vocabulary: the ids of the tokenizer, and at least those of the text. */
export function vocabularyOf(tokenizer: Tokenizer, ids: Int32Array): number {
  return Math.max(tokenizer.vocabulary, ids.reduce((most, id) => Math.max(most, id), 0) + 1);
}

/** The token ids of a text. Its last twentieth is held out: a model is tested on it, and never learns it. */
export class TrainingText {
  readonly ids: Int32Array;
  /** Tokens of a sequence: the context, and the one to predict last. */
  readonly width: number;
  /** Tokens to learn from; those after them are held out. */
  readonly #learned: number;

  /** @throws BlockscaleError `option`: not one sequence can be held out */
  constructor(ids: Int32Array, context: number) {
    this.ids = ids;
    this.width = context + 1;
    this.#learned = Math.floor(ids.length * 0.95);
    if (ids.length - this.#learned < this.width) throw tooShort(ids.length, 20 * this.width);
  }

  /** Rows `first` to `first + rows` of a step's batch, from places that the seed draws: rows x width. */
  batchAt(step: number, seed: number, first: number, rows: number): Int32Array {
    const { ids, width } = this;
    const batch = new Int32Array(rows * width);
    for (let row = 0; row < rows; row++) {
      const start = wordAt(seed, 2 ** 20 + step, first + row) % (this.#learned - width + 1);
      batch.set(ids.subarray(start, start + width), row * width);
    }
    return batch;
  }

  /** The mean loss on held-out sequences. */
  async heldOutLoss(trainer: Trainer): Promise<number> {
    const { ids, width } = this;
    const rows = Math.min(MOST_HELD_OUT, Math.floor((ids.length - this.#learned) / width));
    let sum = 0;
    for (let row = 0; row < rows; row++) {
      const start = this.#learned + row * width;
      sum += await trainer.loss(ids.slice(start, start + width), [1, width]);
    }
    return sum / rows;
  }
}

function tooShort(found: number, needed: number): BlockscaleError {
  return new BlockscaleError("option", {
    where: "train",
    expected: `at least ${needed} tokens of text, of which a twentieth is held out`,
    got: String(found),
    fix: "Give more text, or a smaller --context.",
  });
}
