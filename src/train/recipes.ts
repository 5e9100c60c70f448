import { isRecord, kindOf } from "../tensor/checks.ts";
import { BlockscaleError } from "../tensor/errors.ts";

/** Formats that kernels of training round to. */
export const TRAIN_FORMATS = ["e4m3", "e5m2", "e2m1"] as const;
export type TrainFormat = (typeof TRAIN_FORMATS)[number];

/**
 * The format that an operand of a product is rounded to: codes, with a scale for each block of [rows, cols].
 * The product sums along cols.
 */
export interface OperandFormat {
  readonly format: TrainFormat;
  readonly block: readonly [number, number];
  /**
   * How scales are rounded to powers of two: "rceil" never lets the largest value
   * saturate, "floor" is the OCP specification's.
   */
  readonly rounding: "rceil" | "floor";
  /** NVFP4: an E4M3 scale for each block of 1x16, and a float32 for each row. */
  readonly scale?: "e4m3";
  /** Stochastic rounding: up or down at random, so that the mean is the value itself. Else to nearest. */
  readonly stochastic?: boolean;
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
     * Whether each 16 tokens of both operands are multiplied by a Hadamard matrix before rounding, which
     * spreads large values over all 16 (a random Hadamard transform). The product stays the same.
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
 * A recipe with stochastic rounding of gradients and a Hadamard transform in weight gradients.
 */
const stochasticRecipe = (operand: OperandFormat): Recipe => {
  const dy = { ...operand, stochastic: true };
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
   * A control that is meant to be worse: scales as in the OCP specification, with which the largest values
   * saturate.
   */
  "mxfp8-floor": recipe(e4m3(1, 32, "floor"), e4m3(1, 32, "floor"), e4m3(1, 32, "floor")),
  /** A control: one scale for 128x128 gradients. */
  "deepseek-square": recipe(e4m3(1, 128), e4m3(128, 128), e4m3(128, 128)),
  /** A control: E5M2, with two bits of mantissa, for everything. */
  e5m2: recipe(
    { ...e4m3(1, 128), format: "e5m2" },
    { ...e4m3(128, 128), format: "e5m2" },
    { ...e4m3(1, 128), format: "e5m2" },
  ),
  /** A control: FP4 for everything, rounded to nearest. */
  mxfp4: recipe(e2m1("rceil"), e2m1("rceil"), e2m1("rceil")),
  "mxfp4-floor": recipe(e2m1("floor"), e2m1("floor"), e2m1("floor")),
  /**
   * `mxfp4` with stochastic rounding of gradients, and a Hadamard transform of the operands of weight
   * gradients.
   */
  "mxfp4-stochastic": stochasticRecipe(e2m1("rceil")),
  /** NVFP4 with both. */
  nvfp4: stochasticRecipe({ format: "e2m1", block: [1, 16], rounding: "rceil", scale: "e4m3" }),
};

/** @throws BlockscaleError `option`: no such recipe, or an operand that cannot be rounded so */
export function recipeOf(given: RecipeName | Recipe): Recipe {
  if (isRecord(given)) {
    const { forward, inputGradient, weightGradient } = given as Partial<Recipe>;
    const operands = {
      "forward.x": forward?.x,
      "forward.w": forward?.w,
      "inputGradient.dy": inputGradient?.dy,
      "inputGradient.w": inputGradient?.w,
      "weightGradient.dy": weightGradient?.dy,
      "weightGradient.x": weightGradient?.x,
    };
    if (Object.values(operands).every((operand) => operand !== undefined)) {
      const wrong = Object.entries(operands).find(([, operand]) => !isOperand(operand));
      if (wrong !== undefined) throw wrongOperand(...wrong);
      return given as Recipe;
    }
  }
  if (typeof given === "string" && Object.hasOwn(recipes, given)) return recipes[given];
  throw new BlockscaleError("option", {
    where: "createTrainer: recipe",
    expected: `a recipe with all six operands, or one of ${Object.keys(recipes).join(", ")}`,
    got:
      typeof given === "string" ? given : isRecord(given) ? "an object without some of them" : kindOf(given),
    fix: "Leave it out to get deepseek.",
  });
}

/** Whether an operand is `null`, or a complete record of its rounding. */
function isOperand(operand: unknown): boolean {
  if (operand === null) return true;
  if (!isRecord(operand)) return false;
  const { format, block, rounding, scale, stochastic } = operand as unknown as OperandFormat;
  const isSize = (size: unknown) => Number.isInteger(size) && Number(size) >= 1 && Number(size) <= 65536;
  const isBlock = Array.isArray(block) && block.length === 2 && block.every(isSize);
  const isNvfp4 = scale === "e4m3" && format === "e2m1" && String(block) === "1,16";
  return (
    isBlock &&
    TRAIN_FORMATS.includes(format) &&
    ["rceil", "floor"].includes(rounding) &&
    (scale === undefined || isNvfp4) &&
    ["undefined", "boolean"].includes(typeof stochastic)
  );
}

function wrongOperand(name: string, got: unknown): BlockscaleError {
  return new BlockscaleError("option", {
    where: `createTrainer: recipe.${name}`,
    expected:
      'null, or { format: "e4m3", "e5m2" or "e2m1", block: [rows, cols], rounding: "rceil" or "floor" }, with scale: "e4m3" for e2m1 in blocks of [1, 16]',
    got: JSON.stringify(got),
    fix: "Change one of `recipes`.",
  });
}

/** Rows of an operand that are rounded with one scale: the tallest block of some formats. */
export function blockRows(...formats: (OperandFormat | null)[]): number {
  return Math.max(1, ...formats.map((format) => format?.block[0] ?? 1));
}
