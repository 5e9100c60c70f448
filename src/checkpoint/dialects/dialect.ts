import type { Dtype } from "../../safetensors/dtype.ts";
import type { Scheme } from "../../tensor/schemes.ts";
import type { Config } from "../read/checkpoint.ts";

/** Names of the dialects that can be written. */
export type DialectName =
  | "deepseek-v3"
  | "deepseek-v3.1"
  | "deepseek-v4"
  | "deepseek-v4-fp4"
  | "mxfp8"
  | "compressed-tensors"
  | "compressed-tensors-mxfp4"
  | "compressed-tensors-nvfp4"
  | "compressed-tensors-mixed"
  | "modelopt"
  | "modelopt-nvfp4"
  | "quark-mxfp6"
  | "gpt-oss";

/** A text file of the output. */
export interface OutputText {
  readonly name: string;
  readonly text: string;
}

/** A tensor that belongs to a weight. */
export interface StoredPart {
  /** What replaces the `.weight` at the end of the weight's name. */
  readonly suffix: string;
  readonly dtype: Dtype;
}

/** How one weight is stored: the scheme of its values, and the tensors of its codes and scales. */
export interface WeightStorage {
  readonly scheme: Scheme;
  /** Codes of less than a byte lie packed: two of FP4 in one byte, four of FP6 in three. */
  readonly codes: StoredPart;
  readonly scales: StoredPart;
  /** NVFP4: the float32 of the tensor, by which its scales are to be multiplied, or divided. */
  readonly tensorScale?: { readonly suffix: string; readonly divides: boolean };
  /**
   * gpt-oss: stacks whose plain values are [experts, in, out] are stored as [experts, out, in / 32,
   * 16], 16 bytes for the 32 codes of a block.
   */
  readonly transposesStacks?: true;
  /** What overrides call it, in a dialect that stores several formats. */
  readonly format?: string;
}

/** A weight as far as a dialect asks how to store it. */
export interface NamedShape {
  readonly name: string;
  readonly shape: readonly number[];
}

/** How a family of checkpoints stores block-scaled weights. */
export interface Dialect {
  readonly name: DialectName;
  /** One line for people. */
  readonly about: string;
  /** How the weights are stored that this dialect is named for, and those that no override names. */
  readonly storage: WeightStorage;
  /** Formats that an override may choose for a weight, by name. Left out, there is `storage` alone. */
  readonly formats?: Readonly<Record<string, WeightStorage>>;
  /**
   * How a certain weight is stored, where that depends on the weight; or a sentence that says why loaders
   * take it in high precision only.
   */
  storageOf?(weight: NamedShape, config: Config | null): WeightStorage | string;
  /**
   * Whether loaders read a stack of experts in one tensor with its scales, as it lies; or a sentence that
   * says why not. Left out, they do not.
   */
  readsStack?(stack: NamedShape, config: Config | null): true | string;
  /**
   * The quantization_config that tells readers of it.
   * @param kept modules that stay in high precision
   * @param formats modules by the format that they are in, for a dialect that has `formats`
   */
  config(kept: readonly string[], formats: ReadonlyMap<string, readonly string[]>): Config;
  /** What its users should know about readers. */
  readonly warnings?: readonly string[];
  /** Further members of config.json. */
  readonly members?: Config;
  /** Further files that readers of this dialect want. */
  documents?(kept: readonly string[]): OutputText[];
}

/**
 * Name of a tensor that belongs to a weight: `X.weight` gives `X` and the
 * suffix, `X` the suffix without its `.weight`.
 */
export function partName(weight: string, { suffix }: Pick<StoredPart, "suffix">): string {
  if (suffix === ".weight") return weight;
  return weight.endsWith(".weight")
    ? weight.slice(0, -".weight".length) + suffix
    : weight + suffix.replace(/^\.weight/, "");
}
