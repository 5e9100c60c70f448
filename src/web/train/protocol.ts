import type { LearnerStep, RunSettings } from "./learner.ts";

/** Page to worker. Orders are carried out one after the other. */
export type Order =
  | { readonly kind: "start"; readonly settings: RunSettings }
  | { readonly kind: "step" | "sample" | "files" };

/** What a worker gives for each kind of order. */
export interface Results {
  readonly start: undefined;
  readonly step: LearnerStep;
  /** Text. */
  readonly sample: string;
  /** A .zip of the checkpoint. */
  readonly files: Blob;
}

/** Worker to page, one for each order, in turn. */
export type Answer = { readonly result: Results[Order["kind"]] } | { readonly failure: string };
