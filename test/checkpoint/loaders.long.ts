import { describe, expect, test } from "vitest";
import { type DialectName, dialects } from "../../src/checkpoint/dialects/index.ts";
import { documentsOf, openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import { fileWith, valuesAs } from "../support/checkpoint-files.ts";
import { families, HIDDEN, type Module, SIZE, VOCABULARY } from "./loader-families.ts";

// What a loader builds as quantised must be what was converted, module by module: a module that is in neither, or in one
// of them alone, is loaded wrong or not at all. The rules of each loader are written down here from its source.

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

/**
 * vLLM, vllm/model_executor/layers/quantization/quark/utils.py, should_ignore_layer: whole names, or `re:` and
 * what a name begins with; the experts of a layer by the name of their module. A head is no LinearBase.
 */
const vllmQuark: Rule = ({ name, kind }, kept) =>
  (kind === "experts" || kind === "linear") &&
  !kept.some((ignored) =>
    ignored.startsWith("re:") ? new RegExp(`^(?:${ignored.slice(3)})`).test(name) : ignored === name,
  );

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
  "quark-mxfp6": [["vLLM", vllmQuark]],
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
  const kept: string[] = told.modules_to_not_convert ?? told.ignored_layers ?? told.exclude ?? told.ignore;
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
