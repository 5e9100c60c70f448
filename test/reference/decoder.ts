// The parts that definitions of decoders have in common, in float64 and without a cache.

/** The vector of one token. */
export type Vector = readonly number[];
export type Weights = ReadonlyMap<
  string,
  { readonly shape: readonly number[]; readonly values: Float32Array }
>;

/** x W^T, and the bias where there is one. */
export function linear(weights: Weights, name: string, x: Vector): number[] {
  const { shape, values } = weights.get(`${name}.weight`)!;
  const bias = weights.get(`${name}.bias`)?.values;
  const [n, k] = shape as [number, number];
  return Array.from({ length: n }, (_, row) => {
    let sum = bias?.[row] ?? 0;
    for (let i = 0; i < k; i++) sum += x[i]! * values[row * k + i]!;
    return sum;
  });
}

/** x over the root of its mean square, times the weights plus `offset`. */
export function rmsNorm(weights: Weights, name: string, x: Vector, epsilon: number, offset = 0): number[] {
  const { values } = weights.get(`${name}.weight`)!;
  const mean = x.reduce((sum, v) => sum + v * v, 0) / x.length;
  return x.map((v, i) => (v / Math.sqrt(mean + epsilon)) * (offset + values[i]!));
}

/** The gated feed-forward layer: down(activation(gate(x)) * up(x)). */
export function gated(
  weights: Weights,
  name: string,
  x: Vector,
  activation: (x: number) => number,
): number[] {
  const up = linear(weights, `${name}.up_proj`, x);
  const inner = linear(weights, `${name}.gate_proj`, x).map((g, i) => activation(g) * up[i]!);
  return linear(weights, `${name}.down_proj`, inner);
}

/** Rotates the pairs i and i + count / 2 of the first `count` numbers, each by its angle. */
export function rotated(x: Vector, count: number, angleOf: (pair: number) => number): number[] {
  const half = count / 2;
  const out = [...x];
  for (let i = 0; i < half; i++) {
    const [cos, sin] = [Math.cos(angleOf(i)), Math.sin(angleOf(i))];
    out[i] = x[i]! * cos - x[i + half]! * sin;
    out[i + half] = x[i + half]! * cos + x[i]! * sin;
  }
  return out;
}

export interface AttentionSizes {
  readonly heads: number;
  readonly keyHeads: number;
  readonly headDim: number;
}

/**
 * Causal attention of grouped queries, with its projections.
 * @param xs vectors of all tokens
 * @param prepare norm and position of one head of q or k
 * @param scale what q . k is multiplied by
 * @param firstOf the first token that token t sees
 */
export function attention(
  weights: Weights,
  name: string,
  xs: readonly Vector[],
  { heads, keyHeads, headDim }: AttentionSizes,
  prepare: (head: Vector, which: "q" | "k", position: number) => number[],
  scale: number,
  firstOf: (t: number) => number = () => 0,
): number[][] {
  const headsOf = (x: Vector, which: string, count: number): number[][] => {
    const y = linear(weights, `${name}.${which}_proj`, x);
    return Array.from({ length: count }, (_, h) => y.slice(h * headDim, (h + 1) * headDim));
  };
  const keys = xs.map((x, t) => headsOf(x, "k", keyHeads).map((head) => prepare(head, "k", t)));
  const values = xs.map((x) => headsOf(x, "v", keyHeads));
  return xs.map((x, t) => {
    const first = firstOf(t);
    const mixed = headsOf(x, "q", heads).flatMap((head, h) => {
      const q = prepare(head, "q", t);
      const group = Math.floor(h / (heads / keyHeads));
      const scores = keys
        .slice(first, t + 1)
        .map((k) => Math.exp(scale * q.reduce((sum, v, i) => sum + v * k[group]![i]!, 0)));
      const total = scores.reduce((a, b) => a + b, 0);
      return q.map((_, i) =>
        scores.reduce((sum, s, u) => sum + (s / total) * values[first + u]![group]![i]!, 0),
      );
    });
    return linear(weights, `${name}.o_proj`, mixed);
  });
}

/** The rows of the embedding table of these tokens. */
export function embedded(weights: Weights, ids: readonly number[], scale = 1): number[][] {
  const { shape, values } = weights.get("model.embed_tokens.weight")!;
  const width = shape[1]!;
  return ids.map((id) => Array.from(values.subarray(id * width, (id + 1) * width), (v) => v * scale));
}

/** The sums of the vectors of each token. */
export function plus(a: readonly Vector[], b: readonly Vector[]): number[][] {
  return a.map((x, t) => x.map((v, i) => v + b[t]![i]!));
}
