import type { Dtype } from "../../safetensors/dtype.ts";
import type { Scheme } from "../../tensor/schemes.ts";
import type { PlainWeight, ScaledWeight } from "../read/weights.ts";

/** A weight to be stored as block-scaled codes. */
export interface ScaledTarget {
  readonly kind: "scaled";
  readonly scheme: Scheme;
  readonly scaleDtype: Dtype;
}

/** A weight to be stored as plain values. */
export interface PlainTarget {
  readonly kind: "plain";
  readonly dtype: "F32" | "BF16" | "F16";
}

/** A weight to be converted, with all that a worker needs to know of it. */
export interface Conversion {
  readonly from: PlainWeight | ScaledWeight;
  readonly into: ScaledTarget | PlainTarget;
}
