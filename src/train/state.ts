import type { Source } from "../io/source.ts";
import type { Json } from "../model/json.ts";
import type { Program } from "../model/program.ts";
import { serializeHeader } from "../safetensors/header.ts";
import { readHeader } from "../safetensors/read.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import type { Parameter } from "./parameters.ts";

/** The file of an optimiser's state beside those of a checkpoint. */
export const OPTIMIZER = "optimizer.safetensors";

/** config.json and model.safetensors in float32. */
export function modelFiles(program: Program, all: readonly Parameter[], json: Json): Map<string, Blob> {
  const { quantization_config: _, ...rest } = json as { quantization_config?: unknown };
  const config = JSON.stringify({ ...rest, dtype: "float32", torch_dtype: "float32" }, null, 2);
  const weights = all.map((one) => ({ name: one.name, parameter: one, place: one.value }));
  return new Map([
    ["config.json", new Blob([config])],
    ["model.safetensors", fileOf(program, weights, { format: "pt" })],
  ]);
}

/** The means of AdamW, and the number of steps. */
export function optimizerFile(program: Program, all: readonly Parameter[], steps: number): Blob {
  const means = all.flatMap((parameter) => [
    { name: `${parameter.name}.m`, parameter, place: parameter.m },
    { name: `${parameter.name}.v`, parameter, place: parameter.v },
  ]);
  return fileOf(program, means, { steps: String(steps) });
}

function fileOf(
  program: Program,
  tensors: readonly { readonly name: string; readonly parameter: Parameter; readonly place: number }[],
  metadata: { [key: string]: string },
): Blob {
  const specs = tensors.map(({ name, parameter }) => ({
    name,
    dtype: "F32" as const,
    shape: [...parameter.shape],
  }));
  const { bytes } = serializeHeader("model.safetensors", specs, new Map(Object.entries(metadata)));
  // Copies: a Blob takes no shared memory.
  const values = tensors.map(({ parameter, place }) => program.view(place, parameter.count).slice());
  return new Blob([bytes as BlobPart, ...(values as BlobPart[])]);
}

/**
 * Reads the means of AdamW into their places.
 * @returns the number of steps
 * @throws BlockscaleError `format`: they belong to another model
 */
export async function readOptimizer(
  program: Program,
  all: readonly Parameter[],
  source: Source,
): Promise<number> {
  const { tensors, dataStart, metadata } = await readHeader(OPTIMIZER, source);
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  for (const { name, count, m, v } of all) {
    for (const [suffix, place] of [
      ["m", m],
      ["v", v],
    ] as const) {
      const found = byName.get(`${name}.${suffix}`);
      if (found?.dtype !== "F32" || found.end - found.begin !== 4 * count)
        throw otherState(`${name}.${suffix}`);
      const bytes = await source.slice(dataStart + found.begin, dataStart + found.end).arrayBuffer();
      program.view(place, count).set(new Float32Array(bytes));
    }
  }
  const steps = Number(metadata?.get("steps"));
  if (!Number.isSafeInteger(steps) || steps < 0) throw otherState("steps");
  return steps;
}

function otherState(name: string): BlockscaleError {
  return new BlockscaleError("format", {
    where: OPTIMIZER,
    expected: `${name} of this model`,
    got: "none, or another size",
    fix: "Take it from the same folder as the weights, or leave it out to begin with a fresh optimiser.",
  });
}
