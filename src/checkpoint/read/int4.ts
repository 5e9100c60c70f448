import type { Config, StoredTensor } from "./checkpoint.ts";
import type { ScaledWeight } from "./weights.ts";

/** Number of codes in one int32. */
const CODES_PER_WORD = 8;

/**
 * Integers of 4 bits as compressed-tensors packs them (`pack-quantized`: Kimi-K2-Thinking): eight to an
 * int32, the first in its lowest bits, each plus 8, and a scale for each group of a row. `null` where
 * config.json does not say that this is what the codes are.
 */
export function int4Weight(
  codes: StoredTensor,
  byName: ReadonlyMap<string, StoredTensor>,
  quantization: Config | null,
): ScaledWeight | null {
  if (codes.dtype !== "I32" || !codes.name.endsWith("_packed") || codes.shape.length !== 2) return null;
  const size = groupSize(quantization);
  const name = codes.name.slice(0, -"_packed".length);
  const scales = byName.get(`${name}_scale`);
  if (size === null || scales === undefined) return null;
  const scaleType = ({ BF16: "bf16", F16: "f16", F32: "f32" } as const)[scales.dtype as string];
  if (scaleType === undefined || isAsymmetricOrReordered(name, byName)) return null;
  const [rows, wordsPerRow] = codes.shape as [number, number];
  const cols = wordsPerRow * CODES_PER_WORD;
  const isGrid = scales.shape.length === 2 && scales.shape[0] === rows && scales.shape[1] === cols / size;
  if (!isGrid) return null;
  const shape = byName.get(`${name}_shape`);
  return {
    kind: "scaled",
    name,
    shape: [rows, cols],
    element: "int4",
    codes,
    scales,
    scaleType,
    block: [1, size],
    transposed: false,
    ...(shape === undefined ? {} : { redundant: [shape] }),
  };
}

/** The group size, where all groups are symmetric integers of 4 bits. */
function groupSize(quantization: Config | null): number | null {
  const groups = Object.values((quantization?.config_groups ?? {}) as Readonly<Record<string, Config>>);
  const sizes = groups.map((group) => {
    const weights = (group?.weights ?? {}) as Config;
    const { num_bits: bits, type, symmetric, strategy, group_size: size } = weights;
    const isKnown = bits === 4 && type === "int" && symmetric === true && strategy === "group";
    return isKnown && Number.isSafeInteger(size) && (size as number) > 0 ? (size as number) : null;
  });
  return sizes.length > 0 && sizes.every((size) => size === sizes[0]) ? sizes[0]! : null;
}

/** Zero points, and groups in another order than that of the columns, are not read. */
function isAsymmetricOrReordered(name: string, byName: ReadonlyMap<string, StoredTensor>): boolean {
  return byName.has(`${name}_zero_point`) || byName.has(`${name}_g_idx`);
}
