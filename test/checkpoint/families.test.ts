import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { compileSelection } from "../../src/checkpoint/dialects/rules.ts";
import type { PlainWeight } from "../../src/checkpoint/read/weights.ts";

/**
 * The matrices of 164 model classes of transformers 5.18, layer 0 standing
 * for all: name, shape, whether an nn.Linear.
 */
const families: Record<string, [name: string, shape: number[], isLinear: boolean][]> = JSON.parse(
  readFileSync(new URL("families.json", import.meta.url), "utf8"),
);

const MODEL_TYPES: Record<string, string> = {
  GPTBigCodeForCausalLM: "gpt_bigcode",
  GPTNeoForCausalLM: "gpt_neo",
};

function verdictOf(family: string, name: string, shape: number[]) {
  const weight: PlainWeight = { kind: "plain", name, shape, type: "bf16", values: null as never };
  return compileSelection({}, false, configOf(family))(weight);
}

/** What config.json has of it: those with towers have a config for them. */
function configOf(family: string) {
  return { model_type: MODEL_TYPES[family], ...(isMultimodal(family) && { vision_config: {} }) };
}

function isMultimodal(family: string): boolean {
  return families[family]!.some(([name]) => TOWER.test(name.replace(/embed\w*/g, "")));
}

/** Attention and MLP projections of decoder layers, by the last two parts of their names. */
const DECODER_LINEAR =
  /(^|\.)(layers|h|blocks)\.0\.(self_attn|attn|attention|self_attention|mlp|feed_forward|ffn)\.(q_proj|k_proj|v_proj|o_proj|qkv_proj|query_key_value|dense|dense_h_to_4h|dense_4h_to_h|gate_proj|up_proj|down_proj|gate_up_proj|fc1|fc2|c_attn|c_proj|c_fc|w1|w2|w3)\.weight$/;

/** Parts of a model that are not its decoder. */
const TOWER =
  /vision|visual|image|audio|speech|vit|qformer|perceiver|resampler|connector|projector|codec|code2wav|talker|embed/i;

describe.each(Object.keys(families))("%s", (family) => {
  test("no matrix that is no linear layer becomes FP8", () => {
    const wrong = families[family]!.filter(([name, shape, isLinear]) => {
      return !isLinear && verdictOf(family, name, shape).quantize;
    });
    expect(wrong).toEqual([]);
  });

  test("no projection of a decoder layer is lost", () => {
    const lost = families[family]!.filter(([name, shape, isLinear]) => {
      const isTower = TOWER.test(name) || (isMultimodal(family) && /video|encoder/.test(name));
      const isDecoder = isLinear && DECODER_LINEAR.test(name) && !isTower;
      return isDecoder && shape.length === 2 && !verdictOf(family, name, shape).quantize;
    });
    expect(lost).toEqual([]);
  });
});

test("the walk meets decoder layers of nearly every family", () => {
  const met = Object.values(families).filter((list) =>
    list.some(([name, , isLinear]) => isLinear && DECODER_LINEAR.test(name) && !TOWER.test(name)),
  );
  expect(met.length).toBeGreaterThan(100);
});

test("parts of multimodal models that nobody knows are kept, unless asked for", () => {
  const config = { audio_config: {}, text_config: { vocab_size: 96, hidden_size: 64 } };
  const verdict = (name: string, shape = [64, 64], options = {}) =>
    compileSelection(
      options,
      false,
      config,
    )({ kind: "plain", name, shape, type: "bf16", values: null } as never);
  for (const name of ["frobnicator.layers.0.fc", "model.encoder.layers.0.attn.to_q", "action_out_proj"])
    expect(verdict(`${name}.weight`)).toEqual({
      quantize: false,
      reason: expect.stringMatching(/not known/),
    });
  expect(verdict("frobnicator.layers.0.fc.weight", [64, 64], { include: ["frob*"] }).quantize).toBe(true);
  expect(verdict("model.language_model.layers.0.mlp.fc.weight").quantize).toBe(true);
  expect(verdict("model.language_model.strange.weight", [96, 64])).toMatchObject({ quantize: false });
  const { quantize } = compileSelection({}, false, { audio_config: 3 })({
    kind: "plain",
    name: "frobnicator.fc.weight",
    shape: [64, 64],
  } as never);
  expect(quantize).toBe(true);
});

test("a table with a row for each token is kept, whatever it is called", () => {
  const weight = {
    kind: "plain",
    name: "a.b.weight",
    shape: [1000, 64],
    type: "bf16",
    values: null,
  } as never;
  expect(compileSelection({}, false, { vocab_size: 1000, hidden_size: 64 })(weight).quantize).toBe(false);
  expect(compileSelection({}, false, { vocab_size: 1000, hidden_size: 32 })(weight).quantize).toBe(true);
});
