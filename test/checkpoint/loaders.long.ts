import { describe, expect, test } from "vitest";
import { type DialectName, dialects } from "../../src/checkpoint/dialects/index.ts";
import { documentsOf, openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import { fileWith, valuesAs } from "../support/checkpoint-files.ts";

// What a loader builds as quantised must be what was converted, module by module: a module that is in neither, or in one
// of them alone, is loaded wrong or not at all. The rules of each loader are written down here from its source.

/** What a module is: `router` and `head` are linear layers for transformers, and never quantised by vLLM. */
type Kind = "linear" | "experts" | "router" | "head" | "other";

interface Module {
  readonly name: string;
  readonly kind: Kind;
  /** In the checkpoint, with the shape of each. */
  readonly tensors: readonly (readonly [name: string, shape: readonly number[]])[];
}

/** Sizes at which nothing is square, and blocks of 128 come out even. */
const [HIDDEN, SIZE, EXPERTS, VOCABULARY] = [256, 128, 2, 384];

const module = (kind: Kind, name: string, shape: readonly number[]): Module => ({
  name,
  kind,
  tensors: [[`${name}.weight`, shape]],
});
const linear = (name: string, rows: number, cols: number) => module("linear", name, [rows, cols]);
const router = (name: string, count = EXPERTS) => module("router", name, [count, HIDDEN]);
const norm = (name: string) => module("other", name, [HIDDEN]);

const attention = (at: string, parts = ["q", "k", "v", "o"]) =>
  parts.map((part) => linear(`${at}.${part}_proj`, HIDDEN, HIDDEN));
const gated = (at: string, size = SIZE * 2) => [
  linear(`${at}.gate_proj`, size, HIDDEN),
  linear(`${at}.up_proj`, size, HIDDEN),
  linear(`${at}.down_proj`, HIDDEN, size),
];

/** Experts with tensors of their own, which loaders put in one module. */
function each(
  at: string,
  parts: readonly [string, string, string] = ["gate_proj", "up_proj", "down_proj"],
): Module {
  const tensors = Array.from({ length: EXPERTS }, (_, e) =>
    parts.map((part, i) => [`${at}.${e}.${part}.weight`, i < 2 ? [SIZE, HIDDEN] : [HIDDEN, SIZE]] as const),
  );
  return { name: at, kind: "experts", tensors: tensors.flat() };
}

/** Experts in one tensor. */
function stacked(at: string, isTurned = false): Module {
  const turn = (rows: number, cols: number) => (isTurned ? [EXPERTS, cols, rows] : [EXPERTS, rows, cols]);
  return {
    name: at,
    kind: "experts",
    tensors: [
      [`${at}.gate_up_proj`, turn(2 * SIZE, HIDDEN)],
      [`${at}.down_proj`, turn(HIDDEN, SIZE)],
    ],
  };
}

const ends = (base: string, head: string | null = "lm_head"): Module[] => [
  module("other", `${base}embed_tokens`, [VOCABULARY, HIDDEN]),
  norm(`${base}norm`),
  // A head that is tied to the embedding has no tensor.
  head === null ? { name: "lm_head", kind: "head", tensors: [] } : module("head", head, [VOCABULARY, HIDDEN]),
];

const L = "model.layers.0";
const latent = [
  linear(`${L}.self_attn.q_a_proj`, 128, HIDDEN),
  norm(`${L}.self_attn.q_a_layernorm`),
  linear(`${L}.self_attn.q_b_proj`, HIDDEN, 128),
  linear(`${L}.self_attn.kv_a_proj_with_mqa`, 192, HIDDEN),
  linear(`${L}.self_attn.kv_b_proj`, HIDDEN, 128),
  linear(`${L}.self_attn.o_proj`, HIDDEN, HIDDEN),
];
const vision = (at: string) => [
  linear(`${at}.blocks.0.attn.qkv`, 3 * HIDDEN, HIDDEN),
  linear(`${at}.blocks.0.mlp.linear_fc1`, 512, HIDDEN),
  linear(`${at}.merger.linear_fc1`, 512, HIDDEN),
];

const families: Record<string, { readonly type: string; readonly modules: readonly Module[] }> = {
  Llama: {
    type: "llama",
    modules: [...ends("model."), ...attention(`${L}.self_attn`), ...gated(`${L}.mlp`)],
  },
  Qwen3: {
    type: "qwen3",
    modules: [
      ...ends("model.", null),
      ...attention(`${L}.self_attn`),
      norm(`${L}.self_attn.q_norm`),
      ...gated(`${L}.mlp`),
    ],
  },
  "Qwen3-MoE": {
    type: "qwen3_moe",
    modules: [
      ...ends("model."),
      ...attention(`${L}.self_attn`),
      router(`${L}.mlp.gate`),
      each(`${L}.mlp.experts`),
    ],
  },
  "Qwen3-VL-MoE": {
    type: "qwen3_vl_moe",
    modules: [
      ...ends("model.language_model."),
      ...vision("model.visual"),
      ...attention("model.language_model.layers.0.self_attn"),
      router("model.language_model.layers.0.mlp.gate"),
      stacked("model.language_model.layers.0.mlp.experts", true),
    ],
  },
  "Qwen3.5-MoE": {
    type: "qwen3_5_moe",
    modules: [
      ...ends("model.language_model."),
      ...vision("model.visual"),
      linear("model.language_model.layers.0.linear_attn.in_proj_qkv", 512, HIDDEN),
      linear("model.language_model.layers.0.linear_attn.in_proj_z", HIDDEN, HIDDEN),
      linear("model.language_model.layers.0.linear_attn.in_proj_a", 16, HIDDEN),
      linear("model.language_model.layers.0.linear_attn.in_proj_b", 16, HIDDEN),
      linear("model.language_model.layers.0.linear_attn.out_proj", HIDDEN, HIDDEN),
      ...attention("model.language_model.layers.1.self_attn"),
      router("model.language_model.layers.0.mlp.gate"),
      stacked("model.language_model.layers.0.mlp.experts"),
      ...gated("model.language_model.layers.0.mlp.shared_expert"),
      router("model.language_model.layers.0.mlp.shared_expert_gate", 1),
    ],
  },
  "Llama-4": {
    type: "llama4",
    modules: [
      ...ends("language_model.model.", "language_model.lm_head"),
      linear("multi_modal_projector.linear_1", HIDDEN, 512),
      linear("vision_model.model.layers.0.self_attn.q_proj", HIDDEN, HIDDEN),
      ...attention("language_model.model.layers.0.self_attn"),
      router("language_model.model.layers.0.feed_forward.router"),
      stacked("language_model.model.layers.0.feed_forward.experts", true),
      ...gated("language_model.model.layers.0.feed_forward.shared_expert"),
    ],
  },
  "DeepSeek-V3": {
    type: "deepseek_v3",
    modules: [
      ...ends("model."),
      ...latent,
      router(`${L}.mlp.gate`),
      each(`${L}.mlp.experts`),
      ...gated(`${L}.mlp.shared_experts`),
      linear("model.layers.1.eh_proj", HIDDEN, 2 * HIDDEN),
    ],
  },
  "gpt-oss": {
    type: "gpt_oss",
    modules: [
      ...ends("model."),
      ...attention(`${L}.self_attn`),
      router(`${L}.mlp.router`),
      stacked(`${L}.mlp.experts`, true),
    ],
  },
  Mixtral: {
    type: "mixtral",
    modules: [
      ...ends("model."),
      ...attention(`${L}.self_attn`),
      router(`${L}.block_sparse_moe.gate`),
      each(`${L}.block_sparse_moe.experts`, ["w1", "w3", "w2"]),
    ],
  },
  "GLM-4-MoE": {
    type: "glm4_moe",
    modules: [
      ...ends("model."),
      ...attention(`${L}.self_attn`),
      router(`${L}.mlp.gate`),
      each(`${L}.mlp.experts`),
      ...gated(`${L}.mlp.shared_experts`),
      ...gated("model.layers.1.mlp"),
    ],
  },
  "Gemma-3": {
    type: "gemma3",
    modules: [
      ...ends("language_model.model.", null),
      linear("vision_tower.vision_model.encoder.layers.0.self_attn.q_proj", HIDDEN, HIDDEN),
      ...attention("language_model.model.layers.0.self_attn"),
      ...gated("language_model.model.layers.0.mlp"),
    ],
  },
  "Phi-4": {
    type: "phi3",
    modules: [
      ...ends("model."),
      linear(`${L}.self_attn.qkv_proj`, 512, HIDDEN),
      linear(`${L}.self_attn.o_proj`, HIDDEN, HIDDEN),
      linear(`${L}.mlp.gate_up_proj`, 512, HIDDEN),
      linear(`${L}.mlp.down_proj`, HIDDEN, HIDDEN),
    ],
  },
};

/** Parts of one matrix in vLLM, which refuses to keep some of them. */
const FUSED = [
  ["q_proj", "k_proj", "v_proj"],
  ["gate_proj", "up_proj"],
  ["in_proj_qkv", "in_proj_z"],
  ["in_proj_b", "in_proj_a"],
];

function refuseHalfKept(modules: readonly Module[], isKept: (name: string) => boolean): void {
  for (const { name } of modules) {
    const group = FUSED.find((parts) => name.endsWith(`.${parts[0]}`));
    if (group === undefined) continue;
    const base = name.slice(0, -group[0]!.length);
    const parts = group.filter((part) => modules.some((other) => other.name === base + part));
    expect(new Set(parts.map((part) => isKept(base + part))).size, `${base}{${parts}}`).toBe(1);
  }
}

type Rule = (module: Module, kept: readonly string[]) => boolean;

/**
 * transformers, should_convert_module: a pattern counts where it matches from the beginning of a name, as a
 * regular expression, or where the name ends with it.
 */
const isSkipped = (name: string, kept: readonly string[]) =>
  kept.some((pattern) => new RegExp(`^(?:${pattern})`).test(name) || name.endsWith(pattern));

/** replace_with_fp8_linear: every nn.Linear, and every module named `experts`. */
const transformersFp8: Rule = ({ name, kind }, kept) => kind !== "other" && !isSkipped(name, kept);

/**
 * vLLM, vllm/model_executor/layers/quantization/fp8.py, Fp8Config.get_quant_method, and utils/quant_utils.py,
 * is_layer_skipped: whole names; a module with `experts` in its name where a name of the list, with `experts`
 * in it too, holds the whole of it. A head is no LinearBase.
 */
const vllmFp8: Rule = ({ name, kind }, kept) =>
  (kind === "experts" || kind === "linear") && !isSkippedByVllm(name, kept);

const isSkippedByVllm = (name: string, kept: readonly string[]) =>
  name.includes("experts")
    ? kept.some((ignored) => ignored.includes("experts") && ignored.includes(name))
    : kept.includes(name);

/**
 * vLLM, vllm/model_executor/layers/quantization/modelopt.py, ModelOptQuantConfigBase.is_layer_excluded and
 * get_quant_method, which MXFP8 of `quant_method: "mxfp8"` goes through too
 * (ModelOptMxFp8Config.from_config): as Fp8Config does, or where a name of the list is any part of the
 * module's; a list without wildcards adds nothing more. A head is quantised like all others. SGLang,
 * modelopt_quant.py, looks for parts alone.
 */
const vllmModelopt: Rule = ({ name, kind }, kept) =>
  (kind === "experts" || kind === "linear" || kind === "head") &&
  !isSkippedByVllm(name, kept) &&
  !kept.some((ignored) => name.includes(ignored)) &&
  !["vision_tower", "vision_model", "visual"].some((tower) => name.includes(tower));

/**
 * compressed-tensors, targets ["Linear"]: by whole names, in transformers and in vLLM,
 * vllm/model_executor/layers/quantization/compressed_tensors/utils.py, should_ignore_layer; experts there by
 * the name of the module or of the first one's parts.
 */
const compressedTensors: Rule = ({ name, kind }, kept) =>
  kind !== "other" &&
  !kept.includes(name) &&
  (kind !== "experts" || !["gate_proj", "w1"].some((part) => kept.includes(`${name}.0.${part}`)));

/** Mxfp4Config: experts of gpt-oss alone. */
const gptOssMxfp4: Rule = ({ name, kind }, kept) => kind === "experts" && !isSkipped(name, kept);

const SQUARE: [string, Rule][] = [
  ["transformers", transformersFp8],
  ["vLLM", vllmFp8],
];
const PACKED: [string, Rule][] = [["compressed-tensors", compressedTensors]];
const MODELOPT: [string, Rule][] = [["vLLM", vllmModelopt]];
const loaders: Record<DialectName, [string, Rule][]> = {
  "deepseek-v3": SQUARE,
  "deepseek-v3.1": SQUARE,
  "deepseek-v4": SQUARE,
  "deepseek-v4-fp4": SQUARE,
  mxfp8: [
    ["transformers", transformersFp8],
    ["vLLM", vllmModelopt],
  ],
  "compressed-tensors": PACKED,
  "compressed-tensors-mxfp4": PACKED,
  "compressed-tensors-nvfp4": PACKED,
  "compressed-tensors-mixed": PACKED,
  modelopt: MODELOPT,
  "modelopt-nvfp4": MODELOPT,
  "gpt-oss": [["transformers", gptOssMxfp4]],
};

/** What config.json tells, and which tensors were converted. */
async function planned(modules: readonly Module[], type: string, to: DialectName) {
  const tensors = modules.flatMap((found) => found.tensors);
  const file = fileWith(
    tensors.map(([name, shape]) =>
      valuesAs(name, "BF16", shape, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1)),
    ),
  );
  const config = {
    model_type: type,
    hidden_size: HIDDEN,
    moe_intermediate_size: SIZE,
    vocab_size: VOCABULARY,
  };
  const opened = await openCheckpoint(
    new Map([
      ["model.safetensors", file],
      ["config.json", new Blob([JSON.stringify(config)])],
    ]),
  );
  const plan = planQuantize(opened.checkpoint, { to });
  const [document] = documentsOf(opened, plan, { kind: "quantize", to });
  const { quantization_config } = JSON.parse(document!.text);
  const told = quantization_config ?? { ignore: [] };
  const kept: string[] = told.modules_to_not_convert ?? told.ignored_layers ?? told.ignore;
  const converted = new Set(
    plan.tensors.filter(({ action }) => action === "quantize").map(({ name }) => name),
  );
  return { kept, converted, isLabelled: quantization_config !== undefined };
}

describe.each(Object.entries(families))("%s", (_, { type, modules }) => {
  test.each(Object.keys(dialects) as DialectName[])(
    "%s: what loaders replace is what was converted",
    async (to) => {
      const { kept, converted, isLabelled } = await planned(modules, type, to);
      // The experts of gpt-oss are in no other model.
      expect(isLabelled).toBe(to !== "gpt-oss" || type === "gpt_oss");
      if (!isLabelled) return expect(converted.size).toBe(0);
      for (const [loader, replaces] of loaders[to]) {
        for (const module of modules) {
          const states = new Set(module.tensors.map(([name]) => converted.has(name)));
          expect(states.size, `${module.name}: all or nothing`).toBeLessThan(2);
          expect(replaces(module, kept), `${module.name} in ${loader}`).toBe(states.has(true));
        }
      }
      refuseHalfKept(modules, (name) => kept.includes(name));
    },
  );
});

test("stacked experts become FP8 where loaders read them so, and are kept and listed elsewhere", async () => {
  const found = async (family: string, to: DialectName) => {
    const { type, modules } = families[family]!;
    const { converted } = await planned(modules, type, to);
    return [...converted].some((name) => name.includes("experts."));
  };
  expect(await found("Qwen3.5-MoE", "deepseek-v3.1")).toBe(true);
  expect(await found("Qwen3.5-MoE", "mxfp8")).toBe(false);
  expect(await found("Llama-4", "deepseek-v3.1")).toBe(false);
  expect(await found("gpt-oss", "deepseek-v3.1")).toBe(false);
  expect(await found("gpt-oss", "gpt-oss")).toBe(true);
});
