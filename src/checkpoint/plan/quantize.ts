import type { TensorSpec } from "../../safetensors/header.ts";
import { checkKnown } from "../../tensor/checks.ts";
import type { Scheme } from "../../tensor/schemes.ts";
import type { Fp8Format } from "../../tensor/tensor.ts";
import { type Dialect, type DialectName, dialectOf, scaleName } from "../dialects/index.ts";
import { decider, type Override, overrider, refuseUnmatched, type Selection } from "../dialects/rules.ts";
import type { Checkpoint } from "../read/checkpoint.ts";
import { refuseForeign } from "../read/foreign.ts";
import { quantizationConfig, type ResolveOptions, resolve } from "../read/resolve.ts";
import {
  matrixOf,
  type PlainWeight,
  placesOfWeight,
  type ScaledWeight,
  scaleShape,
} from "../read/weights.ts";
import { converted, copied, type Decision, dropped, layOut, type Plan, STRAY_REASON } from "./plan.ts";

/** What `quantize` is to do. */
export interface QuantizeOptions extends Selection, ResolveOptions {
  /** The dialect to write; `deepseek-v3.1` if left out. */
  readonly to?: DialectName;
  /** Changes of the scheme for some weights; the first pattern that fits a name counts. */
  readonly overrides?: readonly Override[];
}

const CODE_DTYPES = { e4m3: "F8_E4M3", e5m2: "F8_E5M2" } as const;

/**
 * Plans the quantisation of a checkpoint, plain or already quantised: decides what becomes FP8 of the dialect, and
 * where every byte of the output goes. Pure: reads nothing but the headers it is given.
 * @throws BlockscaleError `option`, `dialect`, `format` or `shape`
 */
export function planQuantize(checkpoint: Checkpoint, options: QuantizeOptions = {}): Plan {
  checkKnown("planQuantize", options, ["to", "include", "exclude", "overrides", "missingScale"]);
  const dialect = dialectOf(options.to ?? "deepseek-v3.1");
  const { weights, foreign, strays } = resolve(checkpoint, options);
  refuseForeign(foreign, quantizationConfig(checkpoint.config));
  const decide = decider(
    options,
    weights.some(({ kind }) => kind === "scaled"),
    checkpoint.config,
  );
  const override = overrider(options.overrides ?? []);
  refuseUnmatched("include", options.include, weights);
  refuseUnmatched("exclude", options.exclude, weights);
  refuseUnmatched(
    "overrides",
    options.overrides?.map(({ pattern }) => pattern),
    weights,
  );
  const decisions = weights.map((weight): Decision => {
    const { name } = weight;
    if (strays.has(name) && weight.kind !== "scaled") return dropped(placesOfWeight(weight)[0], STRAY_REASON);
    if (weight.kind === "other") return copied(weight, "not of a type to quantise");
    const scheme = override(name, dialect.scheme);
    if (scheme === "keep") return copied(weight, "kept by an override");
    const obstacle = obstacleTo(weight, scheme);
    if (obstacle !== null) return copied(weight, obstacle);
    const verdict = decide(weight);
    return verdict.quantize ? quantize(weight, scheme, dialect) : copied(weight, verdict.reason);
  });
  return layOut(checkpoint, decisions);
}

/** Why a weight cannot be stored in the scheme at all; `null` if it can. */
function obstacleTo(weight: PlainWeight | ScaledWeight, scheme: Scheme): string | null {
  if (weight.kind === "scaled" && weight.transposed)
    return "MXFP4 experts of gpt-oss: no FP8 dialect stores them";
  const { cols } = matrixOf(weight.shape);
  // Kernels for one-row blocks want whole blocks; square ones are known to come ragged.
  if (scheme.block[0] === 1 && cols % scheme.block[1] !== 0)
    return `columns are no multiple of ${scheme.block[1]}`;
  return null;
}

function quantize(weight: PlainWeight | ScaledWeight, scheme: Scheme, dialect: Dialect): Decision {
  const { name, shape } = weight;
  const codes: TensorSpec = { name, dtype: CODE_DTYPES[scheme.format as Fp8Format], shape };
  const scales: TensorSpec = {
    name: scaleName(dialect, name),
    dtype: dialect.scaleDtype,
    shape: scaleShape(shape, scheme.block),
  };
  const into = { kind: "scaled", scheme, scaleDtype: dialect.scaleDtype } as const;
  return converted({ from: weight, into }, [codes, scales]);
}
