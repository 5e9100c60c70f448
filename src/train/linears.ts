import type { DecoderConfig, HeadAttention } from "../model/config.ts";

/**
 * The linear layers of a decoder layer, y[tokens, n] = x[tokens, k] w[n, k]^T, with the names of their
 * weights in checkpoints.
 */
export const LINEARS = {
  q: "self_attn.q_proj",
  k: "self_attn.k_proj",
  v: "self_attn.v_proj",
  o: "self_attn.o_proj",
  gate: "mlp.gate_proj",
  up: "mlp.up_proj",
  down: "mlp.down_proj",
} as const;
export type LinearName = keyof typeof LINEARS;

/** Columns of the tensors of a layer, a token a row. All layers are alike. */
export interface LayerSizes {
  readonly hidden: number;
  readonly inner: number;
  /** All query heads together; `keys`: all key-value heads. */
  readonly queries: number;
  readonly keys: number;
}

export function headAttentionOf(config: DecoderConfig): HeadAttention {
  return config.layers[0]!.attention as HeadAttention;
}

export function sizesOf(config: DecoderConfig): LayerSizes {
  const { heads, keyHeads, headDim } = headAttentionOf(config);
  const { hidden, layers } = config;
  return { hidden, inner: layers[0]!.mlp.size, queries: heads * headDim, keys: keyHeads * headDim };
}
