import type { LearnerStep, RunSettings } from "./learner.ts";

/** Page to worker. Orders are carried out one after the other. */
export type TrainingOrder =
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
export type TrainingAnswer =
  | { readonly result: Results[TrainingOrder["kind"]] }
  | { readonly failure: string };
