/**
 * GLM-4-MoE (GLM-4.5 and later) as its definition reads, in float64 and without a cache: grouped queries
 * whose first half of each head carries positions, biases on q, k and v, norms of q and k; after some dense
 * layers experts by sigmoid, chosen in groups with a correction.
 */
export interface Glm4Sizes {
  readonly hidden: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly headDim: number;
  readonly rotated: number;
  readonly theta: number;
  readonly epsilon: number;
  readonly layers: number;
  readonly dense: number;
  readonly experts: number;
  readonly chosen: number;
  readonly groups: number;
  readonly chosenGroups: number;
  readonly factor: number;
}

type Weights = ReadonlyMap<string, { readonly shape: readonly number[]; readonly values: Float32Array }>;
type Vector = readonly number[];

/** Logits of each token. */
export function glm4Logits(weights: Weights, sizes: Glm4Sizes, ids: readonly number[]): number[][] {
  const linear = (x: Vector, name: string): number[] => {
    const { shape, values } = weights.get(`${name}.weight`)!;
    const bias = weights.get(`${name}.bias`)?.values;
    const [n, k] = shape as [number, number];
    return Array.from({ length: n }, (_, row) => {
      let sum = bias?.[row] ?? 0;
      for (let i = 0; i < k; i++) sum += x[i]! * values[row * k + i]!;
      return sum;
    });
  };
  const norm = (x: Vector, name: string): number[] => {
    const { values } = weights.get(`${name}.weight`)!;
    const mean = x.reduce((sum, v) => sum + v * v, 0) / x.length;
    return x.map((v, i) => (v / Math.sqrt(mean + sizes.epsilon)) * values[i]!);
  };
  const gated = (x: Vector, name: string): number[] => {
    const up = linear(x, `${name}.up_proj`);
    const inner = linear(x, `${name}.gate_proj`).map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!);
    return linear(inner, `${name}.down_proj`);
  };
  /** Pairs i and i + rotated / 2; the rest of a head has no position. */
  const turned = (x: Vector, position: number): number[] => {
    const half = sizes.rotated / 2;
    const out = [...x];
    for (let i = 0; i < half; i++) {
      const angle = position * sizes.theta ** (-i / half);
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      out[i] = x[i]! * cos - x[i + half]! * sin;
      out[i + half] = x[i + half]! * cos + x[i]! * sin;
    }
    return out;
  };
  const headsOf = (x: Vector, count: number): number[][] =>
    Array.from({ length: count }, (_, h) => x.slice(h * sizes.headDim, (h + 1) * sizes.headDim));
  const attention = (xs: readonly Vector[], name: string): number[][] => {
    const make = (x: Vector, which: "q" | "k", count: number, position: number) =>
      headsOf(linear(x, `${name}.${which}_proj`), count).map((head) =>
        turned(norm(head, `${name}.${which}_norm`), position),
      );
    const keys = xs.map((x, t) => make(x, "k", sizes.keyHeads, t));
    const values = xs.map((x) => headsOf(linear(x, `${name}.v_proj`), sizes.keyHeads));
    return xs.map((x, t) => {
      const mixed = make(x, "q", sizes.heads, t).flatMap((q, h) => {
        const group = Math.floor(h / (sizes.heads / sizes.keyHeads));
        const scores = keys.slice(0, t + 1).map((k) => {
          const product = q.reduce((sum, v, i) => sum + v * k[group]![i]!, 0);
          return Math.exp(product / Math.sqrt(sizes.headDim));
        });
        const total = scores.reduce((a, b) => a + b, 0);
        return q.map((_, i) => scores.reduce((sum, s, u) => sum + (s / total) * values[u]![group]![i]!, 0));
      });
      return linear(mixed, `${name}.o_proj`);
    });
  };
  const mixture = (x: Vector, name: string): number[] => {
    const scores = linear(x, `${name}.gate`).map((v) => 1 / (1 + Math.exp(-v)));
    const corrected = scores.map(
      (s, e) => s + weights.get(`${name}.gate.e_score_correction_bias`)!.values[e]!,
    );
    const size = sizes.experts / sizes.groups;
    const best = (list: readonly number[], count: number): number[] =>
      list
        .map((_, i) => i)
        .sort((a, b) => list[b]! - list[a]!)
        .slice(0, count);
    // A group counts as much as its two best experts together.
    const ofGroups = Array.from({ length: sizes.groups }, (_, g) => {
      const [first, second] = corrected.slice(g * size, (g + 1) * size).sort((a, b) => b - a);
      return first! + second!;
    });
    const groups = best(ofGroups, sizes.chosenGroups);
    const allowed = corrected.map((s, e) => (groups.includes(Math.floor(e / size)) ? s : -Infinity));
    const chosen = best(allowed, sizes.chosen);
    const total = chosen.reduce((sum, e) => sum + scores[e]!, 0);
    return chosen.reduce(
      (sum, e) => {
        const y = gated(x, `${name}.experts.${e}`);
        return sum.map((v, i) => v + sizes.factor * (scores[e]! / total) * y[i]!);
      },
      gated(x, `${name}.shared_experts`),
    );
  };
  const table = weights.get("model.embed_tokens.weight")!.values;
  let xs: number[][] = ids.map((id) => [...table.subarray(id * sizes.hidden, (id + 1) * sizes.hidden)]);
  const plus = (a: readonly Vector[], b: readonly Vector[]) =>
    a.map((x, t) => x.map((v, i) => v + b[t]![i]!));
  for (let i = 0; i < sizes.layers; i++) {
    const at = `model.layers.${i}`;
    const normed = xs.map((x) => norm(x, `${at}.input_layernorm`));
    xs = plus(xs, attention(normed, `${at}.self_attn`));
    const block = i < sizes.dense ? gated : mixture;
    xs = plus(
      xs,
      xs.map((x) => block(norm(x, `${at}.post_attention_layernorm`), `${at}.mlp`)),
    );
  }
  return xs.map((x) => linear(norm(x, "model.norm"), "lm_head"));
}
