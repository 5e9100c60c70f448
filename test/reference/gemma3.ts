/**
 * Gemma 3 (text) as its definition reads, in float64 and without a cache: scaled embeddings, norms of 1 + w
 * before and after attention and feed-forward, norms of q and k, a window in all layers but each `pattern`-th
 * one, which turn by another base, and GELU by tanh.
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

type Weights = ReadonlyMap<string, { readonly shape: readonly number[]; readonly values: Float32Array }>;
type Vector = readonly number[];

/** Logits of each token; the head is the embedding table. */
export function gemma3Logits(weights: Weights, sizes: Gemma3Sizes, ids: readonly number[]): number[][] {
  const { hidden, heads, keyHeads, headDim } = sizes;
  const matrix = (x: Vector, name: string): number[] => {
    const { shape, values } = weights.get(name)!;
    const [n, k] = shape as [number, number];
    return Array.from({ length: n }, (_, row) => x.reduce((sum, v, i) => sum + v * values[row * k + i]!, 0));
  };
  const linear = (x: Vector, name: string) => matrix(x, `${name}.weight`);
  const norm = (x: Vector, name: string): number[] => {
    const { values } = weights.get(`${name}.weight`)!;
    const mean = x.reduce((sum, v) => sum + v * v, 0) / x.length;
    return x.map((v, i) => (v / Math.sqrt(mean + sizes.epsilon)) * (1 + values[i]!));
  };
  const gelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
  const gated = (x: Vector, name: string): number[] => {
    const up = linear(x, `${name}.up_proj`);
    return linear(
      linear(x, `${name}.gate_proj`).map((g, i) => gelu(g) * up[i]!),
      `${name}.down_proj`,
    );
  };
  const turned = (x: Vector, position: number, isLocal: boolean): number[] => {
    const half = headDim / 2;
    const out = [...x];
    for (let i = 0; i < half; i++) {
      const base = isLocal ? sizes.localTheta : sizes.theta;
      const angle = (position * base ** (-i / half)) / (isLocal ? 1 : sizes.factor);
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      out[i] = x[i]! * cos - x[i + half]! * sin;
      out[i + half] = x[i + half]! * cos + x[i]! * sin;
    }
    return out;
  };
  const headsOf = (x: Vector, count: number): number[][] =>
    Array.from({ length: count }, (_, h) => x.slice(h * headDim, (h + 1) * headDim));
  const attention = (xs: readonly Vector[], name: string, isLocal: boolean): number[][] => {
    const make = (x: Vector, which: "q" | "k", count: number, position: number) =>
      headsOf(linear(x, `${name}.${which}_proj`), count).map((head) =>
        turned(norm(head, `${name}.${which}_norm`), position, isLocal),
      );
    const keys = xs.map((x, t) => make(x, "k", keyHeads, t));
    const values = xs.map((x) => headsOf(linear(x, `${name}.v_proj`), keyHeads));
    return xs.map((x, t) => {
      const first = isLocal ? Math.max(0, t + 1 - sizes.window) : 0;
      const mixed = make(x, "q", heads, t).flatMap((q, h) => {
        const group = Math.floor(h / (heads / keyHeads));
        const scores = keys.slice(first, t + 1).map((k) => {
          const product = q.reduce((sum, v, i) => sum + v * k[group]![i]!, 0);
          return Math.exp(product / Math.sqrt(sizes.queryScalar));
        });
        const total = scores.reduce((a, b) => a + b, 0);
        return q.map((_, i) =>
          scores.reduce((sum, s, u) => sum + (s / total) * values[first + u]![group]![i]!, 0),
        );
      });
      return linear(mixed, `${name}.o_proj`);
    });
  };
  const table = weights.get("model.embed_tokens.weight")!.values;
  let xs: number[][] = ids.map((id) =>
    Array.from(table.subarray(id * hidden, (id + 1) * hidden), (v) => v * sizes.embeddingScale),
  );
  const plus = (a: readonly Vector[], b: readonly Vector[]) =>
    a.map((x, t) => x.map((v, i) => v + b[t]![i]!));
  for (let i = 0; i < sizes.layers; i++) {
    const at = `model.layers.${i}`;
    const isLocal = (i + 1) % sizes.pattern !== 0;
    const normed = xs.map((x) => norm(x, `${at}.input_layernorm`));
    const attended = attention(normed, `${at}.self_attn`, isLocal);
    xs = plus(
      xs,
      attended.map((y) => norm(y, `${at}.post_attention_layernorm`)),
    );
    const inner = xs.map((x) => gated(norm(x, `${at}.pre_feedforward_layernorm`), `${at}.mlp`));
    xs = plus(
      xs,
      inner.map((y) => norm(y, `${at}.post_feedforward_layernorm`)),
    );
  }
  return xs.map((x) => matrix(norm(x, "model.norm"), "model.embed_tokens.weight"));
}
