import type { Source } from "../io/source.ts";
import type { Program } from "../model/program.ts";
import { readHeader } from "../safetensors/read.ts";
import { BlockscaleError } from "../tensor/errors.ts";
import { checkKnown } from "../tensor/options.ts";
import { wordAt } from "./initial-values.ts";
import { LINEARS } from "./linears.ts";
import type { Parameter } from "./parameters.ts";
import { wrongOption } from "./wrong-option.ts";

/**
 * Adapters of low rank: y = x w^T + alpha / rank (x A^T) B^T, of which A [rank, k]
 * and B [n, rank] are trained and w is not.
 */
export interface LoraOptions {
  readonly rank: number;
  /** Twice the rank if left out. */
  readonly alpha?: number | undefined;
  /** Linear layers that have them, by the last part of their names; `["q_proj", "v_proj"]` if left out. */
  readonly targets?: readonly string[] | undefined;
}

/** {@link LoraOptions} that were checked. */
export interface Lora {
  readonly rank: number;
  readonly alpha: number;
  readonly targets: readonly string[];
}

/** The names of PEFT's two files. */
export const ADAPTER = "adapter_model.safetensors";
export const ADAPTER_CONFIG = "adapter_config.json";

/** PEFT's prefix of the names of tensors. */
const PREFIX = "base_model.model.";

const lastPart = (path: string) => path.slice(path.lastIndexOf(".") + 1);
const TARGETS = Object.values(LINEARS).map(lastPart);

/** @throws BlockscaleError `option` */
export function checkLora(options: LoraOptions): Lora {
  checkKnown("createTrainer: lora", options, ["rank", "alpha", "targets"]);
  const { rank, alpha = 2 * rank, targets = ["q_proj", "v_proj"] } = options;
  if (!Number.isInteger(rank) || rank < 1) throw wrongOption("lora.rank", "a whole number from 1 on", rank);
  if (!(alpha > 0 && alpha < Infinity)) throw wrongOption("lora.alpha", "a number above 0", alpha);
  if (!Array.isArray(targets) || targets.length === 0 || targets.some((name) => !TARGETS.includes(name)))
    throw wrongOption("lora.targets", `a list of some of ${TARGETS.join(", ")}`, targets);
  return { rank, alpha, targets };
}

/** Names and shapes of the two tensors of a weight's adapter; `null` for a weight that has none. */
export function adapterOf(
  lora: Lora | null,
  name: string,
  [n, k]: readonly number[],
): { readonly a: [string, readonly number[]]; readonly b: [string, readonly number[]] } | null {
  const path = name.replace(/\.weight$/, "");
  if (lora === null || !lora.targets.includes(lastPart(path))) return null;
  return { a: [`${path}.lora_A.weight`, [lora.rank, k!]], b: [`${path}.lora_B.weight`, [n!, lora.rank]] };
}

export function isAdapter(name: string): boolean {
  return /\.lora_[AB]\.weight$/.test(name);
}

/**
 * Initialises adapters as PEFT does: A uniform between -1 / sqrt(k) and 1 / sqrt(k). B is zero already, so
 * that the model is unchanged.
 */
export function initializeAdapters(program: Program, all: readonly Parameter[], seed: number): void {
  for (const [i, { name, shape, value, count }] of all.entries()) {
    if (!name.endsWith(".lora_A.weight")) continue;
    const bound = 1 / Math.sqrt(shape[1]!);
    const values = program.view(value, count);
    for (let j = 0; j < count; j++) values[j] = bound * ((2 * wordAt(seed, i, j)) / 2 ** 32 - 1);
  }
}

/** The name of an adapter's tensor in PEFT's file. */
export function peftName(name: string): string {
  return PREFIX + name;
}

/** The text of PEFT's adapter_config.json. */
export function adapterConfig({ rank, alpha, targets }: Lora): string {
  const config = {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: null,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: 0,
    target_modules: targets,
    bias: "none",
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    modules_to_save: null,
    use_rslora: false,
    use_dora: false,
  };
  return JSON.stringify(config, null, 2);
}

/**
 * Reads float32 adapters from PEFT's file into memory.
 * @throws BlockscaleError `format`: they belong to another model, or have another rank
 */
export async function readAdapters(
  program: Program,
  all: readonly Parameter[],
  source: Source,
): Promise<void> {
  const { tensors, dataStart } = await readHeader(ADAPTER, source);
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  for (const { name, shape, value, count } of all.filter(({ name }) => isAdapter(name))) {
    const found = byName.get(peftName(name));
    if (found?.dtype !== "F32" || `${found.shape}` !== `${shape}`) {
      throw new BlockscaleError("format", {
        where: ADAPTER,
        expected: `${peftName(name)} F32 [${shape.join(", ")}]`,
        got: found === undefined ? "none" : `${found.dtype} [${found.shape.join(", ")}]`,
        fix: "Give the same `lora` as before, or leave the adapter's files out to begin with fresh ones.",
      });
    }
    const bytes = await source.slice(dataStart + found.begin, dataStart + found.end).arrayBuffer();
    program.view(value, count).set(new Float32Array(bytes));
  }
}
