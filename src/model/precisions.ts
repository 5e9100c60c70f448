import type { Engine } from "../engine/engine.ts";
import { AUTO_ROWS, fasterOf, weightsToTime } from "../products/faster.ts";
import type { CacheType } from "./cache.ts";
import type { ModelConfig } from "./config.ts";
import type { WeightForm } from "./store.ts";

/**
 * How activations meet weights that are codes: as they are, rounded to FP8, or rounded to int8, for E4M3
 * codes in blocks of a multiple of 32 columns.
 */
export type Activations = "f32" | "fp8" | "int8";

/** How the numbers of a forward pass are kept. A plain record. */
export interface Precisions {
  readonly activations: Activations;
  /** Rows of x from which on "int8" holds: fewer meet the codes as float32, which is faster for them. */
  readonly int8Rows: number;
  readonly weights: WeightForm;
  readonly cache: CacheType;
}

/** No rounding but that of the weights. */
export const EXACT: Precisions = { activations: "f32", int8Rows: 1, weights: "codes", cache: "f32" };

/** What may be asked for: a precision, or how to choose one. */
export interface Asked {
  readonly activations?: Activations | "auto" | "near" | undefined;
  readonly weights?: WeightForm | "auto" | undefined;
  readonly cache?: CacheType | undefined;
}

/**
 * Chooses where it was left to this package. "auto" is the faster on this engine, found by timing. "near" is
 * the same where rounding to int8 costs less than a tenth of the KL divergence that FP8 weights cost: not in
 * a mixture of experts, where a token may take another expert for it (docs/models.md).
 * @param engine of the build that will run the model; `null` if it computes sums of integers wrongly
 */
export function choose(asked: Asked, config: ModelConfig, engine: Engine | null): Precisions {
  const { activations = "f32", weights = "codes", cache = "f32" } = asked;
  const chosen = { int8Rows: 1, weights: weights === "auto" ? fasterWeights(engine) : weights, cache };
  if (activations !== "auto" && activations !== "near") return { ...chosen, activations };
  const isAllowed = activations === "auto" || !hasExperts(config);
  return isAllowed && engine?.fasterActivations === "int8"
    ? { ...chosen, activations: "int8", int8Rows: AUTO_ROWS }
    : { ...chosen, activations: "f32" };
}

function hasExperts(config: ModelConfig): boolean {
  return config.kind === "decoder" && config.layers.some(({ block }) => block.kind === "experts");
}

const [ROWS, COLUMNS] = [768, 1024];

/** The form of weights that is faster for a single row of x, as for an answer token by token. */
function fasterWeights(engine: Engine | null): WeightForm {
  if (engine === null) return "codes";
  const w = weightsToTime(ROWS, COLUMNS);
  const packed = { codes: engine.pack(w), int7: engine.pack(w, { weights: "int7" }) };
  const x = { values: new Float32Array(COLUMNS).fill(1), shape: [1, COLUMNS] };
  const out = new Float32Array(ROWS);
  const faster = fasterOf({
    codes: () => engine.gemm(x, packed.codes, { out }),
    int7: () => engine.gemm(x, packed.int7, { out }),
  });
  packed.codes.free();
  packed.int7.free();
  return faster;
}
