import type { Plan } from "../../src/checkpoint/plan/plan.ts";
import { type Checkpoint, readCheckpoint } from "../../src/checkpoint/read/checkpoint.ts";
import { fileBytes, localConverter } from "../../src/checkpoint/run/run.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { Precision } from "../../src/engine/precision.ts";
import type { Source } from "../../src/io/source.ts";
import { narrow } from "../../src/js/half.ts";
import type { Dtype } from "../../src/safetensors/dtype.ts";
import { serializeHeader, type TensorSpec } from "../../src/safetensors/header.ts";
import { readHeader } from "../../src/safetensors/read.ts";
import { VALUE_TYPE_ID } from "../../src/tensor/formats.ts";

/** A tensor with its bytes. */
export interface Stored extends TensorSpec {
  readonly bytes: Uint8Array;
}

export function tensor(
  name: string,
  dtype: Dtype,
  shape: readonly number[],
  data: Uint8Array | Uint16Array | Float32Array,
): Stored {
  return { name, dtype, shape, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

/** float32 values as a tensor of another type, rounded once. */
export function valuesAs(
  name: string,
  dtype: "F32" | "BF16" | "F16",
  shape: readonly number[],
  values: Float32Array,
): Stored {
  if (dtype === "F32") return tensor(name, dtype, shape, values);
  const type = { BF16: VALUE_TYPE_ID.bf16, F16: VALUE_TYPE_ID.f16 }[dtype];
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) halves[i] = narrow(type, words[i]!);
  return tensor(name, dtype, shape, halves);
}

/** A whole safetensors file. */
export function fileWith(tensors: readonly Stored[], metadata: [string, string][] | null = null): Blob {
  const { bytes } = serializeHeader("test", tensors, metadata === null ? null : new Map(metadata));
  return new Blob([bytes, ...tensors.map((stored) => stored.bytes)] as BlobPart[]);
}

/** The tensors of a file, by name. */
export async function tensorsOf(file: Source): Promise<Map<string, Stored & { readonly start: number }>> {
  const { tensors, dataStart } = await readHeader("test", file);
  const found = new Map<string, Stored & { readonly start: number }>();
  for (const { name, dtype, shape, begin, end } of tensors) {
    const start = dataStart + begin;
    const bytes = new Uint8Array(await file.slice(start, dataStart + end).arrayBuffer());
    found.set(name, { name, dtype, shape, bytes, start });
  }
  return found;
}

/** The headers of files, by name. */
export function checkpointOf(files: { readonly [name: string]: Blob }): Promise<Checkpoint> {
  return readCheckpoint(new Map(Object.entries(files)));
}

export interface Converted {
  readonly files: readonly Blob[];
  readonly measured: ReadonlyMap<string, Precision>;
}

/** Runs a plan to the end, in this thread. */
export async function run(
  plan: Plan,
  sources: readonly Blob[],
  engine: Engine,
  ahead = 1,
): Promise<Converted> {
  const measured = new Map<string, Precision>();
  const files: Blob[] = [];
  for (const file of plan.files) {
    const chunks: Uint8Array[] = [];
    const bytes = fileBytes(file, {
      sources,
      convert: localConverter(engine, sources),
      ahead,
      onPrecision: (name, precision) => measured.set(name, precision),
    });
    for await (const chunk of bytes) chunks.push(chunk);
    files.push(new Blob(chunks as BlobPart[]));
  }
  return { files, measured };
}
