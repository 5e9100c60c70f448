import {
  attention,
  embedded,
  gated,
  linear,
  plus,
  rmsNorm,
  rotated,
  type Vector,
  type Weights,
} from "./decoder.ts";

/**
 * Gemma 3 (text) as its definition reads, in float64 and without a cache: scaled embeddings, norms of 1 + w
 * before and after attention and feed-forward, norms of q and k, a window in all layers but each `pattern`-th
 * one, whose positions have another base, and GELU by tanh.
 */
export interface Gemma3Sizes {
  readonly hidden: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly headDim: number;
  readonly layers: number;
  readonly pattern: number;
  readonly window: number;
  /** Base of the layers that see all, and what their positions are divided by. */
  readonly theta: number;
  readonly factor: number;
  readonly localTheta: number;
  readonly epsilon: number;
  readonly queryScalar: number;
  readonly embeddingScale: number;
}

/** Logits of each token; the head is the embedding table. */
export function gemma3Logits(weights: Weights, sizes: Gemma3Sizes, ids: readonly number[]): number[][] {
  const { headDim } = sizes;
  const norm = (x: Vector, name: string) => rmsNorm(weights, name, x, sizes.epsilon, 1);
  const geluTanh = (x: number) =>
    0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
  let xs = embedded(weights, ids, sizes.embeddingScale);
  for (let i = 0; i < sizes.layers; i++) {
    const at = `model.layers.${i}`;
    const isLocal = (i + 1) % sizes.pattern !== 0;
    const base = isLocal ? sizes.localTheta : sizes.theta;
    const factor = isLocal ? 1 : sizes.factor;
    const prepare = (head: Vector, which: "q" | "k", position: number) =>
      rotated(
        norm(head, `${at}.self_attn.${which}_norm`),
        headDim,
        (pair) => (position * base ** ((-2 * pair) / headDim)) / factor,
      );
    const attended = attention(
      weights,
      `${at}.self_attn`,
      xs.map((x) => norm(x, `${at}.input_layernorm`)),
      sizes,
      prepare,
      1 / Math.sqrt(sizes.queryScalar),
      (t) => (isLocal ? Math.max(0, t + 1 - sizes.window) : 0),
    );
    xs = plus(
      xs,
      attended.map((y) => norm(y, `${at}.post_attention_layernorm`)),
    );
    const inner = xs.map((x) =>
      gated(weights, `${at}.mlp`, norm(x, `${at}.pre_feedforward_layernorm`), geluTanh),
    );
    xs = plus(
      xs,
      inner.map((y) => norm(y, `${at}.post_feedforward_layernorm`)),
    );
  }
  return xs.map((x) => linear(weights, "model.embed_tokens", norm(x, "model.norm")));
}
