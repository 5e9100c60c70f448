import { describe, expect, test } from "vitest";
import { architectures, modelConfigOf } from "../../src/model/config.ts";
import { openModel } from "../../src/model/open.ts";
import { ropeOf } from "../../src/model/rope.ts";
import { headsOf, rowsOf, shareOf } from "../../src/model/team.ts";
import type { BlockscaleError } from "../../src/tensor/errors.ts";
import { DECODERS, ENCODERS, filesOf } from "../support/models.ts";

type Json = Record<string, unknown>;

async function configOf(name: string): Promise<Json> {
  return JSON.parse(await filesOf(name).get("config.json")!.text());
}

/** How opening a model fails whose config.json has been changed. */
async function opening(name: string, change: Json): Promise<string> {
  const files = filesOf(name);
  files.set("config.json", new Blob([JSON.stringify({ ...(await configOf(name)), ...change })]));
  return openModel(files).then(
    async (model) => {
      await model.close();
      return "opened";
    },
    (error: BlockscaleError) => `${error.code}: ${error.message}`,
  );
}

describe("config.json", () => {
  test("an unknown architecture names those that are known", async () => {
    const message = await opening("llama", { architectures: ["GrokForCausalLM"] });
    for (const name of architectures) expect(message).toContain(name);
    expect(message).toMatch(/^dialect: config.json: architectures/);
    expect(() => modelConfigOf(null)).toThrow(/config.json/);
    expect(await opening("llama", { architectures: ["toString"] })).toMatch(/^dialect/);
    expect(await opening("llama", { architectures: undefined })).toMatch(/got none/);
  });

  test.each([
    ["hidden_size", 0],
    ["hidden_size", -128],
    ["hidden_size", 128.5],
    ["hidden_size", 2 ** 40],
    ["hidden_size", "128"],
    ["hidden_size", 64],
    ["hidden_size", null],
    ["num_hidden_layers", 0],
    ["num_hidden_layers", 4],
    ["num_hidden_layers", 2 ** 24],
    ["num_hidden_layers", 2 ** 30],
    ["num_attention_heads", 3],
    ["num_attention_heads", 0],
    ["num_key_value_heads", 3],
    ["num_key_value_heads", 0],
    ["head_dim", 7],
    ["head_dim", 2 ** 26],
    ["vocab_size", 319],
    ["vocab_size", 2 ** 26],
    ["intermediate_size", 255],
    ["max_position_embeddings", 0],
    ["rms_norm_eps", "x"],
    ["rms_norm_eps", true],
    ["hidden_act", "relu6"],
    ["rope_parameters", { rope_type: "dynamic", rope_theta: 1e4, factor: 2 }],
    ["rope_parameters", { rope_type: "llama3", rope_theta: 1e4 }],
    ["rope_parameters", { rope_theta: "x" }],
  ])("%s of %j is one clear error", async (key, value) => {
    expect(await opening("llama", { [key]: value })).toMatch(/^dialect: /);
  });

  test.each([
    ["n_routed_experts", 7],
    ["n_routed_experts", 9],
    ["num_experts_per_tok", 9],
    ["n_group", 3],
    ["topk_group", 5],
    ["kv_lora_rank", 63],
    ["qk_rope_head_dim", 32],
    ["v_head_dim", 64],
  ])("%s of %j, of latent attention and experts", async (key, value) => {
    expect(await opening("deepseek_v3", { [key]: value })).toMatch(/^dialect: /);
  });

  test("a weight that is missing is named", async () => {
    const files = filesOf("bert");
    files.set(
      "config.json",
      new Blob([JSON.stringify({ ...(await configOf("bert")), num_hidden_layers: 4 })]),
    );
    await expect(openModel(files)).rejects.toThrow(/encoder\.layer\.3\.attention\.self\.query\.weight/);
  });

  test("every architecture of the tests is a record that can be cloned", async () => {
    for (const name of [...DECODERS, ...ENCODERS]) {
      const config = modelConfigOf(await configOf(name));
      expect(structuredClone(config)).toEqual(config);
    }
  });

  test("options that are not there are refused", async () => {
    for (const options of [{ threads: 0 }, { threads: 1.5 }, { cache: "int8" }, { activations: "int3" }])
      await expect(openModel(filesOf("llama"), options as never)).rejects.toThrow(/^openModel: /);
    const aborted = AbortSignal.abort();
    await expect(openModel(filesOf("llama"), { signal: aborted })).rejects.toThrow(/abort/i);
  });

  test("loading tells how far it is, and can be aborted", async () => {
    const seen: number[] = [];
    let total = 0;
    const model = await openModel(filesOf("qwen3"), {
      onProgress: (progress) => {
        seen.push(progress.done);
        total = progress.total;
      },
    });
    await model.close();
    expect(seen.at(-1)).toBe(total);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    const controller = new AbortController();
    const half = openModel(filesOf("qwen3"), {
      threads: 2,
      signal: controller.signal,
      onProgress: ({ done, total: all }) => {
        if (done > all / 2) controller.abort();
      },
    });
    await expect(half).rejects.toThrow(/abort/i);
  });
});

describe("rope", () => {
  const frequencies = (parameters: Json, dim = 8): number[] => [
    ...ropeOf("test", { rope_theta: 10000, ...parameters }, dim, 4096, false).frequencies,
  ];
  const plain = [1, 0.1, 0.01, 0.001].map(Math.fround);

  test("the plain kind, and linear scaling", () => {
    expect(frequencies({})).toEqual(plain);
    expect(frequencies({ rope_type: "linear", factor: 4 })).toEqual(
      [0.25, 0.025, 0.0025, 0.00025].map(Math.fround),
    );
    // The older name of the kind.
    expect(frequencies({ type: "linear", factor: 4 })).toEqual(
      frequencies({ rope_type: "linear", factor: 4 }),
    );
  });

  test("llama3 leaves fast pairs alone and slows slow ones", () => {
    const found = frequencies({
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 256,
    });
    expect(found[0]).toBe(1);
    expect(found[3]).toBe(Math.fround(0.001 / 8));
    expect(found[2]! < plain[2]! && found[2]! >= plain[2]! / 8).toBe(true);
  });

  test("yarn lies between both, and has a temperature", () => {
    const rope = ropeOf(
      "test",
      { rope_theta: 10000, rope_type: "yarn", factor: 4, original_max_position_embeddings: 1024 },
      64,
      4096,
      false,
    );
    const all = Array.from({ length: 32 }, (_, i) => 10000 ** ((-2 * i) / 64));
    expect(rope.factor).toBeCloseTo(0.1 * Math.log(4) + 1, 12);
    expect(rope.frequencies[0]).toBe(1);
    expect(rope.frequencies[31]).toBeCloseTo(all[31]! / 4, 9);
    rope.frequencies.forEach((f, i) => {
      expect(f <= all[i]! * 1.0001 && f >= all[i]! / 4.0001).toBe(true);
    });
  });
});

describe("shares", () => {
  test("cover everything once, whatever the sizes", () => {
    for (const total of [0, 1, 7, 8, 9, 64, 100]) {
      for (const size of [1, 2, 3, 5, 8]) {
        for (const cut of [shareOf, rowsOf]) {
          let end = 0;
          for (let rank = 0; rank < size; rank++) {
            const share = cut(total, { member: rank, size });
            expect(share.start).toBe(end);
            end = share.end;
          }
          expect(end).toBe(total);
        }
      }
    }
  });

  test("of heads: each member has the keys that its queries meet", () => {
    for (const [heads, keyHeads] of [
      [8, 8],
      [8, 2],
      [8, 1],
      [6, 3],
      [4, 4],
    ] as const) {
      for (const size of [1, 2, 3, 4, 5, 9]) {
        const covered = new Set<number>();
        for (let rank = 0; rank < size; rank++) {
          const { queries, keys } = headsOf(heads, keyHeads, { member: rank, size });
          for (let head = queries.start; head < queries.end; head++) {
            expect(covered.has(head)).toBe(false);
            covered.add(head);
            const key = Math.floor(head / (heads / keyHeads));
            expect(key >= keys.start && key < keys.end).toBe(true);
          }
        }
        expect(covered.size).toBe(heads);
      }
    }
  });
});
