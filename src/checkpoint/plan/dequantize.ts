import { checkChoice, checkKnown } from "../../tensor/options.ts";
import type { ValueType } from "../../tensor/tensor.ts";
import {
  checkSelection,
  matcher,
  NOT_CHOSEN,
  refuseUnmatchedSelection,
  type Selection,
} from "../dialects/rules.ts";
import { type Checkpoint, checkCheckpoint } from "../read/checkpoint.ts";
import { refuseForeign } from "../read/foreign.ts";
import { quantizationOf } from "../read/quantization.ts";
import { type ResolveOptions, resolve } from "../read/resolve.ts";
import { plainShape } from "../read/weights.ts";
import { type ConversionRule, converted, copied, type Decision, dropped, EXTRA_REASON } from "./decisions.ts";
import { layOut } from "./layout.ts";
import type { Plan } from "./plan.ts";

/** What `dequantize` is to do. */
export interface DequantizeOptions extends ResolveOptions, Omit<Selection, "also"> {
  /** Type of the values written; `bf16` if left out. */
  readonly dtype?: ValueType;
}

const DTYPES = { bf16: "BF16", f16: "F16", f32: "F32" } as const;

/**
 * Plans the way back: every scaled weight becomes plain values, everything else is copied. Pure.
 * @throws BlockscaleError `option`, `dialect` or `format`
 */
export function planDequantize(checkpoint: Checkpoint, options: DequantizeOptions = {}): Plan {
  checkKnown("planDequantize", options, ["dtype", "only", "include", "exclude", "missingScale"]);
  checkCheckpoint("planDequantize", checkpoint);
  checkSelection("planDequantize", options);
  const dtype = DTYPES[checkChoice("planDequantize: dtype", options.dtype ?? "bf16", ["bf16", "f16", "f32"])];
  const { only, include } = options;
  const chosen = (only ?? include) && [...(only ?? []), ...(include ?? [])].map(matcher);
  const exclude = (options.exclude ?? []).map(matcher);
  const { weights, foreign, quantizationExtras } = resolve(checkpoint, options);
  const isQuantised = weights.some(({ kind }) => kind === "scaled");
  refuseForeign(foreign, quantizationOf(checkpoint), isQuantised);
  refuseUnmatchedSelection(options, weights);
  const into = { kind: "plain", dtype } as const;
  const rule: ConversionRule = {
    into: () => into,
    tensorsOf: (weight) => [{ name: weight.name, dtype, shape: plainShape(weight) }],
  };
  const decisions = weights.map((weight): Decision => {
    const { name } = weight;
    if (quantizationExtras.has(name) && weight.kind !== "scaled") return dropped(weight, EXTRA_REASON);
    if (weight.kind !== "scaled") return copied(weight, "not quantised");
    if (exclude.some((fits) => fits(name))) return copied(weight, "excluded");
    if (chosen?.some((fits) => fits(name)) === false) return copied(weight, NOT_CHOSEN);
    return converted(weight, rule);
  });
  return layOut(checkpoint, decisions);
}
