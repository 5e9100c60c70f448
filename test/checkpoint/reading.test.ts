import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { planQuantize } from "../../src/checkpoint/plan/quantize.ts";
import type { Config } from "../../src/checkpoint/read/checkpoint.ts";
import { METHODS } from "../../src/checkpoint/read/foreign.ts";
import { makers } from "../../src/checkpoint/read/makers/index.ts";
import { load } from "../../src/load.ts";
import type { Dtype } from "../../src/safetensors/dtype.ts";
import { byteLength } from "../../src/safetensors/dtype.ts";
import { decode, E4M3 } from "../reference/binary.ts";
import { checkpointOf, fileWith, run, type Stored, tensor, tensorsOf } from "../support/checkpoint-files.ts";
import { randomWords } from "../support/random.ts";

/**
 * The table of docs/checkpoints.md, a small checkpoint for each row: what is read here is what is said there.
 */
type Row = [maker: string, what: string, tensors: Stored[], quantization?: Config];

const [DEEPSEEK, COMPRESSED, MODELOPT, COMFYUI, MISTRAL, FBGEMM, TORCHAO, QUANTO, GPT_OSS] = makers.map(
  ({ name }) => name,
) as [string, string, string, string, string, string, string, string, string];

const at = (name: string, dtype: Dtype, ...shape: number[]): Stored => {
  const size = byteLength(dtype, shape)!;
  const bytes = Uint8Array.from(randomWords(size + 1, size), (word) => word & 0x3f);
  // Any bytes are codes; scales have to be numbers.
  return tensor(name, dtype, shape, dtype === "F32" ? new Float32Array(size / 4).fill(0.5) : bytes);
};
const group = (weights: Config): Config => ({
  quant_method: "compressed-tensors",
  config_groups: { group_0: { weights } },
});
const INT4 = { num_bits: 4, type: "int", symmetric: true, strategy: "group", group_size: 32 };

const READ: readonly Row[] = [
  [
    DEEPSEEK,
    "FP8 in 128x128 blocks, scales in F32, BF16 or F16: `X.weight_scale_inv`",
    [at("X.weight", "F8_E4M3", 160, 256), at("X.weight_scale_inv", "BF16", 2, 2)],
    { quant_method: "fp8", weight_block_size: [128, 128] },
  ],
  [
    DEEPSEEK,
    "the same with UE8M0 scales (DeepSeek-V4): `X.scale`",
    [at("X.weight", "F8_E4M3", 160, 256), at("X.scale", "F8_E8M0", 2, 2)],
  ],
  [
    DEEPSEEK,
    "FP4 of routed experts (DeepSeek-V4): I8 `X.weight`, `X.scale`",
    [at("X.weight", "I8", 16, 32), at("X.scale", "F8_E8M0", 16, 2)],
  ],
  [
    DEEPSEEK,
    "MXFP8 (transformers, MiniMax): U8 `X.weight_scale_inv`",
    [at("X.weight", "F8_E4M3", 16, 64), at("X.weight_scale_inv", "U8", 16, 2)],
    { quant_method: "mxfp8", weight_block_size: [1, 32] },
  ],
  [
    DEEPSEEK,
    "grids padded past the weight, where config.json names the block",
    [at("X.weight", "F8_E4M3", 160, 256), at("X.weight_scale_inv", "F32", 4, 4)],
    { quant_method: "fp8", weight_block_size: [128, 128] },
  ],
  [
    COMPRESSED,
    "FP8 by tensor, by channel, by block, by group: `X.weight_scale`",
    [at("X.weight", "F8_E4M3", 96, 64), at("X.weight_scale", "F32", 3, 4), at("X.input_scale", "F32", 1)],
    group({ num_bits: 8, type: "float", strategy: "block", block_structure: [32, 16] }),
  ],
  [
    COMPRESSED,
    "MXFP8 and MXFP4: U8 `X.weight_scale`, `X.weight_packed`",
    [at("X.weight_packed", "U8", 16, 32), at("X.weight_scale", "U8", 16, 2)],
  ],
  [
    COMPRESSED,
    "NVFP4: E4M3 `X.weight_scale` divided by `X.weight_global_scale`",
    [
      at("X.weight_packed", "U8", 16, 32),
      at("X.weight_scale", "F8_E4M3", 16, 4),
      at("X.weight_global_scale", "F32", 1),
      at("X.input_global_scale", "F32", 1),
    ],
  ],
  [
    COMPRESSED,
    "INT4, symmetric, in groups (`pack-quantized`: Kimi-K2-Thinking)",
    [
      at("X.weight_packed", "I32", 16, 8),
      at("X.weight_scale", "F32", 16, 2),
      tensor("X.weight_shape", "I64", [2], new Uint8Array(BigInt64Array.of(16n, 64n).buffer)),
    ],
    group(INT4),
  ],
  [
    MODELOPT,
    "FP8, MXFP8, and blocks as [N/128, 1, K/128, 1]: `X.weight_scale`",
    [at("X.weight", "F8_E4M3", 256, 256), at("X.weight_scale", "F32", 2, 1, 2, 1)],
  ],
  [
    MODELOPT,
    "NVFP4, MIXED_PRECISION too: E4M3 `X.weight_scale` times `X.weight_scale_2`",
    [
      at("X.weight", "U8", 16, 32),
      at("X.weight_scale", "F8_E4M3", 16, 4),
      at("X.weight_scale_2", "F32"),
      at("X.input_scale", "F32"),
      at("X.k_scale", "F32"),
    ],
    { quant_method: "modelopt", quant_algo: "MIXED_PRECISION" },
  ],
  [
    MODELOPT,
    "FP8 of stacked experts, one scale for all (Llama-4): `X_weight_scale`",
    [
      at("experts.up_proj", "F8_E4M3", 3, 16, 32),
      at("experts.up_proj_weight_scale", "F32"),
      at("experts.up_proj_input_scale", "F32"),
    ],
    { quant_method: "modelopt", quant_algo: "FP8" },
  ],
  [
    MODELOPT,
    "NVFP4 of stacked experts, two codes of a column (Llama-4, gpt-oss) or of a row to a byte: `X_weight_scale`, and a float32 for all or for each, `X_weight_scale_2`",
    [
      at("experts.up_proj", "U8", 3, 16, 6),
      tensor("experts.up_proj_weight_scale", "F8_E4M3", [3, 2, 6], new Uint8Array(36).fill(0x38)),
      at("experts.up_proj_weight_scale_2", "F32"),
      at("experts.up_proj_input_scale", "F32"),
    ],
    { quant_method: "modelopt", quant_algo: "NVFP4" },
  ],
  [
    COMFYUI,
    "scaled FP8: `X.scale_weight`, `X.weight_scale`, blocks as [N, blocks, 1]",
    [at("X.weight", "F8_E4M3", 16, 64), at("X.weight_scale", "F32", 16, 4, 1), at("X.comfy_quant", "U8", 9)],
  ],
  [
    MISTRAL,
    "FP8 by tensor: `X.qscale_weight`",
    [at("X.weight", "F8_E4M3", 16, 64), at("X.qscale_weight", "F32"), at("X.qscale_act", "F32")],
  ],
  [
    FBGEMM,
    "stacked experts, a scale for each or for each column: `[E]`, `[E, 1, 1]`, `[E, 1, N]`",
    [at("X.experts.up_proj", "F8_E4M3", 3, 16, 32), at("X.experts.up_proj_scale", "F32", 3, 1, 32)],
  ],
  [
    TORCHAO,
    "FP8: `X._weight_qdata`, `X.weight:qdata`",
    [at("X._weight_qdata", "F8_E4M3", 16, 64), at("X._weight_scale", "F32", 16, 1)],
    { quant_method: "torchao" },
  ],
  [
    QUANTO,
    "FP8: `X.weight._data`",
    [at("X.weight._data", "F8_E4M3", 16, 64), at("X.weight._scale", "F32", 16, 1)],
    { quant_method: "quanto" },
  ],
  [
    GPT_OSS,
    "MXFP4 of stacked experts: `X_blocks`, `X_scales`",
    [at("X.down_proj_blocks", "U8", 2, 16, 2, 16), at("X.down_proj_scales", "U8", 2, 16, 2)],
    { quant_method: "mxfp4" },
  ],
  [
    "AMD Quark",
    "MXFP4 experts beside FP8: U8 `X.weight`, `X.weight_scale`",
    [at("X.weight", "U8", 16, 32), at("X.weight_scale", "U8", 16, 2)],
    { quant_method: "quark" },
  ],
  [
    "AMD Quark",
    "MXFP6 in E2M3, where config.json says so: U8 `X.weight`, `X.weight_scale`",
    [at("X.weight", "U8", 16, 48), at("X.weight_scale", "U8", 16, 2)],
    { quant_method: "quark", global_quant_config: { weight: { dtype: "fp6_e2m3" } } },
  ],
  [
    "anybody",
    "FP8 with one scale for each part of `qkv_proj` or `gate_up_proj`",
    [at("X.gate_up_proj.weight", "F8_E4M3", 16, 64), at("X.gate_up_proj.weight_scale", "F32", 2)],
  ],
  [
    "anybody",
    "FP8 with one scale at the parent of several weights: `X.weight_scale` of `X.a.weight`, `X.b.weight`",
    [at("X.a.weight", "F8_E4M3", 16, 64), at("X.b.weight", "F8_E4M3", 8, 64), at("X.weight_scale", "F32", 1)],
  ],
  [
    "anybody",
    "E5M2, and E4M3 and E5M2 of AMD (FNUZ)",
    [at("X.weight", "F8_E5M2FNUZ", 16, 64), at("X.weight_scale", "F32")],
  ],
  ["anybody", "safetensors' own F4", [at("X.weight", "F4", 16, 64), at("X.weight_scale", "U8", 16, 2)]],
];

const REFUSED: readonly [what: string, tensors: Stored[], quantization?: Config][] = [
  ["INT8 (W8A8)", [at("X.weight", "I8", 16, 64), at("X.weight_scale", "F32", 16, 1)]],
  [
    "INT4 of another kind than `pack-quantized`, with zero points, or in another order",
    [
      at("X.weight_packed", "I32", 16, 8),
      at("X.weight_scale", "F32", 16, 2),
      at("X.weight_zero_point", "I32", 2, 2),
    ],
    group(INT4),
  ],
  [
    "integers of torchao and quanto",
    [at("X.weight._data", "I8", 16, 64), at("X.weight._scale", "F32", 16, 1)],
  ],
  [
    "FP8 whose scales fit no block, or are missing (but for `--missing-scale one`)",
    [at("X.weight", "F8_E4M3", 16, 64), at("X.weight_scale", "F32", 7)],
  ],
  [
    "FP8 with two tensors that may be its scales",
    [
      at("X.weight", "F8_E4M3", 16, 64),
      at("X.weight_scale", "F32", 16, 1),
      at("X.weight_scale_inv", "F32", 16, 1),
    ],
  ],
  [
    "MXFP6 in E3M2",
    [at("X.weight", "U8", 16, 48), at("X.weight_scale", "U8", 16, 2)],
    { quant_method: "quark", global_quant_config: { weight: { dtype: "fp6_e3m2" } } },
  ],
  ["packed codes of an unknown kind", [at("X.experts.down_proj", "U8", 2, 16, 32)]],
  [
    "MLX: U32 `X.weight`, `X.scales`, `X.biases`",
    [at("X.weight", "U32", 16, 8), at("X.scales", "BF16", 16, 1)],
  ],
  [
    "AWQ of ModelOpt whose inputs are scaled: `X.pre_quant_scale`",
    [
      at("X.weight", "U8", 16, 32),
      at("X.weight_scale", "F8_E4M3", 16, 4),
      at("X.weight_scale_2", "F32"),
      at("X.pre_quant_scale", "BF16", 64),
    ],
    { quant_method: "modelopt", quant_algo: "NVFP4_AWQ" },
  ],
  [
    "transforms of compressed-tensors that a model applies while it runs: `transform_config`",
    [at("X.weight", "F8_E4M3", 16, 64), at("X.weight_scale", "F32", 16, 1)],
    {
      quant_method: "compressed-tensors",
      transform_config: { config_groups: { R4: { type: "hadamard", apply: [{ location: "input" }] } } },
    },
  ],
  [
    "sparse weights of compressed-tensors, and any integers in a checkpoint that says it is quantised",
    [at("X.compressed", "BF16", 512), at("X.bitmask", "U8", 16, 8)],
    { sparsity_config: { format: "sparse-bitmask" } },
  ],
];

const withConfig = async (tensors: Stored[], quantization?: Config) => ({
  ...(await checkpointOf({ "model.safetensors": fileWith(tensors) })),
  config: quantization === undefined ? null : { quantization_config: quantization },
});

describe("read", () => {
  test.each<Row>([...READ])("%s: %s", async (_, what, tensors, quantization) => {
    const checkpoint = await withConfig(tensors, quantization);
    const plan = planDequantize(checkpoint);
    const kinds = plan.tensors.map(({ action, name }) => [action, name]);
    const made = kinds.filter(([action]) => action === "dequantize").map(([, name]) => name);
    // What is no weight is dropped, and nothing is copied.
    expect(kinds.every(([action]) => action !== "copy")).toBe(true);
    expect(made.length).toBe(what.includes("several weights") ? 2 : 1);
    const { files } = await run(plan, [fileWith(tensors)], await load());
    const found = await tensorsOf(files[0]!);
    expect([...found.keys()].sort()).toEqual([...made].sort());
    for (const { dtype } of found.values()) expect(dtype).toBe("BF16");
  });

  test("every family of tools has a row", () => {
    expect(new Set(READ.map(([maker]) => maker))).toEqual(
      new Set([...makers.map(({ name }) => name), "anybody"]),
    );
  });
});

describe("refused", () => {
  test.each<(typeof REFUSED)[number]>([...REFUSED])("%s", async (_, tensors, quantization) => {
    const checkpoint = await withConfig(tensors, quantization);
    expect(() => planDequantize(checkpoint)).toThrow(/expected .*, got /);
    expect(() => planQuantize(checkpoint)).toThrow(/expected .*, got /);
  });

  test.each(Object.entries(METHODS))("%s, by the name in config.json", async (key, { method }) => {
    const checkpoint = await withConfig([at("X.weight", "U8", 16, 64)], { quant_method: key });
    expect(() => planDequantize(checkpoint)).toThrow(method);
  });
});

test("one number at a parent serves the weights below it, bit for bit", async () => {
  const codes = Uint8Array.from(randomWords(3, 16 * 32), (word) => word & 0xbf);
  const tensors = [
    tensor("m.a.weight", "F8_E4M3", [16, 32], codes),
    tensor("m.b.weight", "F8_E4M3", [16, 32], codes),
    tensor("m.weight_scale", "F32", [], Float32Array.of(0.37)),
  ];
  const plan = planDequantize(await checkpointOf({ m: fileWith(tensors) }), { dtype: "f32" });
  const found = await tensorsOf((await run(plan, [fileWith(tensors)], await load())).files[0]!);
  const want = Float32Array.from(codes, (code) => decode(E4M3, code) * Math.fround(0.37));
  for (const name of ["m.a.weight", "m.b.weight"])
    expect(new Float32Array(found.get(name)!.bytes.slice().buffer)).toEqual(want);
  expect([...found.keys()]).toEqual(["m.a.weight", "m.b.weight"]);
  const stack = [tensor("m.a.weight", "F8_E4M3", [2, 8, 32], codes), tensors[2]!];
  const stacked = planDequantize(await checkpointOf({ m: fileWith(stack) }), { dtype: "f32" });
  const values = await tensorsOf((await run(stacked, [fileWith(stack)], await load())).files[0]!);
  expect(new Float32Array(values.get("m.a.weight")!.bytes.slice().buffer)).toEqual(want);
  const kept = planDequantize(await checkpointOf({ m: fileWith(tensors) }), { exclude: ["*"] });
  const copy = await tensorsOf((await run(kept, [fileWith(tensors)], await load())).files[0]!);
  expect([...copy.keys()].sort()).toEqual(["m.a.weight", "m.b.weight", "m.weight_scale"]);
});

test.each([
  ["it is no number but several", tensor("m.weight_scale", "F32", [2], Float32Array.of(1, 2))],
  ["its name says only scale", tensor("m.scale", "F32", [], Float32Array.of(1))],
  ["it lies two levels above", tensor("weight_scale", "F32", [], Float32Array.of(1))],
])("a scale at a parent is refused where %s", async (_, scale) => {
  const tensors = [tensor("m.a.weight", "F8_E4M3", [16, 32], new Uint8Array(512)), scale];
  const checkpoint = await checkpointOf({ m: fileWith(tensors) });
  expect(() => planDequantize(checkpoint)).toThrow(/expected scales for its F8_E4M3 codes/);
});

test("docs/checkpoints.md tells the same", () => {
  const docs = readFileSync(new URL("../../docs/checkpoints.md", import.meta.url), "utf8").split("\n");
  const below = (head: string) => {
    const first = docs.indexOf(head) + 2;
    return docs.slice(first, docs.indexOf("", first));
  };
  const read = READ.map(([maker, what]) => `| ${maker} | ${what} |`);
  expect(below("| made by | what is read |")).toEqual(read);
  const methods = new Set(Object.values(METHODS).map(({ method }) => method));
  const refused = [[...methods].join(", "), ...REFUSED.map(([what]) => what)].map((what) => `| ${what} |`);
  expect(below("| what is recognised and refused |")).toEqual(refused);
});
