import type { ComparedTensor } from "../../checkpoint/measure/compare.ts";
import type { Problem } from "../workers/problem.ts";
import type { ChosenCheckpoint } from "../workers/protocol.ts";

/** Page to worker, once: `a` is the original. */
export interface ComparisonOrder {
  readonly a: ChosenCheckpoint;
  readonly b: ChosenCheckpoint;
}

/** Worker to page. */
export type ComparisonNews =
  /** Tensors that were compared since the last message. */
  | { readonly kind: "tensors"; readonly tensors: readonly ComparedTensor[] }
  | { readonly kind: "ended" }
  | { readonly kind: "failed"; readonly problem: Problem };
