import type { Config, StoredTensor } from "./checkpoint.ts";
import { rowsOfFusedParts } from "./fused-scales.ts";
import { isScalar, oneForAll, scaleGridOf } from "./grids.ts";
import type { Block } from "./makers/index.ts";
import { candidateScales, isStrayName, SCALE_TYPES, scaleNames, wrappedWeight } from "./names.ts";
import { configsOf } from "./quantization.ts";
import { fitsNoBlock, parentOf, possibleScaleName, refuseSeveralScales, withoutScales } from "./refusals.ts";
import type { ElementType, ScaledWeight } from "./weights.ts";

const ELEMENT_OF_DTYPE: Readonly<Partial<Record<StoredTensor["dtype"], ElementType>>> = {
  F8_E4M3: "e4m3",
  F8_E5M2: "e5m2",
  F8_E4M3FNUZ: "e4m3fnuz",
  F8_E5M2FNUZ: "e5m2fnuz",
};

/** What reading a tensor of codes needs to know of its checkpoint. */
export interface CheckpointContext {
  readonly byName: ReadonlyMap<string, StoredTensor>;
  readonly config: Config | null;
  /** Tensors by their parent modules; made when it is asked for. */
  readonly byParent: () => ReadonlyMap<string, readonly StoredTensor[]>;
  /** The blocks that config.json names. */
  readonly configuredBlocks: readonly Block[];
  /** Whether codes without a scale are to be taken as they are. */
  readonly missingScaleIsOne: boolean;
}

/**
 * FP8 codes with the scales that lie beside them; `null` for tensors that hold none.
 * @throws BlockscaleError `dialect`: no scales, several, or some that fit no block
 */
export function fp8Weight(codes: StoredTensor, context: CheckpointContext): ScaledWeight | null {
  const { byName, byParent, config, configuredBlocks, missingScaleIsOne } = context;
  const element = ELEMENT_OF_DTYPE[codes.dtype];
  if (element === undefined || isStrayName(codes.name)) return null;
  const { shape } = codes;
  const wrapped = wrappedWeight(codes.name);
  const name = wrapped?.weight ?? codes.name;
  const base = { kind: "scaled", name, shape, element, codes, transposed: false } as const;
  const candidates = candidateScales(wrapped === null ? scaleNames(name) : [wrapped.scales], byName);
  const fitting = candidates.flatMap((scales) => {
    const grid = scaleGridOf(shape, scales, configuredBlocks) ?? fusedGrid(name, shape, scales, config);
    return grid === null ? [] : [{ scales, scaleType: SCALE_TYPES[scales.dtype]!, ...grid }];
  });
  refuseSeveralScales(
    name,
    fitting.map(({ scales }) => scales),
  );
  if (fitting[0] !== undefined) return { ...base, ...fitting[0] };
  if (candidates[0] !== undefined) throw fitsNoBlock(codes, candidates[0], configuredBlocks);
  const grid = oneForAll(shape);
  const shared = sharedScale(name, byName);
  if (shared !== undefined)
    return { ...base, scales: shared, scaleType: SCALE_TYPES[shared.dtype]!, ...grid };
  const beside = possibleScaleName({ ...codes, name }, byParent(), configuredBlocks);
  if (missingScaleIsOne && beside === undefined)
    return { ...base, scales: null, scaleType: "ue8m0", block: grid.block };
  throw withoutScales(codes, beside);
}

/** The scales of a fused matrix that has one for each of its parts. */
function fusedGrid(
  name: string,
  shape: readonly number[],
  scales: StoredTensor,
  config: Config | null,
): Pick<ScaledWeight, "block" | "blocksPerScale"> | null {
  const [rows, cols] = shape as [number, number];
  const count = scales.shape[0] ?? 0;
  if (shape.length !== 2 || scales.shape.slice(1).some((size) => size !== 1)) return null;
  const blocksPerScale = rowsOfFusedParts(name, rows, count, configsOf(config));
  return blocksPerScale === null ? null : { block: [1, Math.max(1, cols)], blocksPerScale };
}

/**
 * One number at a parent, for all weights right below it: `X.weight_scale` of `X.q_proj.weight` and
 * `X.k_proj.weight`. The parent must have no weight of its own, and the name must say that it is of weights:
 * a `scale` alone may be anything that a model multiplies with.
 */
function sharedScale(weight: string, byName: ReadonlyMap<string, StoredTensor>): StoredTensor | undefined {
  const parent = `${parentOf(parentOf(weight))}.weight`;
  if (!weight.endsWith(".weight") || parent === ".weight" || byName.has(parent)) return undefined;
  const found = candidateScales(
    scaleNames(parent).filter((name) => !name.endsWith(".scale")),
    byName,
  ).filter((tensor) => isScalar(tensor) && SCALE_TYPES[tensor.dtype] !== "ue8m0");
  refuseSeveralScales(weight, found);
  return found[0];
}
