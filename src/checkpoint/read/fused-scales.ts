import type { Config } from "./checkpoint.ts";

/**
 * Rows of the parts of a fused matrix that has one scale for each: `gate_up_proj` in halves, `qkv_proj` by
 * the numbers of heads that config.json tells. `null` where that does not come out.
 */
export function rowsOfFusedParts(
  weight: string,
  rows: number,
  count: number,
  configs: readonly Config[],
): number[] | null {
  if (count === 2 && /\.(gate_up_proj|w13|gate_up)\.weight$/.test(weight) && rows % 2 === 0) {
    return [rows / 2, rows / 2];
  }
  if (count !== 3 || !/\.(qkv_proj|qkv|query_key_value|Wqkv)\.weight$/.test(weight)) return null;
  for (const config of configs) {
    const heads = Number(config.num_attention_heads);
    const keyHeads = Number(config.num_key_value_heads ?? heads);
    const size = Number(config.head_dim ?? Number(config.hidden_size) / heads);
    const parts = [heads * size, keyHeads * size, keyHeads * size];
    if (parts.every((n) => Number.isSafeInteger(n) && n > 0) && parts[0]! + 2 * parts[1]! === rows)
      return parts;
  }
  return null;
}

/**
 * The scales of `count` blocks from `first` on, where fewer are stored.
 * @param blocksPerScale how many blocks, one after the other, each stored scale serves
 */
export function spreadStoredScales<S extends Uint8Array | Float32Array>(
  scales: S,
  blocksPerScale: readonly number[],
  first: number,
  count: number,
): S {
  const spread = new (scales.constructor as new (length: number) => S)(count);
  let end = 0;
  for (const [i, blocks] of blocksPerScale.entries()) {
    const [from, to] = [Math.max(end, first), Math.min(end + blocks, first + count)];
    if (to > from) spread.fill(scales[i]!, from - first, to - first);
    end += blocks;
  }
  return spread;
}
