import { checkKnown } from "../../tensor/checks.ts";
import { BlockscaleError } from "../../tensor/errors.ts";
import type { ValueType } from "../../tensor/tensor.ts";
import { matcher, refuseUnmatched, type Selection } from "../dialects/rules.ts";
import type { Checkpoint } from "../read/checkpoint.ts";
import { refuseForeign } from "../read/foreign.ts";
import { quantizationConfig } from "../read/quantization.ts";
import { type ResolveOptions, resolve } from "../read/resolve.ts";
import { placesOfWeight, plainShape } from "../read/weights.ts";
import { converted, copied, type Decision, dropped, layOut, type Plan, STRAY_REASON } from "./plan.ts";

/** What `dequantize` is to do. */
export interface DequantizeOptions extends ResolveOptions, Selection {
  /** Type of the values written; `bf16` if left out. */
  readonly dtype?: ValueType;
}

const DTYPES = { bf16: "BF16", f16: "F16", f32: "F32" } as const;

/**
 * Plans the way back: every scaled weight becomes plain values, everything else is copied. Pure.
 * @throws BlockscaleError `option`, `dialect` or `format`
 */
export function planDequantize(checkpoint: Checkpoint, options: DequantizeOptions = {}): Plan {
  checkKnown("planDequantize", options, ["dtype", "include", "exclude", "missingScale"]);
  const type = options.dtype ?? "bf16";
  if (!Object.hasOwn(DTYPES, type)) {
    throw new BlockscaleError("option", {
      where: "dtype",
      expected: Object.keys(DTYPES).join(", "),
      got: JSON.stringify(type),
      fix: "Choose one of these.",
    });
  }
  const dtype = DTYPES[type];
  const include = options.include?.map(matcher);
  const exclude = (options.exclude ?? []).map(matcher);
  const { weights, foreign, strays } = resolve(checkpoint, options);
  const isQuantised = weights.some(({ kind }) => kind === "scaled");
  refuseForeign(foreign, quantizationConfig(checkpoint.config), isQuantised);
  refuseUnmatched("include", options.include, weights);
  refuseUnmatched("exclude", options.exclude, weights);
  const decisions = weights.map((weight): Decision => {
    const { name } = weight;
    if (strays.has(name) && weight.kind !== "scaled") return dropped(placesOfWeight(weight)[0], STRAY_REASON);
    if (weight.kind !== "scaled") return copied(weight, "not quantised");
    const isWanted = include?.some((fits) => fits(name)) ?? true;
    if (!isWanted || exclude.some((fits) => fits(name))) {
      return copied(weight, "excluded");
    }
    return converted({ from: weight, into: { kind: "plain", dtype } }, [
      { name, dtype, shape: plainShape(weight) },
    ]);
  });
  return layOut(checkpoint, decisions);
}
