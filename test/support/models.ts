import { readFileSync } from "node:fs";
import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { documentsOf, openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { load } from "../../src/load.ts";
import { run, tensorsOf } from "./checkpoint-files.ts";

/** Random models with the answers of transformers in float32, by architecture. */
export const DECODERS: readonly string[] = [
  "llama",
  "mistral",
  "qwen2",
  "qwen3",
  "qwen3_moe",
  "deepseek_v3",
  "gpt_oss",
];
export const ENCODERS: readonly string[] = ["bert", "xlm_roberta"];

const ROOT = new URL("../model/models/", import.meta.url);

function blobOf(path: string): Blob {
  return new Blob([readFileSync(new URL(path, ROOT)) as BlobPart]);
}

/** The files of a model as it is stored: FP8 with UE8M0 scales, or MXFP4 experts. */
export function filesOf(name: string): Map<string, Blob> {
  return new Map(["config.json", "model.safetensors"].map((file) => [file, blobOf(`${name}/${file}`)]));
}

/** The same model in bfloat16, which holds the values exactly. */
export async function plainFilesOf(name: string): Promise<Map<string, Blob>> {
  const opened = await openCheckpoint(filesOf(name));
  const plan = planDequantize(opened.checkpoint, { dtype: "bf16" });
  const engine = await load();
  const { files } = await run(plan, opened.sources as Blob[], engine);
  const documents = documentsOf(opened, plan, { kind: "dequantize", dtype: "bf16" });
  return new Map<string, Blob>([
    ["model.safetensors", files[0]!],
    ...documents.map(({ name: file, text }): [string, Blob] => [file, new Blob([text])]),
  ]);
}

/** The outputs of transformers for a model. */
export interface Answers {
  floats(name: string): Float32Array;
  ints(name: string): Int32Array;
}

export async function answersOf(name: string): Promise<Answers> {
  const found = await tensorsOf(blobOf(`${name}/answers.safetensors`));
  const { buffer: none } = new Uint8Array(0);
  return {
    floats: (key) => new Float32Array(found.get(key)?.bytes.buffer ?? none),
    ints(key) {
      const { dtype, bytes } = found.get(key)!;
      return dtype === "I64"
        ? Int32Array.from(new BigInt64Array(bytes.buffer), Number)
        : new Int32Array(bytes.buffer);
    },
  };
}

/** Signal to noise in decibels: the expected values against the differences from them. */
export function decibels(expected: Float32Array, found: Float32Array): number {
  if (expected.length !== found.length) return -Infinity;
  let signal = 0;
  let noise = 0;
  expected.forEach((x, i) => {
    signal += x * x;
    noise += (x - found[i]!) ** 2;
  });
  return 10 * Math.log10(signal / noise);
}
