import type { Dtype } from "../../safetensors/dtype.ts";
import type { TensorSpec } from "../../safetensors/header.ts";
import { kindOf } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { StoredTensor } from "../read/checkpoint.ts";
import { storedTensorsOf } from "../read/weights.ts";
import type { WeightConversion } from "./conversion.ts";
import { stripsOf } from "./strip.ts";

export type { PlainTarget, ScaledTarget, WeightConversion } from "./conversion.ts";

/**
 * One entry of an output file, in the order of its bytes. Steps are
 * plain records: they can be cloned to workers.
 */
export type Step =
  | { readonly kind: "copy"; readonly tensors: readonly TensorSpec[]; readonly from: StoredTensor }
  | {
      readonly kind: "convert";
      readonly tensors: readonly TensorSpec[];
      readonly conversion: WeightConversion;
      /**
       * Codes followed by scales; or one of them alone, where their alignment asks for
       * different places; or the float32 of NVFP4.
       */
      readonly emit: "both" | "codes" | "scales" | "tensorScale";
    };

/** Conversions of a plan, each weight once although parts of it may be written apart. */
export function conversionsOf({ files }: Pick<Plan, "files">): WeightConversion[] {
  return files.flatMap(conversionsOfFile);
}

function conversionsOfFile({ steps }: FilePlan): WeightConversion[] {
  return steps.flatMap((step) => (step.kind === "convert" && writesCodes(step) ? [step.conversion] : []));
}

/** Whether a step writes the codes of a weight, which one step of each weight does. */
export function writesCodes({ emit }: Extract<Step, { kind: "convert" }>): boolean {
  return emit === "both" || emit === "codes";
}

/** The places that a file of the output is made from. */
export function tensorsRead({ steps }: Pick<FilePlan, "steps">): StoredTensor[] {
  return steps.flatMap((step) =>
    step.kind === "copy" ? [step.from] : storedTensorsOf(step.conversion.from),
  );
}

/** What becomes of one logical tensor. */
export interface PlannedTensor {
  readonly name: string;
  /** Index of the shard it comes from. */
  readonly shard: number;
  readonly action: "copy" | "quantize" | "dequantize" | "requantize" | "drop";
  /** Whether it was stored as codes and scales. */
  readonly wasScaled: boolean;
  /** The tensor has codes without a scale, which was taken as 1. */
  readonly scaleTakenAsOne?: true;
  /** Why it is copied or dropped; `null` where it is converted. */
  readonly reason: string | null;
  readonly shape: readonly number[];
  /** The name of its format, in a dialect that stores several. */
  readonly format?: string;
  readonly before: StoredAs;
  readonly after: StoredAs;
}

/** How a logical tensor is stored: dtype and bytes of values or codes, scales included in the bytes. */
export interface StoredAs {
  readonly dtype: Dtype | null;
  readonly bytes: number;
}

/** One output file: its first bytes, and what follows them. */
export interface FilePlan {
  readonly name: string;
  /** Length and header, ready to be written. */
  readonly header: Uint8Array;
  /** Size of the whole file in bytes: known before anything is read. */
  readonly size: number;
  /**
   * Computed at each access, since those of all files would fill much memory: keep them for a short time.
   */
  readonly steps: readonly Step[];
}

/**
 * A planned conversion: every decision and every byte's place, before anything is read. A plain record but
 * for the getter `steps`.
 */
export interface Plan {
  readonly files: readonly FilePlan[];
  /** Tensors, in the order of the input's data. */
  readonly tensors: readonly PlannedTensor[];
}

/** @throws BlockscaleError `option`: it is no plan */
export function checkPlan(where: string, plan: Plan): void {
  if (Array.isArray(plan?.files) && Array.isArray(plan.tensors)) return;
  throw new BlockscaleError("option", {
    where: `${where}: plan`,
    expected: "a plan: { files, tensors }",
    got: kindOf(plan),
    fix: "Pass what planQuantize or planDequantize gives.",
  });
}

/** Strips that a plan is cut into, counted up to a number: the work that can be shared out. */
export function countStrips(plan: Plan, most: number): number {
  let count = 0;
  // Steps are made file by file: most of them need not be made.
  for (const file of plan.files) {
    for (const conversion of conversionsOfFile(file)) {
      for (const _ of stripsOf(conversion)) if (++count >= most) return most;
    }
  }
  return count;
}

/** Why a scaled weight keeps its bytes although it belongs to the dialect. */
export const ALREADY_REASON = "stored so already";
