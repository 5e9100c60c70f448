import { expect, test } from "vitest";
import { inspect } from "../../src/checkpoint/measure/inspect.ts";
import { byteLength, DTYPE_BITS, type Dtype } from "../../src/safetensors/dtype.ts";
import { checkpointOf, fileWith, type Stored, tensor } from "../support/checkpoint-files.ts";
import { randomWords } from "../support/random.ts";

// Files with a valid header, and tensors that make no sense together: each can be looked at.

const NAMES = [
  "a.weight",
  "a.weight_scale_inv",
  "a.weight_scale",
  "a.scale",
  "a.weight_packed",
  "a.weight_scale_2",
]
  .concat([
    "a.weight_global_scale",
    "a.weight_shape",
    "e_blocks",
    "e_scales",
    "a.qweight",
    "a.weight._data",
    "a.weight._scale",
  ])
  .concat([
    "a.qkv_proj.weight",
    "a.qkv_proj.weight_scale",
    "a.gate_up_proj.weight",
    "a.gate_up_proj.weight_scale",
  ]);
const SHAPES: readonly (readonly number[])[] = [
  [],
  [0],
  [1],
  [2],
  [3],
  [4, 32],
  [4, 1],
  [4, 2],
  [0, 32],
  [32, 0],
  [1, 1],
  [2, 4, 16],
  [2, 3, 2, 16],
  [2, 3, 2],
  [2, 1, 1],
  [4, 1, 2, 1],
  [1, 1, 1, 1, 1],
];
const DTYPES = Object.keys(DTYPE_BITS) as Dtype[];
const CONFIGS = [
  null,
  { quantization_config: { weight_block_size: [128, 128] } },
  { quantization_config: { weight_block_size: [0, -1] } },
  { quantization_config: { weight_block_size: "128" } },
  { quantization_config: { quant_method: "gptq" } },
  {
    quantization_config: {
      config_groups: {
        a: null,
        b: { weights: { group_size: 16, num_bits: 4, type: "int", strategy: "group", symmetric: true } },
      },
    },
  },
  { quantization_config: { config_groups: 3 }, text_config: null, num_attention_heads: "many" },
];

/** A few tensors by chance. */
function chance(seed: number): { readonly file: Blob; readonly config: object | null } {
  const words = [...randomWords(seed, 40)];
  const pick = <T>(list: readonly T[]): T => list[words.pop()! % list.length]!;
  const tensors = new Map<string, Stored>();
  for (let i = 0; i < 6; i++) {
    const [name, dtype, shape] = [pick(NAMES), pick(DTYPES), pick(SHAPES)];
    const bytes = byteLength(dtype, shape);
    if (bytes === null) continue;
    tensors.set(
      name,
      tensor(
        name,
        dtype,
        shape,
        Uint8Array.from(randomWords(seed + i, bytes), (word) => word & 255),
      ),
    );
  }
  return { file: fileWith([...tensors.values()]), config: pick(CONFIGS) };
}

test("inspect shows what is inside of every file whose header is valid", async () => {
  let warned = 0;
  for (let seed = 1; seed <= 3000; seed++) {
    const { file, config } = chance(seed);
    const checkpoint = { ...(await checkpointOf({ m: file })), config: config as never };
    const { tensors, warnings } = await inspect(checkpoint, [file], { missingScale: "one" }).catch(
      (cause) => {
        throw new Error(`seed ${seed}`, { cause });
      },
    );
    expect(tensors.length).toBeLessThanOrEqual(checkpoint.shards[0]!.header.tensors.length);
    if (warnings.length > 0) warned++;
  }
  expect(warned).toBeGreaterThan(100);
});
