import { describe, expect, test } from "vitest";
import { openModel } from "../../src/model/open.ts";
import type { BlockscaleError } from "../../src/tensor/errors.ts";
import { decibels, filesOf } from "../support/models.ts";
import { tokenizerFiles } from "../support/tokenizer-files.ts";

const withTokenizer = (name: string): Map<string, Blob> => new Map([...filesOf(name), ...tokenizerFiles()]);

/** A model with NaN in the embedding of a token. */
async function withNaN(name: string, token: number): Promise<Map<string, Blob>> {
  const files = filesOf(name);
  const bytes = new Uint8Array(await files.get("model.safetensors")!.arrayBuffer());
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const { dtype, shape, data_offsets: offsets } = header["model.embed_tokens.weight"];
  expect(dtype).toBe("BF16");
  new DataView(bytes.buffer).setUint16(8 + length + offsets[0] + 2 * token * shape[1], 0x7fc0, true);
  return new Map([...files, ["model.safetensors", new Blob([bytes])]]);
}

/** The code of the error that something fails with. */
async function failing(action: Promise<unknown>): Promise<string> {
  return action.then(
    () => "none",
    (error: BlockscaleError) => `${error.code}: ${error.message}`,
  );
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const value of values) found.push(value);
  return found;
}

describe("a model", () => {
  test("generates text, ends at a stop text and goes on from what it knows", async () => {
    const model = await openModel(withTokenizer("qwen3"));
    const tokens = await all(model.generate("the end", { maxTokens: 30, seed: 1, logProbabilities: true }));
    const text = tokens.map((token) => token.text).join("");
    const ids = tokens.filter(({ id }) => id >= 0).map(({ id }) => id);
    expect(ids.length).toBe(30);
    expect(text).toBe(model.tokenizer!.decode(ids));
    for (const { id, logProbability } of tokens) if (id >= 0) expect(logProbability).toBeLessThan(0);
    const again = await all(model.generate("the end", { maxTokens: 30, seed: 1 }));
    expect(again.map(({ id }) => id)).toEqual(tokens.map(({ id }) => id));
    // A stop text in the middle of that answer.
    const stop = [...text].slice(4, 6).join("");
    const cut = await all(model.generate("the end", { maxTokens: 30, seed: 1, stop }));
    expect(cut.map((token) => token.text).join("")).toBe(text.slice(0, text.indexOf(stop)));
    await model.close();
    expect(await failing(model.logits([1]))).toMatch(/closed/);
    await model.close();
  });

  test("is interrupted between tokens, and is usable afterwards", async () => {
    for (const threads of [1, 2]) {
      const model = await openModel(filesOf("qwen3_moe"), { threads });
      const before = await model.logits([1, 2, 3]);
      const controller = new AbortController();
      const ids: number[] = [];
      const run = async () => {
        for await (const { id } of model.generate([1, 2, 3], { maxTokens: 100, signal: controller.signal })) {
          ids.push(id);
          if (ids.length === 4) controller.abort();
        }
      };
      await expect(run()).rejects.toThrow(/abort/i);
      expect(ids.length).toBe(4);
      // Someone who stops listening ends it as well.
      for await (const _ of model.generate([1, 2], { maxTokens: 100 })) break;
      expect(decibels(before, await model.logits([1, 2, 3]))).toBe(Infinity);
      await model.close();
    }
  });

  test.each([1, 2])(
    "is interrupted by a timer, in the middle of a token too: %i threads",
    async (threads) => {
      const model = await openModel(filesOf("llama"), { threads });
      const before = await model.logits([5, 6, 7]);
      for (const delay of [0, 3, 10]) {
        const controller = new AbortController();
        const timer = setTimeout(() => controller.abort(), delay);
        const run = all(model.generate([1, 2, 3], { maxTokens: 500, signal: controller.signal }));
        expect(await failing(run)).toMatch(/abort/i);
        clearTimeout(timer);
        expect(await model.logits([5, 6, 7])).toEqual(before);
      }
      const ids = Array.from({ length: 450 }, (_, i) => i % 320);
      const controller = new AbortController();
      setTimeout(() => controller.abort(), 0);
      expect(await failing(model.logits(ids, { signal: controller.signal }))).toMatch(/abort/i);
      expect(await model.logits([5, 6, 7])).toEqual(before);
      await model.close();
    },
  );

  test.each([1, 2])(
    "NaN among the logits is one error, and nothing of it stays: %i threads",
    async (threads) => {
      // NaN in the embedding of token 5 alone; this model has a head of its own.
      const model = await openModel(await withNaN("qwen2", 5), { threads });
      const sound = await openModel(filesOf("qwen2"), { threads });
      const greedy = { temperature: 0, maxTokens: 6 } as const;
      expect(await failing(all(model.generate([1, 5], greedy)))).toMatch(
        /^dialect: model: logits: expected numbers, got NaN/,
      );
      expect(Array.from(await model.logits([5])).every(Number.isNaN)).toBe(true);
      expect(await all(model.generate([1, 2], greedy))).toEqual(await all(sound.generate([1, 2], greedy)));
      expect(await model.logits([1, 2, 3])).toEqual(await sound.logits([1, 2, 3]));
      await model.close();
      await sound.close();
    },
  );

  test("does one thing at a time, in the order of asking", async () => {
    const model = await openModel(filesOf("llama"));
    const alone = await model.logits([5, 6, 7]);
    const [first, tokens, last] = await Promise.all([
      model.logits([5, 6, 7]),
      all(model.generate([9, 9], { maxTokens: 5, temperature: 0 })),
      model.logits([5, 6, 7]),
    ]);
    expect(first).toEqual(alone);
    expect(last).toEqual(alone);
    expect(tokens.length).toBe(5);
    await model.close();
  });

  test("a prompt in pieces gives what it gives as a whole", async () => {
    const model = await openModel(filesOf("mistral"));
    const ids = Array.from({ length: 450 }, (_, i) => (i * 37) % 320);
    const whole = await model.logits(ids);
    const part = await model.logits(ids.slice(0, 300));
    expect(decibels(part.subarray(299 * 320), whole.subarray(299 * 320, 300 * 320))).toBeGreaterThan(90);
    for (const from of [1, 192, 449]) {
      const rest = await model.logits(ids, { from });
      expect(rest.length).toBe((450 - from) * 320);
      expect(decibels(whole.subarray(from * 320), rest)).toBeGreaterThan(90);
    }
    expect(await model.logits(ids, { from: 450 })).toEqual(new Float32Array(0));
    await model.close();
  });

  test("refuses what cannot be, and is usable afterwards", async () => {
    const model = await openModel(filesOf("llama"));
    expect(await failing(model.logits([320]))).toMatch(
      /^option: logits: token 0: expected a whole number from 0 to 319/,
    );
    expect(await failing(model.logits([1, -1]))).toMatch(/token 1/);
    expect(await failing(model.logits([0.5]))).toMatch(/^option/);
    expect(await failing(model.logits(new Int32Array(513)))).toMatch(/at most 512 tokens/);
    expect(await failing(all(model.generate("text")))).toMatch(/tokenizer/);
    expect(await failing(all(model.generate([])))).toMatch(/at least one token/);
    expect(await failing(all(model.generate([1], { maxTokens: -1 })))).toMatch(/maxTokens/);
    for (const stop of [5, "", ["a", ""], [null]])
      expect(await failing(all(model.generate([1], { stop: stop as never })))).toMatch(
        /^option: generate: stop: expected a text or a list of texts/,
      );
    expect(
      await failing(all(model.generate(new Int32Array(510).fill(3), { maxTokens: 20, temperature: 0 }))),
    ).toMatch(/at most 512 tokens of prompt and answer/);
    expect(await failing(model.embed([[]]))).toMatch(/input 0/);
    expect(await failing(model.embed([[1]], { pooling: "max" as never }))).toMatch(/pooling/);
    expect((await model.logits([])).length).toBe(0);
    expect((await model.logits([1])).length).toBe(320);
    await model.close();
    const encoder = await openModel(filesOf("bert"));
    expect(await failing(encoder.logits([1]))).toMatch(/encoder/);
    expect(await failing(encoder.embed([new Int32Array(65)]))).toMatch(/at most 64/);
    expect(await encoder.embed([])).toEqual([]);
    await encoder.close();
  });

  test("embeds by the last token where it predicts, as Qwen3-Embedding does", async () => {
    const model = await openModel(filesOf("qwen3"));
    const [vector] = await model.embed([[4, 5, 6]]);
    const hidden = await model.hidden([4, 5, 6]);
    const last = hidden.subarray(2 * 128);
    const length = Math.hypot(...last);
    expect(
      decibels(
        last.map((x) => x / length),
        vector!,
      ),
    ).toBeGreaterThan(120);
    await model.close();
  });

  test("pools as its files say", async () => {
    const files = filesOf("bert");
    files.set("1_Pooling/config.json", new Blob([JSON.stringify({ pooling_mode_cls_token: true })]));
    files.set(
      "modules.json",
      new Blob([JSON.stringify([{ type: "sentence_transformers.models.Pooling", path: "1_Pooling" }])]),
    );
    const model = await openModel(files);
    const [vector] = await model.embed([[4, 5, 6]]);
    const hidden = await model.hidden([4, 5, 6]);
    expect(decibels(hidden.subarray(0, 128), vector!)).toBe(Infinity);
    await model.close();
    files.set("1_Pooling/config.json", new Blob([JSON.stringify({ pooling_mode_max_tokens: true })]));
    expect(await failing(openModel(files))).toMatch(/^dialect: 1_Pooling/);
  });
});
