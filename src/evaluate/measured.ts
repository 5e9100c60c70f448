import type { WeightFormat } from "./formats.ts";
import type { MixEvaluator } from "./mix.ts";
import type { FormatEffect, SensitiveGroup, Sensitivity } from "./sensitivity.ts";

interface MeasureOptions {
  readonly signal?: AbortSignal;
  /** Called after each group. */
  onProgress?(groups: { readonly done: number; readonly total: number }): void;
}

/**
 * Scores in nats: the KL divergence with one group rounded to a format and all others as they are, a run for
 * each group and format. Divergences of groups add up where nothing is decided by a threshold: for a Qwen3 of
 * 12 groups in FP8 their sum is within 2 % of that of all together. In a mixture of experts, where a small
 * error sends a token elsewhere, the sum is three times that.
 * @throws BlockscaleError as `MixEvaluator.evaluate`
 */
export async function measureGroups(
  { groups }: Sensitivity,
  evaluator: MixEvaluator,
  { signal, onProgress }: MeasureOptions = {},
): Promise<Sensitivity> {
  const measured: SensitiveGroup[] = [];
  for (const group of groups) {
    const effects: FormatEffect[] = [];
    for (const effect of group.effects) {
      signal?.throwIfAborted();
      const formats = new Map(group.weights.map((name): [string, WeightFormat] => [name, effect.format]));
      const score = effect.format === "bf16" ? 0 : (await evaluator.evaluate(formats)).kldMean;
      effects.push({ ...effect, score });
    }
    measured.push({ ...group, effects });
    onProgress?.({ done: measured.length, total: groups.length });
  }
  return { measure: "measured", groups: measured };
}
