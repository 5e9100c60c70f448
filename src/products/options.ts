import { BlockscaleError } from "../tensor/errors.ts";
import { checkChoice, checkKnown } from "../tensor/options.ts";
import type { PackOptions } from "./packed.ts";
import type { ResidentMatrix } from "./resident.ts";

/** How the operands lie in memory: `n` as in x [M, K] and w [K, N], `t` transposed; x first, then w. */
export type Layout = "nt" | "nn" | "tn" | "tt";

export interface GemmOptions {
  /**
   * M * N elements for the result: a Float32Array, a resident [M, N]
   * matrix, or a Uint16Array with type "bf16".
   */
  readonly out?: Float32Array | Uint16Array | ResidentMatrix;
  /** Type of the result; "f32" if left out. */
  readonly type?: "f32" | "bf16";
  /** "nt" if left out. Packed weights are always `[N, K]`. */
  readonly layout?: Layout;
  /**
   * For each row of x the slice of w `[E, N, K]` that it meets, or -1:
   * rows of the result that stay as they are.
   */
  readonly experts?: Int32Array;
  /**
   * What x becomes first. "f32": nothing, and products are those of the float path. "int8": integers in
   * blocks of 16, 32 or 128 columns, with sums that are exact within a block: see docs/exactness.md. "auto":
   * the faster one of both, for x of sixteen rows and more. Left out, "f32", but for operands that are
   * integers already.
   */
  readonly activations?: GemmActivations;
}

export type GemmActivations = "f32" | "int8" | "auto";

const GEMM_OPTIONS: readonly (keyof GemmOptions)[] = ["out", "type", "layout", "experts", "activations"];

/** The options of a product, each of them one that there is. */
export function checkGemmOptions(options: GemmOptions): {
  given: GemmOptions["out"];
  layout: Layout;
  type: "f32" | "bf16";
  activations: GemmActivations | undefined;
} {
  return {
    given: checkKnown("gemm", options, GEMM_OPTIONS).out,
    layout: checkChoice("gemm: layout", options.layout ?? "nt", ["nt", "nn", "tn", "tt"]),
    type: checkChoice("gemm: type", options.type ?? "f32", ["f32", "bf16"]),
    activations: checkActivations("gemm", options.activations),
  };
}

function checkActivations(where: string, given: GemmActivations | undefined): GemmActivations | undefined {
  if (given === undefined) return undefined;
  return checkChoice<GemmActivations>(`${where}: activations`, given, ["f32", "int8", "auto"]);
}

/** The options of weights, each of them one that there is. */
export function checkPackOptions(options: PackOptions): {
  layout: "t" | "n";
  weights: "codes" | "int7";
  activations: GemmActivations | undefined;
} {
  const out = checkKnown("pack", options, ["layout", "weights", "activations"]);
  const weights = checkChoice("pack: weights", out.weights ?? "codes", ["codes", "int7"]);
  const activations = checkActivations("pack", out.activations);
  if (weights === "int7" && activations === "f32") throw integersNeedInt8("pack", "w");
  return { layout: checkChoice("pack: layout", out.layout ?? "t", ["t", "n"]), weights, activations };
}

export function integersNeedInt8(verb: "gemm" | "pack", operand: "x" | "w"): BlockscaleError {
  return new BlockscaleError("option", {
    where: `${verb}: activations`,
    expected: `"int8", since ${operand} is made of integers`,
    got: '"f32"',
    fix: "Leave the option out, or pass the values or codes that the integers were made of.",
  });
}
