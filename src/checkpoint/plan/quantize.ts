import { checkKnown } from "../../tensor/options.ts";
import type { Scheme } from "../../tensor/schemes.ts";
import { bytesOfCodes, isSubByte } from "../../tensor/sub-byte.ts";
import {
  type Dialect,
  type DialectName,
  dialectOf,
  partName,
  type WeightStorage,
} from "../dialects/index.ts";
import { compileOverrides, type Override } from "../dialects/overrides.ts";
import {
  checkSelection,
  compileSelection,
  refuseUnmatched,
  refuseUnmatchedSelection,
  SELECTION,
  type Selection,
} from "../dialects/rules.ts";
import { type Checkpoint, checkCheckpoint } from "../read/checkpoint.ts";
import { refuseForeign } from "../read/foreign.ts";
import { quantizationOf } from "../read/quantization.ts";
import { type ResolveOptions, resolve } from "../read/resolve.ts";
import {
  matrixOf,
  type PlainWeight,
  type ScaledWeight,
  scaleShape,
  transposedShape,
  type Weight,
} from "../read/weights.ts";
import { type ConversionRule, converted, copied, type Decision, dropped, EXTRA_REASON } from "./decisions.ts";
import { layOut } from "./layout.ts";
import { ALREADY_REASON, type Plan } from "./plan.ts";

/** What `quantize` is to do. */
export interface QuantizeOptions extends Selection, ResolveOptions {
  /** The dialect to write; `deepseek-v3.1` if left out. */
  readonly to?: DialectName;
  /** Exceptions for some weights: see {@link Override}; the first pattern that fits a name counts. */
  readonly overrides?: readonly Override[];
}

/**
 * Plans the quantisation of a checkpoint, plain or already quantised: decides what becomes codes of
 * the dialect, and where every byte of the output goes. Pure: reads nothing but the headers it is given.
 * @throws BlockscaleError `option`, `dialect`, `format` or `shape`
 */
export function planQuantize(checkpoint: Checkpoint, options: QuantizeOptions = {}): Plan {
  checkKnown("planQuantize", options, ["to", ...SELECTION, "overrides", "missingScale"]);
  checkCheckpoint("planQuantize", checkpoint);
  checkSelection("planQuantize", options);
  return planInto(dialectOf(options.to ?? "deepseek-v3.1"), checkpoint, options);
}

/** As {@link planQuantize}, for a dialect that may have no name. */
export function planInto(
  dialect: Dialect,
  checkpoint: Checkpoint,
  options: Omit<QuantizeOptions, "to">,
): Plan {
  const { weights, foreign, quantizationExtras } = resolve(checkpoint, options);
  const isQuantised = weights.some(({ kind }) => kind === "scaled");
  refuseForeign(foreign, quantizationOf(checkpoint), isQuantised);
  const decide = compileSelection(options, isQuantised, checkpoint.config);
  const override = compileOverrides(options.overrides ?? [], dialect);
  refuseUnmatchedSelection(options, weights);
  refuseUnmatched(
    "overrides",
    options.overrides?.map(({ pattern }) => pattern),
    weights,
  );
  const ruleOf = conversionRules(weights);
  const decisions = weights.map((weight): Decision => {
    const { name } = weight;
    if (quantizationExtras.has(name) && weight.kind !== "scaled") return dropped(weight, EXTRA_REASON);
    if (weight.kind === "other") return copied(weight, "not of a type to quantise");
    const usual = dialect.storageOf?.(weight, checkpoint.config) ?? dialect.storage;
    if (typeof usual === "string") return copied(weight, usual);
    const storage = override(name, usual);
    if (storage === "keep") return copied(weight, "kept by an override");
    const asStored = storage.transposesStacks ? transposedStack(weight) : weight;
    const obstacle = obstacleTo(asStored, storage);
    if (obstacle !== null) return copied(weight, obstacle);
    const stack = storage.transposesStacks ?? dialect.readsStack?.(weight, checkpoint.config);
    const verdict = decide(weight, stack);
    if (!verdict.quantize) return copied(weight, verdict.reason);
    const decision = isStoredSo(weight, storage)
      ? copied(weight, ALREADY_REASON)
      : converted(asStored, ruleOf(storage));
    if (storage.format === undefined) return decision;
    return { ...decision, planned: { ...decision.planned, format: storage.format } };
  });
  return layOut(checkpoint, decisions);
}

/** A stack of experts as its codes will lie, [experts, out, in], of plain values [experts, in, out]. */
function transposedStack(weight: PlainWeight | ScaledWeight): PlainWeight | ScaledWeight {
  return weight.kind === "scaled"
    ? weight
    : { ...weight, shape: transposedShape(weight.shape), transposed: true };
}

/** Whether NVFP4 has the float32 of its tensor the way the dialect means it: nothing is to be done. */
function isStoredSo(weight: PlainWeight | ScaledWeight, { tensorScale }: WeightStorage): boolean {
  return (
    weight.kind === "scaled" &&
    weight.tensorScale !== undefined &&
    weight.tensorScale.divides === tensorScale?.divides
  );
}

/** Why a weight cannot be stored in the scheme at all; `null` if it can. */
function obstacleTo(
  weight: PlainWeight | ScaledWeight,
  { scheme: { block, format }, transposesStacks, tensorScale }: WeightStorage,
): string | null {
  if (tensorScale !== undefined && weight.shape.length > 2)
    return "a stack of experts: loaders read one float32 scale for each expert, not one for all";
  if (weight.kind === "scaled" && weight.transposed !== (transposesStacks === true))
    return weight.transposed
      ? "MXFP4 experts of gpt-oss: no other dialect stores them"
      : "codes are stored transposed, which this dialect does not do";
  const { cols } = matrixOf(weight.shape);
  // Kernels for one-row blocks want whole blocks; square ones are known to come ragged.
  if (block[0] === 1 && cols % block[1] !== 0) return `columns are no multiple of ${block[1]}`;
  return isSubByte(format) && cols === 0 ? "empty" : null;
}

/** Layers that loaders put together in one matrix, with one float32 for all of it. */
const FUSED = [
  ["q_proj", "k_proj", "v_proj"],
  ["gate_proj", "up_proj"],
  ["w1", "w3"],
];

/** The parts of each fused matrix that are in a checkpoint, by the name of each. */
export function fusedWeights(
  weights: readonly Weight[],
): ReadonlyMap<string, readonly (PlainWeight | ScaledWeight)[]> {
  const byName = new Map(weights.map((weight) => [weight.name, weight]));
  const groups = new Map<string, readonly (PlainWeight | ScaledWeight)[]>();
  for (const parts of FUSED) {
    for (const { name } of weights) {
      if (!name.endsWith(`.${parts[0]}.weight`)) continue;
      const module = name.slice(0, -`${parts[0]}.weight`.length);
      const found = parts.flatMap((part) => {
        const weight = byName.get(`${module}${part}.weight`);
        return weight === undefined || weight.kind === "other" ? [] : [weight];
      });
      for (const weight of found) groups.set(weight.name, found);
    }
  }
  return groups;
}

/**
 * How weights are stored, by storage: one record for all that are stored alike.
 * @param weights all of the checkpoint: some share the float32 of NVFP4
 */
function conversionRules(weights: readonly Weight[]): (storage: WeightStorage) => ConversionRule {
  const found = new Map<WeightStorage, ConversionRule>();
  let fused: ReturnType<typeof fusedWeights> | undefined;
  return (storage) => {
    const rule =
      found.get(storage) ??
      ruleFor(storage, (weight) => {
        fused ??= fusedWeights(weights);
        return fused.get(weight.name) ?? [weight];
      });
    found.set(storage, rule);
    return rule;
  };
}

/** @param fusedWith the weights that share the float32 of NVFP4 with one, itself included */
function ruleFor(
  { scheme, codes, scales, tensorScale, transposesStacks }: WeightStorage,
  fusedWith: (weight: PlainWeight | ScaledWeight) => readonly (PlainWeight | ScaledWeight)[],
): ConversionRule {
  const into = { kind: "scaled", scheme, scaleDtype: scales.dtype } as const;
  const inBlocks = transposesStacks === true;
  const tensorsOf: ConversionRule["tensorsOf"] = ({ name, shape }) => [
    { name: partName(name, codes), dtype: codes.dtype, shape: codeShape(shape, scheme, inBlocks) },
    { name: partName(name, scales), dtype: scales.dtype, shape: scaleShape(shape, scheme.block) },
  ];
  if (tensorScale === undefined) return { into: () => into, tensorsOf };
  const { divides } = tensorScale;
  return {
    into: (weight) => ({ ...into, tensorScale: { divides, fusedWith: fusedWith(weight) } }),
    tensorsOf: (weight) => [
      ...tensorsOf(weight),
      { name: partName(weight.name, tensorScale), dtype: "F32", shape: divides ? [1] : [] },
    ],
  };
}

/**
 * Shape of the codes: a byte for each, or as many as packed ones take. @param inBlocks with the bytes of each
 * block in a dimension of their own
 */
function codeShape(
  shape: readonly number[],
  { format, block }: Scheme,
  inBlocks: boolean,
): readonly number[] {
  if (!isSubByte(format)) return shape;
  const cols = shape.at(-1)!;
  const last = inBlocks ? [cols / block[1], bytesOfCodes(format, block[1])] : [bytesOfCodes(format, cols)];
  return shape.slice(0, -1).concat(last);
}
