import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { evaluationOf, type ScoredToken } from "../../src/evaluate/evaluate.ts";
import type { Source } from "../../src/io/source.ts";
import { packScores, scoreText, unpackScores } from "../../src/jobs/evaluation.ts";
import { evaluationWork } from "../../src/jobs/queue/evaluation.ts";
import { openFolder } from "../../src/node.ts";

const CONTEXT = 64;
const spec = { context: CONTEXT, activations: "f32", weights: "codes", cache: "f32" } as const;

function idsIn(path: string): Int32Array {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  return new Int32Array(bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length));
}

const place = new URL("../evaluate/models/deepseek_v3/", import.meta.url).pathname;
const ids = idsIn(`${place}tokens.safetensors`).subarray(0, 5 * CONTEXT);

async function scored(first: number, last: number, threads: number, apart = false): Promise<ScoredToken[]> {
  const model = await openFolder(place);
  const chunks = ids.subarray(first * CONTEXT, last * CONTEXT);
  const options = { threads, apart, signal: new AbortController().signal, forModel: async () => ({}) };
  const scores = await scoreText(spec, { model, reference: null }, chunks, options);
  for (const file of model.values()) await file.close();
  return scores.map((score) => ({ ...score, index: score.index + first * CONTEXT }));
}

test("a text scored in pieces, on other numbers of threads, gives every digit of the whole", async () => {
  const whole = await scored(0, 5, 1);
  const pieces = [await scored(0, 2, 2), await scored(2, 3, 1, true), await scored(3, 5, 3)].flat();
  expect(pieces).toEqual(whole);
  expect(evaluationOf(CONTEXT, pieces)).toEqual(evaluationOf(CONTEXT, whole));
  expect(evaluationOf(CONTEXT, whole).perplexity).toBeGreaterThan(100);
});

/** A model of which the header can be read and nothing else; with another vocabulary, if one is given. */
function withoutWeights(name: string, vocabulary = 320): Map<string, Source> {
  const folder = new URL(`../model/models/${name}/`, import.meta.url);
  const file = readFileSync(new URL("model.safetensors", folder));
  const config = { ...JSON.parse(`${readFileSync(new URL("config.json", folder))}`), vocab_size: vocabulary };
  const { __metadata__: _, ...tensors } = JSON.parse(
    file.toString("utf8", 8, 8 + Number(file.readBigUInt64LE(0))),
  );
  let end = 0;
  for (const [tensor, { shape, data_offsets: offsets }] of Object.entries<Entry>(tensors)) {
    const rows = /embed_tokens|lm_head/.test(tensor) ? vocabulary : shape[0]!;
    const bytes = ((offsets[1]! - offsets[0]!) / shape[0]!) * rows;
    Object.assign(tensors[tensor], { shape: [rows, ...shape.slice(1)], data_offsets: [end, end + bytes] });
    end += bytes;
  }
  const header = Buffer.from(JSON.stringify(tensors));
  const front = Buffer.concat([Buffer.alloc(8), header]);
  front.writeBigUInt64LE(BigInt(header.length));
  const slice = (start: number, stop: number) => {
    // The read of the header, which is at the front, goes on into what follows.
    if (start > 0) throw new Error("a weight is read");
    return new Blob([front.subarray(0, stop), new Uint8Array(Math.max(0, stop - front.length))]);
  };
  return new Map<string, Source>([
    ["config.json", new Blob([JSON.stringify(config)])],
    ["model.safetensors", { size: front.length + end, slice }],
  ]);
}

interface Entry {
  readonly shape: readonly number[];
  readonly data_offsets: readonly number[];
}

describe("before a weight is read", () => {
  const some = Int32Array.from({ length: CONTEXT }, (_, i) => i);
  const run = (ids: Int32Array, reference: Map<string, Source> | null = null, context = CONTEXT) =>
    scoreText({ ...spec, context }, { model: withoutWeights("qwen3"), reference }, ids, {
      threads: 1,
      signal: new AbortController().signal,
      forModel: async () => ({}),
    });

  test("a text and a reference that fit pass", async () => {
    await expect(run(some, withoutWeights("llama"))).rejects.toThrow(/a weight is read/);
  });

  test("a token outside the vocabulary, and a text or a context that does not fit, are refused", async () => {
    for (const stranger of [-1, 320, 2 ** 31 - 1]) {
      const ids = some.map((id, i) => (i === 3 ? stranger : id));
      await expect(run(ids)).rejects.toThrow(/token 3: .*from 0 to 319/);
    }
    await expect(run(some.slice(1))).rejects.toThrow(/at least one context of 64 tokens, got 63/);
    await expect(run(some, null, 4096)).rejects.toThrow(/at most 512 tokens/);
  });

  test("a reference that does not fit is refused", async () => {
    await expect(run(some, withoutWeights("bert"))).rejects.toThrow(/an encoder/);
    await expect(run(some, withoutWeights("llama", 352))).rejects.toThrow(/the same vocabulary, got 352/);
  });
});

describe("scores on their way", () => {
  const scores: ScoredToken[] = [
    { base: -0.1, other: -1 / 3, divergence: 5e-324, sameTop: true, index: 10 },
    { base: -1e-17, other: -700.123456789, divergence: Math.PI, sameTop: false, index: 11 },
    { base: -2, other: -3, divergence: 0, sameTop: true, index: 14 },
    { base: -4, other: -5, divergence: 1, sameTop: true, index: 15 },
  ];
  const text = packScores(scores);

  test("keep every bit and their places", () => expect(unpackScores(text, 4, [2, 4])).toEqual(scores));

  test("of other chunks, or of none, are not taken", () => {
    for (const [one, chunks] of [
      [text, [2, 5]],
      [text, [2, 3]],
      [text.slice(0, -4), [2, 4]],
      ["", [2, 4]],
      [null, [2, 4]],
      [[scores], [2, 4]],
      [packScores([{ ...scores[0]!, other: Number.NaN }, scores[1]!]), [2, 3]],
    ] as const)
      expect(unpackScores(one, 4, chunks)).toBeNull();
  });

  test("are put together in the order of the text, however they come", async () => {
    const evaluation = {
      format: 1,
      version: "1",
      model: "/m",
      against: null,
      context: 4,
      activations: "f32",
      weights: "codes",
      cache: "f32",
      variant: "baseline",
      fingerprint: "f",
    } as const;
    const { work, scores: taken } = evaluationWork(
      evaluation,
      Int32Array.from({ length: 19 }, (_, i) => i),
      3,
    );
    expect(work.items.map(({ name, size }) => `${name}: ${size}`)).toEqual([
      "chunks 1 to 3: 12",
      "chunk 4: 4",
    ]);
    expect(new Set(work.items.map(({ id }) => id)).size).toBe(2);
    const packed = (count: number) =>
      packScores(Array.from({ length: count }, (_, i) => ({ ...scores[0]!, base: -i, index: 0 })));
    expect(await work.accept(work.items[1]!, { scores: packed(3) })).toBe(false);
    expect(await work.accept(work.items[1]!, { scores: packed(2), more: 1 })).toBe(false);
    expect(await work.accept(work.items[1]!, { scores: packed(2) })).toBe(true);
    expect(await work.accept(work.items[0]!, { scores: packed(6) })).toBe(true);
    expect(taken().map(({ index }) => index)).toEqual([2, 3, 6, 7, 10, 11, 14, 15]);
    expect(taken().map(({ base }) => base)).toEqual([-0, -1, -2, -3, -4, -5, -0, -1]);
  });
});
