import { describe, expect, test } from "vitest";
import { inspect } from "../../src/checkpoint/measure/inspect.ts";
import { quantizedDocuments } from "../../src/checkpoint/plan/config.ts";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import { fileWith, type Stored, tensor, valuesAs } from "../support/checkpoint-files.ts";
import { codesOf, dequantized, opened, plain, text } from "../support/quantised-checkpoints.ts";
import { randomNormal } from "../support/random.ts";

describe("quantised data of other methods", () => {
  const kinds: [what: string, Stored[], config: unknown, method: RegExp][] = [
    [
      "GPTQ",
      [
        tensor("a.q_proj.qweight", "I32", [8, 64], new Uint8Array(2048)),
        tensor("a.q_proj.qzeros", "I32", [1, 8], new Uint8Array(32)),
        tensor("a.q_proj.scales", "F16", [1, 64], new Uint16Array(64)),
      ],
      { quantization_config: { quant_method: "gptq", bits: 4 } },
      /GPTQ/,
    ],
    [
      "AWQ without a config",
      [tensor("a.q_proj.qweight", "I32", [64, 8], new Uint8Array(2048))],
      undefined,
      /GPTQ or AWQ/,
    ],
    [
      "bitsandbytes",
      [
        tensor("a.q_proj.weight", "U8", [2048, 1], new Uint8Array(2048)),
        tensor("a.q_proj.weight.absmax", "F32", [64], new Float32Array(64)),
        tensor("a.q_proj.weight.quant_state.bitsandbytes__nf4", "U8", [80], new Uint8Array(80)),
      ],
      { quantization_config: { quant_method: "bitsandbytes", load_in_4bit: true } },
      /bitsandbytes/,
    ],
    [
      "INT8 weights and activations",
      [
        tensor("a.q_proj.weight", "I8", [64, 64], new Uint8Array(4096)),
        tensor("a.q_proj.weight_scale", "F32", [64, 1], new Float32Array(64).fill(1)),
      ],
      { quantization_config: { quant_method: "compressed-tensors", format: "int-quantized" } },
      /int-quantized \(I8 codes\)/,
    ],
    [
      "INT4 pack-quantized",
      [
        tensor("a.q_proj.weight_packed", "I32", [64, 8], new Uint8Array(2048)),
        tensor("a.q_proj.weight_scale", "BF16", [64, 2], new Uint16Array(128)),
        tensor("a.q_proj.weight_shape", "I64", [2], new Uint8Array(16)),
      ],
      { quantization_config: { quant_method: "compressed-tensors", format: "pack-quantized" } },
      /pack-quantized \(I32 codes\)/,
    ],
    [
      "codes in an unknown container",
      [tensor("a.experts.down_proj", "U8", [2, 64, 32], new Uint8Array(4096))],
      { expert_dtype: "fp4" },
      /U8 codes of an unknown kind/,
    ],
    [
      "torchao",
      [tensor("a.q_proj._weight_qdata", "I8", [64, 64], new Uint8Array(4096))],
      { quantization_config: { quant_method: "torchao" } },
      /torchao/,
    ],
    [
      "quanto",
      [tensor("a.q_proj.weight._data", "I8", [64, 64], new Uint8Array(4096))],
      { quantization_config: { quant_method: "quanto" } },
      /quanto/,
    ],
  ];

  test.each(kinds)("%s: no conversion, and inspect tells", async (_, tensors, config, method) => {
    const { checkpoint, sources } = await opened([plain, ...tensors], config);
    for (const plan of [() => planDequantize(checkpoint), () => planQuantize(checkpoint)]) {
      expect(plan).toThrow(method);
      expect(plan).toThrow(/in \d+ tensors?\. Make plain weights with .* first\. Nothing was written/);
    }
    const { warnings, dialect } = await inspect(checkpoint, sources);
    expect(warnings.join("\n")).toMatch(method);
    expect(dialect).toMatch(/\(not read\)$/);
  });

  test("a method in config.json without such tensors is refused too", async () => {
    const { checkpoint } = await opened([plain], { quantization_config: { quant_method: "awq" } });
    expect(() => planQuantize(checkpoint)).toThrow(/although no tensor looks like AWQ/);
    expect((await inspect(checkpoint, null)).warnings.join()).toMatch(/although no tensor looks like AWQ/);
  });

  test("so is one in ModelOpt's hf_quant_config.json, and a method that is read is not", async () => {
    const opening = (algorithm: string) =>
      openCheckpoint(
        new Map([
          ["model.safetensors", fileWith([plain])],
          ["hf_quant_config.json", text({ quantization: { quant_algo: algorithm } })],
        ]),
      );
    for (const algorithm of ["W4A16_AWQ", "W8A8_SQ_PER_CHANNEL"]) {
      const { checkpoint } = await opening(algorithm);
      const expected = `although no tensor looks like ${algorithm} of ModelOpt`;
      for (const plan of [() => planQuantize(checkpoint), () => planDequantize(checkpoint)])
        expect(plan).toThrow(expected);
      expect((await inspect(checkpoint, null)).warnings.join()).toContain(expected);
    }
    for (const algorithm of ["FP8", "NVFP4"])
      expect(planQuantize((await opening(algorithm)).checkpoint).files).toHaveLength(1);
  });

  test.each([
    ["a method nobody knows", { quant_method: "new" }, "a.q_proj.bits", "U8"],
    ["a packed vector", undefined, "a.q_proj.weight", "U8"],
    ["HQQ without a config", undefined, "a.q_proj.W_q", "U8"],
    ["AQLM without a config", undefined, "a.q_proj.codes", "I8"],
  ] as const)("%s", async (what, quantization, name, dtype) => {
    const shape = what.includes("vector") ? [64] : [8, 8];
    const codes = tensor(name, dtype, shape, new Uint8Array(64));
    const { checkpoint } = await opened([plain, codes], { quantization_config: quantization });
    expect(() => planDequantize(checkpoint)).toThrow(name);
    expect(() => planQuantize(checkpoint)).toThrow(name);
  });

  test("transforms of weights alone are no obstacle, for they cancel each other out", async () => {
    const transforms = (location: string) => ({
      quant_method: "compressed-tensors",
      transform_config: { config_groups: { R1: { type: "hadamard", apply: [{ location }] } } },
    });
    const fused = await opened([plain], { quantization_config: transforms("weight_output") });
    expect(planDequantize(fused.checkpoint).tensors).toHaveLength(1);
    const online = await opened([plain], { quantization_config: transforms("q_attn") });
    expect(() => planQuantize(online.checkpoint)).toThrow(/applies while it runs: R1/);
    expect((await inspect(online.checkpoint, null)).warnings.join()).toMatch(/R1/);
  });

  test("masks, positions and tables of integers are no quantised data", async () => {
    const tensors = [
      plain,
      tensor("a.attn.bias", "BOOL", [1, 1, 8, 8], new Uint8Array(64)),
      tensor("a.position_ids", "I64", [1, 8], new Uint8Array(64)),
      tensor("a.relative_position_index", "I64", [4, 4], new Uint8Array(128)),
      tensor("a.masked", "U8", [4, 4], new Uint8Array(16)),
    ];
    const { checkpoint } = await opened(tensors, {});
    expect(planQuantize(checkpoint).tensors.map(({ action }) => action)).toEqual([
      "quantize",
      "copy",
      "copy",
      "copy",
      "copy",
    ]);
  });
});

describe("what describes a quantisation that is gone", () => {
  const scaled = [
    tensor("a.weight", "F8_E4M3", [32, 32], codesOf(3, 1024)),
    tensor("a.weight_scale", "F32", [], Float32Array.of(0.5)),
  ];

  test.each([
    "a.input_scale",
    "a.k_scale",
    "b.attn.v_scale",
    "b.kv_scale",
    "a.output_scale",
    "a.input_scale_ub",
    "a.experts.gate_up_proj_activation_scale",
    "a.scale_input",
    "a.qscale_act",
    "scaled_fp8",
  ])("%s is dropped, and listed", async (name) => {
    const { plan, found } = await dequantized([...scaled, tensor(name, "F32", [1], Float32Array.of(1))]);
    expect([...found.keys()]).toEqual(["a.weight"]);
    expect(plan.tensors.find((planned) => planned.name === name)).toMatchObject({ action: "drop" });
  });

  test("scales beside a plain weight go; a scale that nobody quantised with stays", async () => {
    const weight = valuesAs("b.weight", "BF16", [8, 8], randomNormal(4, 64));
    const stray = tensor("b.weight_scale_inv", "F32", [1, 1], Float32Array.of(2));
    const other = tensor("logit_scale", "F32", [], Float32Array.of(2));
    const { found } = await dequantized([...scaled, weight, stray, other]);
    expect([...found.keys()].sort()).toEqual(["a.weight", "b.weight", "logit_scale"]);
    const { found: alone } = await dequantized([weight, stray, other]);
    expect([...alone.keys()].sort()).toEqual(["b.weight", "b.weight_scale_inv", "logit_scale"]);
  });

  test("layers in __metadata__, and both names in config.json", async () => {
    const metadata: [string, string][] = [
      ["format", "pt"],
      ["_quantization_metadata", '{"layers":{"a":{"format":"float8_e4m3fn"}}}'],
    ];
    const config = {
      compression_config: { quant_method: "compressed-tensors", format: "float-quantized" },
      text_config: { quantization_config: { quant_method: "fp8" } },
    };
    const { plan, file, documents } = await dequantized(scaled, config, metadata);
    const head = await file.slice(8, plan.files[0]!.header.length).text();
    expect(head).toContain('"format":"pt"');
    expect(head).not.toContain("_quantization_metadata");
    expect(JSON.parse(documents[0]!.text)).toEqual({ text_config: {} });
  });

  test("labels however deep in config.json, but no settings of tokens", async () => {
    const label = { quant_method: "fp8" };
    const config = {
      thinker_config: { text_config: { quantization_config: label, expert_dtype: "fp8", layers: 2 } },
      vision_config: { compression_config: { ratio: 4 } },
    };
    const { documents } = await dequantized(scaled, config);
    const left = { thinker_config: { text_config: { layers: 2 } }, vision_config: config.vision_config };
    expect(JSON.parse(documents[0]!.text)).toEqual(left);
    const { checkpoint, configText } = await opened(scaled, config);
    const [made] = quantizedDocuments(
      configText!,
      checkpoint.config!,
      planQuantize(checkpoint),
      "deepseek-v3",
    );
    const { quantization_config: moved, ...others } = JSON.parse(made!.text).thinker_config.text_config;
    expect(moved).toMatchObject({ weight_block_size: [128, 128] });
    expect(others).toEqual({ layers: 2 });
  });

  test("torchao's classes of tensors in __metadata__", async () => {
    const metadata: [string, string][] = [
      ["format", "pt"],
      ["a.weight", '{"_type": "Float8Tensor", "_data": {}}'],
      ["b.weight", '{"_type": "Tensor"}'],
      ["tensor_names", '["a.weight", "b.weight"]'],
    ];
    const { plan } = await dequantized(scaled, undefined, metadata);
    const head = new TextDecoder().decode(plan.files[0]!.header.subarray(8));
    expect(JSON.parse(head).__metadata__).toEqual({ format: "pt" });
  });
});
