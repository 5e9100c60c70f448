import type { Loaded } from "../../io/merged-reads.ts";
import type { Dtype } from "../../safetensors/dtype.ts";
import type { Scheme } from "../../tensor/schemes.ts";
import type { PlainWeight, ScaledWeight } from "../read/weights.ts";

/** A weight to be stored as block-scaled codes. */
export interface ScaledTarget {
  readonly kind: "scaled";
  readonly scheme: Scheme;
  readonly scaleDtype: Dtype;
  /**
   * NVFP4: how the float32 of the tensor is meant, and the weights whose largest magnitude it follows from.
   */
  readonly tensorScale?: {
    readonly divides: boolean;
    readonly fusedWith: readonly (PlainWeight | ScaledWeight)[];
  };
}

/** A weight to be stored as plain values. */
export interface PlainTarget {
  readonly kind: "plain";
  readonly dtype: "F32" | "BF16" | "F16";
}

/** A weight of which the largest magnitude alone is wanted, and no output. */
export interface AmaxTarget {
  readonly kind: "amax";
}

/**
 * Which values are compared with what they became: all, or one in
 * eight, in rows spread evenly over each weight.
 */
export type Measure = "all" | "sample";

/** Facts about a weight that are found before its first strip is converted. A plain record. */
export interface Preparation {
  /** Whether codes stay as they are and only scales change. */
  readonly keepCodes: boolean;
  /** NVFP4: the float32 of the tensor. */
  readonly tensorScale?: number;
  /** "all" if left out. */
  readonly measure?: Measure;
  /** Small tensors of the weight, read already: whoever converts its strips reads the rest. */
  readonly loaded?: readonly Loaded[];
}

/** A weight to be converted, with all that a worker needs to know of it. */
export interface WeightConversion {
  readonly from: PlainWeight | ScaledWeight;
  readonly into: ScaledTarget | PlainTarget | AmaxTarget;
}
