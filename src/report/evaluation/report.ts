import type { Evaluation } from "../../evaluate/evaluate.ts";
import type { WeightFormat } from "../../evaluate/formats.ts";
import type { SensitiveGroup, Sensitivity } from "../../evaluate/sensitivity.ts";
import type { WorstToken } from "../../evaluate/worst.ts";

/** All that the report of an evaluation tells: a plain record, which `evaluationPage` makes a page of. */
export interface EvaluationReport {
  readonly model: string;
  /** The original; `null` where the model was evaluated alone. */
  readonly reference: string | null;
  /** How activations and weights were rounded; `null` where a mix says it. */
  readonly activations: string | null;
  readonly weights: string | null;
  /** Figures of the model, or of the chosen mix. */
  readonly evaluation: Evaluation | null;
  readonly worst: readonly WorstToken[];
  readonly sensitivity: ReportedSensitivity | null;
}

interface ReportedSensitivity {
  readonly measure: Sensitivity["measure"];
  readonly groups: readonly SensitiveGroup[];
  /** Bits a weight that were allowed. */
  readonly bits: number;
  /** The chosen format of each weight, by name. */
  readonly chosen: ReadonlyMap<string, WeightFormat>;
  /** Bits a weight that the chosen mix takes. */
  readonly chosenBits: number;
  readonly points: readonly MeasuredMix[];
}

/** A mix and what was measured with it. */
export interface MeasuredMix {
  /** Name: the format that all weights have; "chosen" for the best mix within the budget; or "mixed". */
  readonly mix: string;
  readonly bitsPerWeight: number;
  readonly score: number;
  readonly perplexity: number;
  readonly kldMean: number;
  /** Standard error of `kldMean`. */
  readonly kldError: number;
  /**
   * Its mean KL divergence minus that of the chosen mix, and the standard error of this difference. Both are
   * taken token by token, since all mixes see the same text. A difference within two errors of 0 may be
   * chance.
   */
  readonly kldOverChosen: number;
  readonly kldOverChosenError: number;
  readonly sameTop: number;
}

/**
 * A row about a mix: its name, bits a weight, score, perplexity, mean KL divergence, how far that is above
 * the chosen mix, and how often the top token is the same.
 */
export function mixCells(point: MeasuredMix): string[] {
  const { mix, bitsPerWeight, score, perplexity, kldMean, kldError, kldOverChosen, sameTop } = point;
  return [
    mix,
    bitsPerWeight.toFixed(3),
    score.toExponential(2),
    perplexity.toFixed(3),
    `${kldMean.toFixed(6)} ± ${kldError.toFixed(6)}`,
    `${kldOverChosen.toFixed(6)} ± ${point.kldOverChosenError.toFixed(6)}`,
    `${(100 * sameTop).toFixed(2)} %`,
  ];
}
