import type { Engine } from "../engine/engine.ts";
import { AUTO_ROWS, fasterOf, weightsToTime } from "../products/faster.ts";
import type { CacheType } from "./cache.ts";
import type { ModelConfig } from "./config.ts";
import type { WeightForm } from "./store.ts";

/**
 * How activations are rounded before products with weights that are codes: not at all, to FP8, or to int8.
 * FP8 is for FP8 codes: for codes of four or six bits, loaders do not round activations. int8 is for E4M3
 * codes in blocks of a multiple of 32 columns.
 */
export type ModelActivations = "f32" | "fp8" | "int8";

/**
 * The number formats of a forward pass. A plain record. (`Precision` of engines is another thing: the error
 * of a cast, as measured.)
 */
export interface Precisions {
  readonly activations: ModelActivations;
  /** Fewest rows of x that are rounded with "int8"; fewer stay float32, which is faster for them. */
  readonly int8Rows: number;
  readonly weights: WeightForm;
  readonly cache: CacheType;
}

/** No rounding except that of the stored weights. */
export const EXACT: Precisions = { activations: "f32", int8Rows: 1, weights: "codes", cache: "f32" };

/**
 * The precisions that a caller asks for: given, or left to this package to choose. "near" stays near to what
 * float32 gives.
 */
export interface AskedPrecisions {
  readonly activations?: ModelActivations | "auto" | "near" | undefined;
  readonly weights?: WeightForm | "auto" | undefined;
  readonly cache?: CacheType | undefined;
}

/**
 * Chooses the precisions that were left open. "auto" is the faster on this engine, found by timing. "near" is
 * the same, but without int8 in mixtures of experts: there its rounding can send a token to another expert,
 * while elsewhere it costs less than a tenth of the KL divergence that FP8 weights cost (docs/models.md).
 * @param engine of the build that will run the model; `null` if it computes sums of integers wrongly
 */
export function choosePrecisions(
  asked: AskedPrecisions,
  config: ModelConfig,
  engine: Engine | null,
): Precisions {
  const { activations = "f32", weights = "codes", cache = "f32" } = asked;
  const chosen = { int8Rows: 1, weights: weights === "auto" ? fasterWeights(engine) : weights, cache };
  if (activations !== "auto" && activations !== "near") return { ...chosen, activations };
  const isAllowed = activations === "auto" || !hasExperts(config);
  return isAllowed && engine?.fasterActivations === "int8"
    ? { ...chosen, activations: "int8", int8Rows: AUTO_ROWS }
    : { ...chosen, activations: "f32" };
}

function hasExperts(config: ModelConfig): boolean {
  return config.kind === "decoder" && config.layers.some(({ mlp }) => mlp.kind === "experts");
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
