import { describe, expect, test } from "vitest";
import type { Model } from "../../src/model/model.ts";
import { openModel } from "../../src/model/open.ts";
import type { ModelOptions } from "../../src/model/options.ts";
import { logProbabilityOf } from "../../src/model/sampler.ts";
import { answersOf, DECODERS, decibels, ENCODERS, filesOf, plainFilesOf } from "../support/models.ts";

const TOKENS = 33;

async function using<T>(
  files: ReadonlyMap<string, Blob>,
  options: ModelOptions,
  action: (model: Model) => Promise<T>,
): Promise<T> {
  const model = await openModel(files, options);
  try {
    return await action(model);
  } finally {
    await model.close();
  }
}

async function greedy(model: Model, prompt: Int32Array, maxTokens: number): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of model.generate(prompt, { maxTokens, temperature: 0 })) ids.push(id);
  return ids;
}

const WAYS = [
  ["baseline, 1 thread", { variant: "baseline", threads: 1 }],
  ["relaxed, 1 thread", { variant: "relaxed", threads: 1 }],
  ["3 threads", { threads: 3 }],
] as const;

describe.each(DECODERS)("%s", (name) => {
  test.each(WAYS)("logits and greedy tokens are those of transformers: %s", async (_, options) => {
    const answers = await answersOf(name);
    const [ids, logits] = [answers.ints("ids"), answers.floats("logits")];
    await using(filesOf(name), options, async (model) => {
      for (const row of [0, 1]) {
        const found = await model.logits(ids.subarray(row * TOKENS, (row + 1) * TOKENS));
        const half = logits.length / 2;
        const expected = logits.subarray(row * half, (row + 1) * half);
        expect(decibels(expected, found)).toBeGreaterThan(100);
      }
      expect(await greedy(model, ids.subarray(0, 8), 12)).toEqual([...answers.ints("greedy")]);
      // Once more, from a cache that holds the beginning already.
      expect(await greedy(model, ids.subarray(0, 8), 12)).toEqual([...answers.ints("greedy")]);
    });
  });

  test("a prompt that goes in pieces ends as logits say: 2 threads", async () => {
    // The first piece is 192 tokens, of which the last layer computes keys and values alone.
    const ids = Int32Array.from({ length: 230 }, (_, i) => 1 + ((i * 37) % 250));
    const options = { temperature: 0, maxTokens: 3, logProbabilities: true };
    await using(filesOf(name), { threads: 2 }, async (model) => {
      const found = [];
      for await (const token of model.generate(ids, options)) found.push(token);
      expect(found.length).toBe(3);
      const all = await model.logits([...ids, ...found.map(({ id }) => id)], { from: ids.length - 1 });
      const { vocabulary } = model.config;
      for (const [i, { id, logProbability }] of found.entries()) {
        const logits = all.subarray(i * vocabulary, (i + 1) * vocabulary);
        expect(id).toBe(logits.indexOf(Math.max(...logits)));
        expect(logProbability).toBeCloseTo(logProbabilityOf(logits, id), 4);
      }
    });
  });

  test("in bfloat16, and with a cache of codes", async () => {
    const answers = await answersOf(name);
    const ids = answers.ints("ids").subarray(0, TOKENS);
    const expected = answers.floats("logits").subarray(0, answers.floats("logits").length / 2);
    await using(await plainFilesOf(name), {}, async (model) => {
      expect(decibels(expected, await model.logits(ids))).toBeGreaterThan(100);
    });
    await using(filesOf(name), { cache: "fp8" }, async (model) => {
      // What E4M3 keys and values cost in these models of random weights, sharp as they are.
      expect(decibels(expected, await model.logits(ids))).toBeGreaterThan(10);
    });
  });
});

describe.each(ENCODERS)("%s", (name) => {
  test.each(WAYS)("hidden states and vectors are those of transformers: %s", async (_, options) => {
    const answers = await answersOf(name);
    const [all, mask] = [answers.ints("ids"), answers.ints("mask")];
    const lists = [0, 1].map((row) =>
      all.subarray(row * TOKENS, (row + 1) * TOKENS).filter((_, i) => mask[row * TOKENS + i]),
    );
    await using(filesOf(name), options, async (model) => {
      for (const pooling of ["mean", "cls"] as const) {
        const expected = answers.floats(pooling);
        const size = expected.length / 2;
        const vectors = await model.embed(lists, { pooling });
        for (const [row, vector] of vectors.entries())
          expect(decibels(expected.subarray(row * size, (row + 1) * size), vector)).toBeGreaterThan(100);
        // Each text by itself gives the same as both together.
        const alone = await model.embed([lists[1]!], { pooling });
        expect(decibels(vectors[1]!, alone[0]!)).toBeGreaterThan(100);
      }
      const hidden = answers.floats("hidden");
      const states = await model.hidden(lists[0]!);
      expect(decibels(hidden.subarray(0, states.length), states)).toBeGreaterThan(100);
    });
  });

  test("in bfloat16", async () => {
    const answers = await answersOf(name);
    const ids = answers.ints("ids").subarray(0, TOKENS);
    await using(await plainFilesOf(name), {}, async (model) => {
      const states = await model.hidden(ids);
      const hidden = answers.floats("hidden").subarray(0, states.length);
      expect(decibels(hidden, states)).toBeGreaterThan(100);
    });
  });
});
