import type { Source } from "../io/source.ts";
import type { Json } from "../model/json.ts";
import type { Program } from "../model/program.ts";
import { serializeHeader } from "../safetensors/header.ts";
import { readHeader } from "../safetensors/read.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { Moments, Parameter } from "./parameters.ts";

/** How means are stored. */
const TYPES = { f32: { dtype: "F32", bytes: 4 }, bf16: { dtype: "BF16", bytes: 2 } } as const;
const F32 = TYPES.f32;

/** The file of an optimiser's state beside those of a checkpoint. */
export const OPTIMIZER = "optimizer.safetensors";

/** config.json and model.safetensors in float32. */
export function modelFiles(program: Program, all: readonly Parameter[], json: Json): Map<string, Blob> {
  const { quantization_config: _, ...rest } = json as { quantization_config?: unknown };
  const config = JSON.stringify({ ...rest, dtype: "float32", torch_dtype: "float32" }, null, 2);
  const weights = all.map((one) => ({ name: one.name, parameter: one, place: one.value, type: F32 }));
  return new Map([
    ["config.json", new Blob([config])],
    ["model.safetensors", fileOf(program, weights, { format: "pt" })],
  ]);
}

/** The means of AdamW, and the number of steps. */
export function optimizerFile(
  program: Program,
  all: readonly Parameter[],
  moments: Moments,
  steps: number,
): Blob {
  const type = TYPES[moments];
  const means = all.flatMap((parameter) => [
    { name: `${parameter.name}.m`, parameter, place: parameter.m, type },
    { name: `${parameter.name}.v`, parameter, place: parameter.v, type },
  ]);
  return fileOf(program, means, { steps: String(steps) });
}

interface Written {
  readonly name: string;
  readonly parameter: Parameter;
  readonly place: number;
  readonly type: (typeof TYPES)[Moments];
}

function fileOf(program: Program, tensors: readonly Written[], metadata: { [key: string]: string }): Blob {
  const specs = tensors.map(({ name, parameter, type }) => ({
    name,
    dtype: type.dtype,
    shape: [...parameter.shape],
  }));
  const { bytes } = serializeHeader("model.safetensors", specs, new Map(Object.entries(metadata)));
  // Copies: a Blob takes no shared memory.
  const values = tensors.map(({ parameter, place, type }) =>
    new Uint8Array(program.buffer, place, type.bytes * parameter.count).slice(),
  );
  return new Blob([bytes as BlobPart, ...(values as BlobPart[])]);
}

/**
 * Reads the means of AdamW into their places.
 * @returns the number of steps
 * @throws BlockscaleError `format`: they belong to another model, or are of another type
 */
export async function readOptimizer(
  program: Program,
  all: readonly Parameter[],
  moments: Moments,
  source: Source,
): Promise<number> {
  const { tensors, dataStart, metadata } = await readHeader(OPTIMIZER, source);
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const type = TYPES[moments];
  for (const { name, count, m, v } of all) {
    for (const [suffix, place] of [
      ["m", m],
      ["v", v],
    ] as const) {
      const found = byName.get(`${name}.${suffix}`);
      if (found?.dtype !== type.dtype || found.end - found.begin !== type.bytes * count)
        throw otherState(`${name}.${suffix}`, type.dtype, found?.dtype);
      const bytes = await source.slice(dataStart + found.begin, dataStart + found.end).arrayBuffer();
      new Uint8Array(program.buffer, place, bytes.byteLength).set(new Uint8Array(bytes));
    }
  }
  const steps = Number(metadata?.get("steps"));
  if (!Number.isSafeInteger(steps) || steps < 0) throw otherState("steps");
  return steps;
}

function otherState(name: string, dtype = "", got = "none"): BlockscaleError {
  return new BlockscaleError("format", {
    where: OPTIMIZER,
    expected: `${name} of this model ${dtype}`.trim(),
    got: got === dtype ? "another size" : got,
    fix: "Give the same `moments` as before. Take it from the same folder as the weights, or leave it out to begin with a fresh optimiser.",
  });
}
