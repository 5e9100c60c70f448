import { planDequantize } from "../../src/checkpoint/plan/dequantize.ts";
import { documentsOf, openCheckpoint } from "../../src/checkpoint/plan/folder.ts";
import { load } from "../../src/load.ts";
import { fileWith, run, type Stored, tensorsOf, valuesAs } from "./checkpoint-files.ts";
import { once } from "./once.ts";
import { randomNormal, randomWords } from "./random.ts";

const engine = once(() => load());

/** Codes of E4M3 other than NaN. */
export function codesOf(seed: number, n: number): Uint8Array {
  return Uint8Array.from(randomWords(seed, n), (w) => (w & 0xff) % 127);
}

/** A file of JSON. */
export const text = (value: unknown): Blob => new Blob([JSON.stringify(value)]);

/** A weight that is not quantised. */
export const plain: Stored = valuesAs("b.q_proj.weight", "BF16", [64, 64], randomNormal(1, 64 * 64));

/** Opens a checkpoint of one file, with a config.json unless `config` is left out. */
export async function opened(
  tensors: readonly Stored[],
  config: unknown,
  metadata: [string, string][] | null = null,
) {
  const files = new Map([["model.safetensors", fileWith(tensors, metadata)]]);
  if (config !== undefined) files.set("config.json", text(config));
  return openCheckpoint(files);
}

/** Dequantises such a checkpoint to BF16: the plan, the output file with its tensors, and the documents. */
export async function dequantized(
  tensors: readonly Stored[],
  config?: unknown,
  metadata?: [string, string][],
) {
  const checkpoint = await opened(tensors, config, metadata ?? null);
  const plan = planDequantize(checkpoint.checkpoint);
  const { files } = await run(plan, checkpoint.sources as Blob[], await engine());
  const documents = documentsOf(checkpoint, plan, { kind: "dequantize", dtype: "bf16" });
  return { plan, found: await tensorsOf(files[0]!), file: files[0]!, documents };
}
