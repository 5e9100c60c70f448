import { BlockscaleError } from "../tensor/errors.ts";
import type { Format } from "../tensor/tensor.ts";

/**
 * What an operand of a product is rounded to: codes of a format, with a scale for each block
 * of [rows, cols], the sum being along cols.
 */
export interface OperandFormat {
  readonly format: Format;
  readonly block: readonly [number, number];
  /**
   * How scales are rounded to powers of two: "rceil" never lets the largest value
   * saturate, "floor" is the OCP specification's.
   */
  readonly rounding: "rceil" | "floor";
  /** NVFP4: an E4M3 scale for each block of 1x16, and a float32 for each row. */
  readonly scale?: "e4m3";
  /** Codes up or down by chance, so that the value itself is expected; else the nearest. */
  readonly byChance?: boolean;
}

/**
 * The six operands of a linear layer's three products: y = x w^T, dx = dy w, dw = dy^T x; `null` leaves one
 * in float32. Everything else is float32 in every recipe: embedding, head, norms, attention, sums,
 * gradients, master weights and the optimiser.
 */
export interface Recipe {
  readonly forward: { readonly x: OperandFormat | null; readonly w: OperandFormat | null };
  readonly inputGradient: { readonly dy: OperandFormat | null; readonly w: OperandFormat | null };
  readonly weightGradient: {
    readonly dy: OperandFormat | null;
    readonly x: OperandFormat | null;
    /**
     * Both are turned by a Hadamard matrix of 16 along the tokens before they
     * are rounded, which spreads large values.
     */
    readonly hadamard?: boolean;
  };
}

const recipe = (x: OperandFormat | null, w: OperandFormat | null, dy: OperandFormat | null): Recipe => ({
  forward: { x, w },
  inputGradient: { dy, w },
  weightGradient: { dy, x },
});

const e4m3 = (rows: number, cols: number, rounding: "rceil" | "floor" = "rceil"): OperandFormat => ({
  format: "e4m3",
  block: [rows, cols],
  rounding,
});

/**
 * What recipes of FP4 take care of: gradients are rounded by chance, and operands of weight gradients turned.
 */
const careful = (operand: OperandFormat): Recipe => {
  const dy = { ...operand, byChance: true };
  return { ...recipe(operand, operand, dy), weightGradient: { dy, x: operand, hadamard: true } };
};

const e2m1 = (rounding: "rceil" | "floor"): OperandFormat => ({ format: "e2m1", block: [1, 32], rounding });

/** The names of recipes. */
export type RecipeName =
  | "f32"
  | "deepseek"
  | "mxfp8"
  | "mxfp8-e5m2"
  | "mxfp8-floor"
  | "deepseek-square"
  | "e5m2"
  | "mxfp4"
  | "mxfp4-floor"
  | "mxfp4-stochastic"
  | "nvfp4";

/** The recipes that have names. */
export const recipes: { readonly [name in RecipeName]: Recipe } = {
  f32: recipe(null, null, null),
  /** DeepSeek-V3: E4M3 everywhere, 1x128 for activations and gradients, 128x128 for weights. */
  deepseek: recipe(e4m3(1, 128), e4m3(128, 128), e4m3(1, 128)),
  /** MXFP8: E4M3 everywhere in blocks of 1x32, scales rounded up. */
  mxfp8: recipe(e4m3(1, 32), e4m3(1, 32), e4m3(1, 32)),
  /** `mxfp8` with E5M2 for output gradients. */
  "mxfp8-e5m2": recipe(e4m3(1, 32), e4m3(1, 32), { ...e4m3(1, 32), format: "e5m2" }),
  /**
   * A control that is meant to be worse: the OCP specification's
   * scales, which let the largest values saturate.
   */
  "mxfp8-floor": recipe(e4m3(1, 32, "floor"), e4m3(1, 32, "floor"), e4m3(1, 32, "floor")),
  /** Another one: a scale for 128x128 gradients. */
  "deepseek-square": recipe(e4m3(1, 128), e4m3(128, 128), e4m3(128, 128)),
  /** A third one: E5M2, with two bits of significand, for everything. */
  e5m2: recipe(
    { ...e4m3(1, 128), format: "e5m2" },
    { ...e4m3(128, 128), format: "e5m2" },
    { ...e4m3(1, 128), format: "e5m2" },
  ),
  /** FP4 for everything, rounded to nearest and without other care: a control that has to be worse. */
  mxfp4: recipe(e2m1("rceil"), e2m1("rceil"), e2m1("rceil")),
  "mxfp4-floor": recipe(e2m1("floor"), e2m1("floor"), e2m1("floor")),
  /**
   * `mxfp4` with care: gradients rounded by chance, operands of
   * weight gradients turned by Hadamard matrices.
   */
  "mxfp4-stochastic": careful(e2m1("rceil")),
  /** NVFP4 with the same care. */
  nvfp4: careful({ format: "e2m1", block: [1, 16], rounding: "rceil", scale: "e4m3" }),
};

/** @throws BlockscaleError `option`: no such recipe */
export function recipeOf(given: RecipeName | Recipe): Recipe {
  if (typeof given === "object" && given !== null) return given;
  if (Object.hasOwn(recipes, given)) return recipes[given];
  throw new BlockscaleError("option", {
    where: "createTrainer: recipe",
    expected: `a recipe, or one of ${Object.keys(recipes).join(", ")}`,
    got: String(given),
    fix: "Leave it out to get deepseek.",
  });
}
