import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { evaluationOf, type ScoredToken } from "../../src/evaluate/evaluate.ts";
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
    expect(await work.take(work.items[1]!, { scores: packed(3) })).toBe(false);
    expect(await work.take(work.items[1]!, { scores: packed(2), more: 1 })).toBe(false);
    expect(await work.take(work.items[1]!, { scores: packed(2) })).toBe(true);
    expect(await work.take(work.items[0]!, { scores: packed(6) })).toBe(true);
    expect(taken().map(({ index }) => index)).toEqual([2, 3, 6, 7, 10, 11, 14, 15]);
    expect(taken().map(({ base }) => base)).toEqual([-0, -1, -2, -3, -4, -5, -0, -1]);
  });
});
