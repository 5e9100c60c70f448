import type { Config, StoredTensor } from "../checkpoint.ts";
import type { ScaledWeight } from "../weights.ts";

/** Rows and columns that one scale serves. */
export type Block = readonly [rows: number, cols: number];

/**
 * A family of tools that make quantised checkpoints: how it names what belongs to a weight. Nothing else is
 * known of it: shapes tell the rest, whoever made it. A new family is a file beside this one, and a line in
 * `index.ts`.
 */
export interface Maker {
  /** Name of the family, for people. */
  readonly name: string;
  /**
   * What the scales of a weight may be called. @param weight its name
   * @param module the same without `.weight`
   */
  scales?(weight: string, module: string): readonly string[];
  /** What codes are called that do not bear the name of their weight, and their scales. */
  readonly wrapped?: readonly { readonly codes: RegExp; readonly scales: string; readonly weight: string }[];
  /**
   * NVFP4: what follows the name of the weight in that of its float32, by
   * which scales are multiplied, or divided.
   */
  readonly tensorScale?: { readonly suffix: string; readonly divides: boolean };
  /** Codes that are packed in a way of its own. */
  packed?(
    codes: StoredTensor,
    byName: ReadonlyMap<string, StoredTensor>,
    quantization: Config | null,
  ): ScaledWeight | null;
  /** What its config calls the blocks of scales; what is no block is passed over. */
  blocks?(quantization: Config): readonly unknown[];
  /** Names of tensors that tell of activations, the cache or layers, and are no part of a weight. */
  readonly quantizationExtras?: RegExp;
}
