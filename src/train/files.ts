import type { Source } from "../io/source.ts";
import type { Json } from "../model/json.ts";
import type { Program } from "../model/program.ts";
import { serializeHeader } from "../safetensors/header.ts";
import { readHeader } from "../safetensors/read.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { ADAPTER, ADAPTER_CONFIG, adapterConfig, adapterOf, isAdapter, type Lora, peftName } from "./lora.ts";
import type { Moments, Parameter, Parameters } from "./parameters.ts";

/** How moments are stored. */
const TYPES = { f32: { dtype: "F32", bytes: 4 }, bf16: { dtype: "BF16", bytes: 2 } } as const;

/** The file that holds the optimiser's state, beside those of a checkpoint. */
export const OPTIMIZER = "optimizer.safetensors";

/** config.json and model.safetensors in float32, with adapters added to the weights that they belong to. */
export function modelFiles(
  program: Program,
  parameters: Parameters,
  lora: Lora | null,
  json: Json,
): Map<string, Blob> {
  const { quantization_config: _, ...rest } = json as { quantization_config?: unknown };
  const config = JSON.stringify({ ...rest, dtype: "float32", torch_dtype: "float32" }, null, 2);
  const weights = parameters.all
    .filter(({ name }) => !isAdapter(name))
    .map((one) => ({
      name: one.name,
      parameter: one,
      values: mergedValues(program, one, parameters, lora),
      dtype: "F32" as const,
    }));
  return new Map([
    ["config.json", new Blob([config])],
    ["model.safetensors", fileOf(weights, { format: "pt" })],
  ]);
}

/** The values of a weight; w + alpha / rank B A if it has an adapter. */
function mergedValues(
  program: Program,
  weight: Parameter,
  parameters: Parameters,
  lora: Lora | null,
): Float32Array {
  const values = program.view(weight.value, weight.count).slice();
  const names = adapterOf(lora, weight.name, weight.shape);
  if (names === null) return values;
  const [a, b] = [parameters.get(names.a[0]), parameters.get(names.b[0])];
  const [rank, k] = a.shape as [number, number];
  const [low, high] = [program.view(a.value, a.count), program.view(b.value, b.count)];
  const scale = lora!.alpha / rank;
  for (let i = 0; i < values.length; i++) {
    const [row, col] = [Math.floor(i / k), i % k];
    let sum = 0;
    for (let r = 0; r < rank; r++) sum += high[row * rank + r]! * low[r * k + col]!;
    values[i]! += scale * sum;
  }
  return values;
}

/** Adapters as PEFT's files: its names, float32. */
export function adapterFiles(program: Program, { trained }: Parameters, lora: Lora): Map<string, Blob> {
  const parts = trained.map((one) => ({
    name: peftName(one.name),
    parameter: one,
    values: program.view(one.value, one.count).slice(),
    dtype: "F32" as const,
  }));
  return new Map([
    [ADAPTER_CONFIG, new Blob([adapterConfig(lora)])],
    [ADAPTER, fileOf(parts, { format: "pt" })],
  ]);
}

/** The file of the optimiser's state: AdamW's moments, and the number of steps. */
export function optimizerFile(
  program: Program,
  all: readonly Parameter[],
  moments: Moments,
  steps: number,
): Blob {
  const { dtype, bytes } = TYPES[moments];
  const tensors = all.flatMap((parameter) =>
    (["m", "v"] as const).map((moment) => ({
      name: `${parameter.name}.${moment}`,
      parameter,
      values: new Uint8Array(program.buffer, parameter[moment], bytes * parameter.count).slice(),
      dtype,
    })),
  );
  return fileOf(tensors, { steps: String(steps) });
}

interface FileTensor {
  readonly name: string;
  readonly parameter: Parameter;
  /** A copy of its own: a Blob takes no shared memory. */
  readonly values: Float32Array | Uint8Array;
  readonly dtype: (typeof TYPES)[Moments]["dtype"];
}

function fileOf(tensors: readonly FileTensor[], metadata: { [key: string]: string }): Blob {
  const specs = tensors.map(({ name, parameter, dtype }) => ({ name, dtype, shape: [...parameter.shape] }));
  const { bytes } = serializeHeader("model.safetensors", specs, new Map(Object.entries(metadata)));
  return new Blob([bytes as BlobPart, ...tensors.map(({ values }) => values as BlobPart)]);
}

/**
 * Reads AdamW's moments into memory.
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
    for (const [suffix, address] of [
      ["m", m],
      ["v", v],
    ] as const) {
      const found = byName.get(`${name}.${suffix}`);
      if (found?.dtype !== type.dtype || found.end - found.begin !== type.bytes * count)
        throw otherState(`${name}.${suffix}`, type.dtype, found?.dtype);
      const bytes = await source.slice(dataStart + found.begin, dataStart + found.end).arrayBuffer();
      new Uint8Array(program.buffer, address, bytes.byteLength).set(new Uint8Array(bytes));
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
