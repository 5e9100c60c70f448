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

/** Logits of each token. */
export function glm4Logits(weights: Weights, sizes: Glm4Sizes, ids: readonly number[]): number[][] {
  const { rotated: count, theta, headDim } = sizes;
  const norm = (x: Vector, name: string) => rmsNorm(weights, name, x, sizes.epsilon);
  const silu = (x: number) => x / (1 + Math.exp(-x));
  const dense = (x: Vector, name: string) => gated(weights, name, x, silu);
  const mixture = (x: Vector, name: string): number[] => {
    const scores = linear(weights, `${name}.gate`, x).map((v) => 1 / (1 + Math.exp(-v)));
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
        const y = dense(x, `${name}.experts.${e}`);
        return sum.map((v, i) => v + sizes.factor * (scores[e]! / total) * y[i]!);
      },
      dense(x, `${name}.shared_experts`),
    );
  };
  let xs = embedded(weights, ids);
  for (let i = 0; i < sizes.layers; i++) {
    const at = `model.layers.${i}`;
    // The numbers of a head behind the first `count` have no position.
    const prepare = (head: Vector, which: "q" | "k", position: number) =>
      rotated(
        norm(head, `${at}.self_attn.${which}_norm`),
        count,
        (pair) => position * theta ** ((-2 * pair) / count),
      );
    const normed = xs.map((x) => norm(x, `${at}.input_layernorm`));
    const scale = 1 / Math.sqrt(headDim);
    xs = plus(xs, attention(weights, `${at}.self_attn`, normed, sizes, prepare, scale));
    const block = i < sizes.dense ? dense : mixture;
    xs = plus(
      xs,
      xs.map((x) => block(norm(x, `${at}.post_attention_layernorm`), `${at}.mlp`)),
    );
  }
  return xs.map((x) => linear(weights, "lm_head", norm(x, "model.norm")));
}
