import { joinSamples, type Sample } from "../../checkpoint/measure/sample.ts";
import { type Strip, stripsOf } from "../../checkpoint/plan/strip.ts";
import { matrixOf, type PlainWeight, type ScaledWeight } from "../../checkpoint/read/weights.ts";
import { type Scheme, schemes } from "../../tensor/schemes.ts";
import type { Pool } from "./pool.ts";

/** Elements looked at in a sample, and in a whole tensor before it is thinned out. */
const SAMPLED = 1 << 21;
const WHOLE = 1 << 25;

/**
 * Looks at a weight under a scheme: at all of it, or at strips spread evenly over it where that is too much.
 */
export async function sampleWeight(
  weight: PlainWeight | ScaledWeight,
  scheme: Scheme | null,
  whole: boolean,
  pool: Pool,
): Promise<Sample> {
  const into = { kind: "scaled", scheme: scheme ?? schemes.deepseekWeight, scaleDtype: "F32" } as const;
  const strips = thinOut(
    [...stripsOf({ from: weight, into })],
    matrixOf(weight.shape).cols,
    whole ? WHOLE : SAMPLED,
  );
  const samples = await Promise.all(strips.map((strip) => pool.sample({ weight, strip, scheme })));
  const block = scheme?.block ?? (weight.kind === "scaled" ? weight.block : null);
  return joinSamples(weight, scheme, block, samples);
}

/** All strips, or some spread evenly over them. */
export function thinOut(strips: readonly Strip[], cols: number, elements: number): Strip[] {
  const each = (strips[0]?.rows ?? 1) * cols;
  const wanted = Math.max(1, Math.floor(elements / each));
  if (strips.length <= wanted) return [...strips];
  return Array.from({ length: wanted }, (_, i) => strips[Math.floor((i * strips.length) / wanted)]!);
}
