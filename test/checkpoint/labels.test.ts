import { beforeAll, describe, expect, test } from "vitest";
import { inspect } from "../../src/checkpoint/measure/inspect.ts";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { documentsOf, openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { load } from "../../src/load.ts";
import { decodeCode, narrow } from "../reference/cast.ts";
import { fileWith, run, type Stored, tensor, tensorsOf, valuesAs } from "../support/checkpoint-files.ts";
import { randomNormal, randomWords } from "../support/random.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await load();
});

const bytes = (seed: number, n: number): Uint8Array =>
  Uint8Array.from(randomWords(seed, n), (w) => (w & 0xff) % 127);
const text = (value: unknown): Blob => new Blob([JSON.stringify(value)]);
const plain = valuesAs("b.q_proj.weight", "BF16", [64, 64], randomNormal(1, 64 * 64));

async function opened(
  tensors: readonly Stored[],
  config: unknown,
  metadata: [string, string][] | null = null,
) {
  const files = new Map([["model.safetensors", fileWith(tensors, metadata)]]);
  if (config !== undefined) files.set("config.json", text(config));
  return openCheckpoint(files);
}

async function dequantized(tensors: readonly Stored[], config?: unknown, metadata?: [string, string][]) {
  const checkpoint = await opened(tensors, config, metadata ?? null);
  const plan = planDequantize(checkpoint.checkpoint);
  const { files } = await run(plan, checkpoint.sources as Blob[], engine);
  const documents = documentsOf(checkpoint, plan, { kind: "dequantize", dtype: "bf16" });
  return { plan, found: await tensorsOf(files[0]!), file: files[0]!, documents };
}

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
    tensor("a.weight", "F8_E4M3", [32, 32], bytes(3, 1024)),
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
});

describe("scales that are not where others keep them", () => {
  const codes = bytes(5, 96 * 64);
  const weight = tensor("a.weight", "F8_E4M3", [96, 64], codes);
  const values = (scaleAt: (row: number, col: number) => number): Uint8Array => {
    const products = Float32Array.from(codes, (code, i) =>
      Math.fround(decodeCode("e4m3", code) * scaleAt(Math.floor(i / 64), i % 64)),
    );
    return new Uint8Array((narrow("bf16", products) as Uint16Array).buffer);
  };
  const numbers = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => 2 ** (i % 5) / 7);

  test.each<[string, Stored, (scales: Float32Array) => (row: number, col: number) => number]>([
    ["a scalar named scale_weight", tensor("a.scale_weight", "F32", [], numbers(1)), (s) => () => s[0]!],
    ["a scalar named qscale_weight", tensor("a.qscale_weight", "F32", [1], numbers(1)), (s) => () => s[0]!],
    [
      "blocks of a row with an axis for broadcasting",
      tensor("a.weight_scale", "F32", [96, 4, 1], numbers(384)),
      (s) => (row, col) => s[row * 4 + Math.floor(col / 16)]!,
    ],
    [
      "blocks with two axes for broadcasting",
      tensor("a.weight_scale", "F32", [1, 1, 1, 1], numbers(1)),
      (s) => () => s[0]!,
    ],
  ])("%s", async (_, scales, scaleAt) => {
    const { found } = await dequantized([weight, scales]);
    const floats = new Float32Array(scales.bytes.buffer);
    expect(found.get("a.weight")!.bytes).toEqual(values(scaleAt(floats)));
    expect([...found.keys()]).toEqual(["a.weight"]);
  });

  test("a grid wider and taller than the weight needs is cropped, where config.json names the block", async () => {
    const scales = tensor("a.weight_scale_inv", "F32", [5, 6], numbers(30));
    const config = { quantization_config: { quant_method: "fp8", weight_block_size: [32, 16] } };
    const { found } = await dequantized([weight, scales], config);
    const floats = new Float32Array(scales.bytes.buffer);
    expect(found.get("a.weight")!.bytes).toEqual(
      values((row, col) => floats[Math.floor(row / 32) * 6 + Math.floor(col / 16)]!),
    );
    await expect(dequantized([weight, scales])).rejects.toThrow(/fits neither any known one/);
  });

  test("blocks and groups of compressed-tensors are read from config.json", async () => {
    const scales = tensor("a.weight_scale", "F32", [3, 4], numbers(12));
    const group = { weights: { num_bits: 8, type: "float", strategy: "block", block_structure: [32, 16] } };
    const config = {
      quantization_config: { quant_method: "compressed-tensors", config_groups: { a: group } },
    };
    const floats = new Float32Array(scales.bytes.buffer);
    expect((await dequantized([weight, scales], config)).found.get("a.weight")!.bytes).toEqual(
      values((row, col) => floats[Math.floor(row / 32) * 4 + Math.floor(col / 16)]!),
    );
  });

  test("one scale an expert, and one a column of an expert", async () => {
    const stacked = tensor("a.experts.up_proj", "F8_E4M3", [3, 32, 64], codes);
    for (const shape of [[3], [3, 1, 1]]) {
      const scales = tensor("a.experts.up_proj_scale", "F32", shape, numbers(3));
      const floats = new Float32Array(scales.bytes.buffer);
      const { found } = await dequantized([stacked, scales]);
      expect(found.get("a.experts.up_proj")!.bytes).toEqual(values((row) => floats[Math.floor(row / 32)]!));
    }
    const scales = tensor("a.experts.up_proj_scale", "F32", [3, 1, 64], numbers(192));
    const floats = new Float32Array(scales.bytes.buffer);
    const { found } = await dequantized([stacked, scales]);
    expect(found.get("a.experts.up_proj")!.bytes).toEqual(
      values((row, col) => floats[Math.floor(row / 32) * 64 + col]!),
    );
  });

  test("a scale of 0 serves a block of zeros, and no other", async () => {
    const zeros = codes.slice().fill(0, 0, 64);
    const scales = Float32Array.from({ length: 96 }, (_, i) => (i === 0 ? 0 : 0.5));
    const perRow = tensor("a.weight_scale", "F32", [96, 1], scales);
    const { found } = await dequantized([tensor("a.weight", "F8_E4M3", [96, 64], zeros), perRow]);
    expect([...found.get("a.weight")!.bytes.subarray(0, 128)].every((byte) => byte === 0)).toBe(true);
    await expect(dequantized([weight, perRow])).rejects.toThrow(/a\.weight_scale.*0 for the block at row 0/);
    for (const [found, warnings] of [
      [zeros, []],
      [codes, [expect.stringMatching(/a\.weight_scale.*0 for the block at row 0/)]],
    ] as const) {
      const { checkpoint, sources } = await opened(
        [tensor("a.weight", "F8_E4M3", [96, 64], found), perRow],
        {},
      );
      const inspection = await inspect(checkpoint, sources);
      expect(inspection.warnings).toEqual(warnings);
      expect(inspection.tensors[0]!.scaled!.facts).toMatchObject({ count: 96, minExponent: -1 });
    }
  });

  test("a tensor that may be the scale is named, and scales of 1 are not advised", async () => {
    const scales = tensor("a.strange_scale", "F32", [7], numbers(7));
    const { checkpoint } = await opened([weight, scales], {});
    for (const options of [{}, { missingScale: "one" as const }]) {
      expect(() => planDequantize(checkpoint, options)).toThrow(/none, but tensor "a.strange_scale"/);
      expect(() => planDequantize(checkpoint, options)).not.toThrow(/--missing-scale/);
    }
  });

  test("scales of several rows beside a weight of no columns fit no block", async () => {
    const empty = tensor("a.weight", "F8_E4M3", [96, 0], new Uint8Array(0));
    const scales = tensor("a.weight_scale_inv", "F32", [1, 3], numbers(3));
    const config = { quantization_config: { weight_block_size: [128, 128] } };
    const { checkpoint, sources } = await opened([empty, scales], config);
    expect(() => planDequantize(checkpoint)).toThrow(/fits neither the configured block/);
    expect((await inspect(checkpoint, sources)).warnings).toHaveLength(1);
  });

  test("nor does a scale for each of several parts of a row without columns", async () => {
    const empty = tensor("a.weight", "F8_E4M3", [96, 0], new Uint8Array(0));
    const scales = tensor("a.weight_scale", "F32", [96, 3, 1], numbers(96 * 3));
    const { checkpoint, sources } = await opened([empty, scales], {});
    expect(() => planDequantize(checkpoint)).toThrow(/fits neither any known one/);
    expect((await inspect(checkpoint, sources)).warnings).toHaveLength(1);
  });

  test("blocks that no tensor can have are a warning to who looks, and refused otherwise", async () => {
    const config = { quantization_config: { weight_block_size: [2 ** 40, 1] } };
    const { checkpoint } = await opened([weight], config);
    expect(() => planDequantize(checkpoint)).toThrow(/at most 2\^31/);
    const { warnings } = await inspect(checkpoint, null);
    expect(warnings[0]).toMatch(/at most 2\^31/);
  });

  test.each([
    ["F4 of one dimension", tensor("a.table", "F4", [8], new Uint8Array(4))],
    ["F6 of any name", tensor("a.weight_scale", "F6_E2M3", [4, 4], new Uint8Array(12))],
  ])("%s is codes, whatever is beside it", async (_, codes) => {
    const { checkpoint } = await opened([codes, valuesAs("b.weight", "BF16", [4, 4], numbers(16))], {});
    expect(() => planDequantize(checkpoint)).toThrow(/codes of an unknown kind/);
  });

  test("a marker of FP8 without a weight is dropped", async () => {
    const marker = tensor("scaled_fp8", "F8_E4M3", [2], new Uint8Array(2));
    const { checkpoint } = await opened([marker, valuesAs("b.weight", "BF16", [4, 4], numbers(16))], {});
    expect(planDequantize(checkpoint).tensors.map(({ action }) => action)).toEqual(["drop", "copy"]);
  });

  test("so is a tensor of the shape of scales, and a bias is none", async () => {
    const odd = tensor("a.strange", "F32", [96, 1], numbers(96));
    const bias = tensor("a.bias", "F32", [96], numbers(96));
    const { checkpoint } = await opened([weight, bias, odd], {});
    for (const options of [{}, { missingScale: "one" as const }])
      expect(() => planDequantize(checkpoint, options)).toThrow(/none, but tensor "a.strange"/);
    const { checkpoint: biased } = await opened([weight, bias], {});
    expect(() => planDequantize(biased)).toThrow(/--missing-scale one/);
    expect(planDequantize(biased, { missingScale: "one" }).tensors[0]!.scaleTakenAsOne).toBe(true);
  });
});

describe("NVFP4", () => {
  const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6];
  const packed = Uint8Array.from(randomWords(9, 8 * 32), (word) => word & 0xff);
  const scales = Uint8Array.from(randomWords(10, 8 * 4), (word) => 1 + (word % 126));
  const values = (scaleOf: (code: number) => number): Uint8Array => {
    const products = Float32Array.from({ length: 8 * 64 }, (_, i) => {
      const byte = packed[i >> 1]!;
      const scale = scales[Math.floor(i / 64) * 4 + Math.floor((i % 64) / 16)]!;
      return Math.fround(E2M1[i & 1 ? byte >> 4 : byte & 15]! * scaleOf(scale));
    });
    return new Uint8Array((narrow("bf16", products) as Uint16Array).buffer);
  };

  test("of ModelOpt: times one float32", async () => {
    const { found } = await dequantized([
      tensor("a.weight", "U8", [8, 32], packed),
      tensor("a.weight_scale", "F8_E4M3", [8, 4], scales),
      tensor("a.weight_scale_2", "F32", [], Float32Array.of(0.013)),
      tensor("a.input_scale", "F32", [], Float32Array.of(1)),
    ]);
    const factor = Math.fround(0.013);
    expect([...found.keys()]).toEqual(["a.weight"]);
    expect(found.get("a.weight")!.bytes).toEqual(
      values((code) => Math.fround(decodeCode("e4m3", code) * factor)),
    );
  });

  test("of compressed-tensors: divided by one float32", async () => {
    const { found } = await dequantized([
      tensor("a.weight_packed", "U8", [8, 32], packed),
      tensor("a.weight_scale", "F8_E4M3", [8, 4], scales),
      tensor("a.weight_global_scale", "F32", [1], Float32Array.of(777)),
    ]);
    expect([...found.keys()]).toEqual(["a.weight"]);
    expect(found.get("a.weight")!.bytes).toEqual(
      values((code) => Math.fround(decodeCode("e4m3", code) / 777)),
    );
  });
});

describe("the files of a folder", () => {
  const file = (name: string): Blob => fileWith([valuesAs(name, "F32", [2, 2], Float32Array.of(1, 2, 3, 4))]);

  test("a copy in Mistral's layout is left out beside the files of transformers, and read alone", async () => {
    const mistral: [string, Blob][] = [
      ["consolidated.safetensors", file("b")],
      ["params.json", text({})],
    ];
    const both = new Map([["config.json", text({})], ["model.safetensors", file("a")], ...mistral] as const);
    const { checkpoint, leftOut, others } = await openCheckpoint(both);
    expect(checkpoint.shards.map(({ name }) => name)).toEqual(["model.safetensors"]);
    expect(leftOut).toEqual(["consolidated.safetensors", "params.json"]);
    expect(others).toEqual([]);
    const alone = await openCheckpoint(new Map(mistral));
    expect(alone.checkpoint.shards.map(({ name }) => name)).toEqual(["consolidated.safetensors"]);
    expect(alone.leftOut).toEqual([]);
  });

  test("model.safetensors is the model, and an adapter beside it is carried over unread", async () => {
    const files = new Map([
      ["config.json", text({})],
      ["model.safetensors", file("a")],
      ["adapter_model.safetensors", file("a")],
    ]);
    const { checkpoint, unread, others } = await openCheckpoint(files);
    expect(checkpoint.shards).toHaveLength(1);
    expect(unread).toEqual(["adapter_model.safetensors"]);
    expect(others).toEqual(["adapter_model.safetensors"]);
  });

  test("Infinity and NaN of Python stay in config.json as they were", async () => {
    const config =
      '{\n  "limit": [0.0, Infinity],\n  "low": -Infinity, "n": NaN, "s": "NaN, \\"Infinity\\"",\n  "quantization_config": {"quant_method": "fp8"}\n}';
    const files = new Map([
      ["config.json", new Blob([config])],
      ["model.safetensors", file("a.weight")],
    ]);
    const checkpoint = await openCheckpoint(files);
    expect(checkpoint.checkpoint.config).toMatchObject({ low: null, s: 'NaN, "Infinity"' });
    const plan = planDequantize(checkpoint.checkpoint);
    const [document] = documentsOf(checkpoint, plan, { kind: "dequantize", dtype: "bf16" });
    expect(document!.text).toBe(config.replace(/,\n {2}"quantization_config.*\n/, "\n"));
  });

  test("stacked experts that stay are named by their module", async () => {
    const experts = valuesAs("l.0.mlp.experts.down_proj", "BF16", [2, 4, 4], randomNormal(2, 32));
    const checkpoint = await opened([plain, experts], {});
    const plan = planQuantize(checkpoint.checkpoint);
    const [document] = documentsOf(checkpoint, plan, { kind: "quantize", to: "deepseek-v3.1" });
    const { quantization_config: quantization } = JSON.parse(document!.text);
    expect(quantization.modules_to_not_convert).toEqual(["l.0.mlp.experts"]);
  });
});
