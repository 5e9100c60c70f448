import { byteLength, type Dtype } from "../safetensors/dtype.ts";
import type { TensorSpec } from "../safetensors/header.ts";
import type { Checkpoint, Place } from "./checkpoint.ts";
import { type Dialect, type DialectName, dialectOf, scaleName } from "./dialects.ts";
import { type Decision, layOut, type Plan } from "./plan.ts";
import { type ResolveOptions, resolveWeights } from "./resolve.ts";
import { decider, type Selection } from "./rules.ts";
import { type PlainWeight, scaleShape } from "./weights.ts";

/** What `quantize` is to do. */
export interface QuantizeOptions extends Selection, ResolveOptions {
  /** The dialect to write; `deepseek-v3.1` if left out. */
  readonly to?: DialectName;
}

const CODE_DTYPES = { e4m3: "F8_E4M3", e5m2: "F8_E5M2" } as const;

/**
 * Plans the quantisation of a checkpoint: decides what becomes FP8, and where every byte of the output goes.
 * Pure: reads nothing but the headers it is given.
 * @throws BlockscaleError `option`, `dialect` or `format`
 */
export function planQuantize(checkpoint: Checkpoint, options: QuantizeOptions = {}): Plan {
  const dialect = dialectOf(options.to ?? "deepseek-v3.1");
  const decide = decider(options);
  const decisions = resolveWeights(checkpoint, options).map((weight): Decision => {
    const { name } = weight;
    if (weight.kind === "other") return copy(name, [weight.tensor], "not of a type to quantise");
    if (weight.kind === "scaled") {
      const { codes, scales } = weight;
      return copy(name, scales === null ? [codes] : [codes, scales], "already quantised");
    }
    const verdict = decide(name, weight.shape);
    return verdict.quantize ? quantize(weight, dialect) : copy(name, [weight.values], verdict.reason);
  });
  return layOut(checkpoint, decisions);
}

/** Keeps a weight byte for byte, with its scales if it has any. */
function copy(name: string, places: readonly Place[], reason: string): Decision {
  const { dtype, shape, shard } = places[0]!;
  const stored = { dtype, bytes: places.reduce((n, { start, end }) => n + end - start, 0) };
  return {
    planned: { name, shard, action: "copy", reason, shape, before: stored, after: stored },
    steps: places.map((from) => ({
      kind: "copy",
      tensors: [{ name: from.name, dtype: from.dtype, shape: from.shape }],
      from,
    })),
  };
}

function quantize(weight: PlainWeight, dialect: Dialect): Decision {
  const { name, shape, values } = weight;
  const { scheme, scaleDtype } = dialect;
  const codes: TensorSpec = { name, dtype: CODE_DTYPES[scheme.format] satisfies Dtype, shape };
  const scales: TensorSpec = {
    name: scaleName(dialect, name),
    dtype: scaleDtype,
    shape: scaleShape(shape, scheme.block),
  };
  const bytes = byteLength(codes.dtype, codes.shape)! + byteLength(scales.dtype, scales.shape)!;
  return {
    planned: {
      name,
      shard: values.shard,
      action: "quantize",
      reason: null,
      shape,
      before: { dtype: values.dtype, bytes: values.end - values.start },
      after: { dtype: codes.dtype, bytes },
    },
    steps: [
      {
        kind: "convert",
        tensors: [codes, scales],
        conversion: { from: weight, into: { kind: "scaled", scheme, scaleDtype } },
        emit: "both",
      },
    ],
  };
}
