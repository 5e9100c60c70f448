import { describe, expect, test } from "vitest";
import { checkSampling, logProbabilityOf, Sampler } from "../../src/model/sampler.ts";
import { TextStream } from "../../src/model/text-stream.ts";
import { openTokenizer, type Tokenizer } from "../../src/model/tokenizer.ts";
import { SPECIAL, tokenizerFiles } from "../support/tokenizer-files.ts";

const tokenizer = async (): Promise<Tokenizer> => (await openTokenizer(tokenizerFiles()))!;

describe("tokenizer", () => {
  test("texts and back, special tokens and a conversation", async () => {
    const it = await tokenizer();
    expect([...it.encode("in the")]).toEqual([258, 259]);
    for (const text of ["the thin end", "Grüße, 世界 👋🏽!", "a\n\tb"])
      expect(it.decode(it.encode(text))).toBe(text);
    const ids = it.chat([{ role: "user", content: "in" }]);
    expect(ids[0]).toBe(SPECIAL.start);
    expect(it.decode(ids, { special: true })).toBe("<|start|>user\nin<|end|><|start|>assistant\n");
  });

  test("characters that take several tokens come when they are whole", async () => {
    const it = await tokenizer();
    const text = "a👋🏽 Grüße the end 世界";
    const stream = new TextStream(it, []);
    const pieces = [...it.encode(text)].map((id) => stream.push(id));
    expect(pieces.join("") + stream.end()).toBe(text);
    expect(pieces.join("")).not.toContain("\ufffd");
    expect(pieces.filter((piece) => piece === "").length).toBeGreaterThan(3);
  });

  test("a stop text is left out, wherever it is parted", async () => {
    const it = await tokenizer();
    for (const [text, stops, expected] of [
      ["one STOP two", ["STOP"], "one "],
      ["one ST two", ["STOP"], "one ST two"],
      ["abcabd", ["abd", "zz"], "abc"],
      ["nothing", [""], "nothing"],
    ] as const) {
      const stream = new TextStream(it, stops);
      let found = "";
      for (const id of it.encode(text)) if (!stream.isStopped) found += stream.push(id);
      expect(found + stream.end()).toBe(expected);
      expect(stream.isStopped).toBe(expected !== text);
    }
  });

  test("files that are damaged, and a model without a template", async () => {
    for (const text of ["{", "{}"])
      await expect(openTokenizer(new Map([["tokenizer.json", new Blob([text])]]))).rejects.toMatchObject({
        code: "format",
        message: expect.stringMatching(/^tokenizer.json/),
      });
    const files = tokenizerFiles();
    files.delete("tokenizer_config.json");
    const plain = (await openTokenizer(files))!;
    expect(plain.hasChat).toBe(false);
    expect(() => plain.chat([])).toThrow(/chat template/);
  });
});

describe("sampling", () => {
  const logits = Float32Array.of(0, 3, 1, 2, -Infinity, 2.5);
  const draw = (options: object, n = 2000): Map<number, number> => {
    const sampler = new Sampler(checkSampling("test", { seed: 7, ...options }));
    const counts = new Map<number, number>();
    for (let i = 0; i < n; i++) {
      const id = sampler.choose(logits);
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    return counts;
  };

  test("follows the probabilities", () => {
    const counts = draw({}, 20000);
    const total = [...logits].reduce((sum, x) => sum + Math.exp(x), 0);
    logits.forEach((x, id) => {
      const p = Math.exp(x) / total;
      expect(Math.abs((counts.get(id) ?? 0) / 20000 - p)).toBeLessThan(
        4 * Math.sqrt((p * (1 - p)) / 20000) + 1e-9,
      );
      expect(Math.exp(logProbabilityOf(logits, id))).toBeCloseTo(p, 6);
    });
  });

  test("topK, topP, minP and temperature 0 leave what they should", () => {
    const kinds = (options: object) => [...draw(options).keys()].sort();
    expect(kinds({ temperature: 0 })).toEqual([1]);
    expect(kinds({ topK: 2 })).toEqual([1, 5]);
    expect(kinds({ topP: 0.5 })).toEqual([1, 5]);
    expect(kinds({ minP: 0.3 })).toEqual([1, 3, 5]);
    expect(kinds({ topP: 0 })).toEqual([1]);
  });

  test("the same seed gives the same tokens", () => {
    const one = () => {
      const sampler = new Sampler(checkSampling("test", { seed: 3 }));
      return Array.from({ length: 50 }, () => sampler.choose(logits));
    };
    expect(one()).toEqual(one());
  });

  test("logits that are no numbers, and options out of range, are refused", () => {
    const sampler = new Sampler(checkSampling("test", {}));
    expect(() => sampler.choose(Float32Array.of(1, Number.NaN))).toThrow(/NaN/);
    expect(() => sampler.choose(Float32Array.of(-Infinity))).toThrow(/Infinity/);
    for (const bad of [
      { temperature: -1 },
      { topP: 2 },
      { minP: Number.NaN },
      { topK: -1 },
      { seed: "x" as never },
    ])
      expect(() => checkSampling("test", bad)).toThrow(/expected a number/);
  });
});
