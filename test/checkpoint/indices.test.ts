import { expect, test } from "vitest";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { documentsOf, openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import type { Source } from "../../src/io/source.ts";
import { BlockscaleError } from "../../src/tensor/errors.ts";
import { fileWith, tensor } from "../support/checkpoint-files.ts";

// Indices as accidents and strangers make them: an error that says what is wrong, or the checkpoint as it is meant.

const codes = tensor("a.weight", "F8_E4M3", [4, 4], new Uint8Array(16).fill(0x38));
const scale = tensor("a.weight_scale_inv", "F32", [1, 1], Float32Array.of(2));
const plain = tensor("b.weight", "BF16", [4, 4], new Uint16Array(16));
const [first, second] = ["m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"];
const whole = { "a.weight": first, "a.weight_scale_inv": first, "b.weight": second };
const CONFIG = new Blob([
  '{"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}',
]);

async function convert(index: Blob | Source, more: readonly [string, Blob][] = []): Promise<string[]> {
  const files = new Map<string, Source>([
    ["config.json", CONFIG],
    ["model.safetensors.index.json", index],
    [first, fileWith([codes, scale])],
    [second, fileWith([plain])],
    ...more,
  ]);
  const opened = await openCheckpoint(files);
  const plan = planDequantize(opened.checkpoint);
  const documents = documentsOf(opened, plan, { kind: "dequantize", dtype: "bf16" });
  const { weight_map } = JSON.parse(documents.at(-1)!.text);
  expect(Object.keys(weight_map)).toEqual(["a.weight", "b.weight"]);
  return [...opened.unread];
}

const mapped = (map: object) => JSON.stringify({ weight_map: map });
const deep = `${"[".repeat(50_000)}${"]".repeat(50_000)}`;

test.each([
  ["nothing", "", /expected JSON/],
  ["a list", '{"weight_map": []}', /an object with a weight_map/],
  ["no tensors", mapped({}), /names the file of each tensor, got none/],
  ["a number for a file", mapped({ ...whole, "b.weight": 2 }), /file names as text, got number/],
  ["a file outside", mapped({ ...whole, "b.weight": "../m.safetensors" }), /inside the folder/],
  [
    "a file outside, encoded",
    mapped({ ...whole, "b.weight": "%252e%252e/m.safetensors" }),
    /inside the folder/,
  ],
  ["a file of another kind", mapped({ ...whole, "b.weight": "config.json" }), /inside the folder/],
  [
    "an endless name",
    mapped({ ...whole, "b.weight": `${"y".repeat(1e6)}.safetensors` }),
    /inside the folder/,
  ],
  ["a file that is missing", mapped({ ...whole, c: "m-3.safetensors" }), /1 missing: m-3.safetensors/],
  [
    "a tensor that is missing",
    mapped({ ...whole, c: second }),
    /"c": expected it in m-00002.*no such tensor/,
  ],
  [
    "a tensor that is elsewhere",
    mapped({ ...whole, "a.weight": second }),
    /expected it in m-00002.*got it in m-00001/,
  ],
  ["a tensor __proto__", `{"weight_map": {"__proto__": "${first}"}}`, /"__proto__": expected it in/],
  [
    "metadata without end",
    `{"metadata": {"x": ${deep}}, "weight_map": ${JSON.stringify(whole)}}`,
    /nested too deep/,
  ],
  [
    "another version of the model",
    mapped({ "b.weight": second }),
    /none of m-00001-of-00002.safetensors, which holds 2/,
  ],
])("an index with %s is refused", async (_, text, message) => {
  const error = await convert(new Blob([text])).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(BlockscaleError);
  expect(error.code).toBe("format");
  expect(error.message).toMatch(message);
  expect(error.message.length).toBeLessThan(1000);
});

test("an index of gigabytes is refused unread", async () => {
  const source: Source = {
    size: 2 ** 33,
    slice: () => {
      throw new Error("read");
    },
  };
  await expect(convert(source)).rejects.toThrow(/index.json: expected a text of at most 268435456 bytes/);
});

test.each([
  ["metadata of another kind", JSON.stringify({ metadata: [7], weight_map: whole })],
  ["a mark of the byte order", `\ufeff${mapped(whole)}`],
  ["a tensor twice", `{"weight_map": {"b.weight": "x.safetensors", ${mapped(whole).slice(15, -1)}}`],
])("an index with %s is read", async (_, text) => {
  expect(await convert(new Blob([text]))).toEqual([]);
});

test("a shard without tensors, and an adapter, have no place in an index", async () => {
  const more: [string, Blob][] = [
    ["m-00003-of-00002.safetensors", fileWith([])],
    ["adapter_model.safetensors", fileWith([plain])],
  ];
  expect(await convert(new Blob([mapped(whole)]), more)).toEqual(more.map(([name]) => name));
});
