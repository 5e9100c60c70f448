import type { PairStep, RunSettings } from "./pair.ts";

/** Page to worker. */
export type Order =
  | { readonly kind: "start"; readonly settings: RunSettings }
  | { readonly kind: "stop" | "go" | "files" };

/** Worker to page. */
export type News =
  | { readonly kind: "step"; readonly step: PairStep }
  | { readonly kind: "sample"; readonly step: number; readonly text: string }
  | { readonly kind: "archive"; readonly archive: Blob }
  | { readonly kind: "ended" }
  | { readonly kind: "failed"; readonly message: string };
