import { Functions } from "../../lanes/functions";
import { softmax } from "./vectors";

/** How scores come from logits; ids of src/model/kernels.ts. */
const SOFTMAX = 0;
const SIGMOID = 1;
const SOFTMAX_OF_CHOSEN = 2;

/**
 * Chooses experts: indices[tokens, chosen] (int32) and weights[tokens, chosen] (float32) of
 * logits[tokens, experts], the best first; of equal ones the first.
 *
 * kind 0: the softmax over all; 1: the sigmoid; 2: the softmax over the chosen ones. `bias[experts]`, unless
 * 0, is added to the scores for the choice alone. If `groups` is above 1, experts of all but the
 * `chosenGroups` groups whose two best scores have the largest sum are out (DeepSeek-V3). `isNormalized`: the
 * weights of a token are divided by their sum. All are multiplied by `factor`. work: 8 * experts + 4 * groups
 * bytes.
 */
export function route(
  kind: i32,
  indices: usize,
  weights: usize,
  logits: usize,
  tokens: usize,
  experts: usize,
  chosen: usize,
  bias: usize,
  groups: usize,
  chosenGroups: usize,
  isNormalized: i32,
  factor: f32,
  work: usize,
): void {
  const scores = work;
  const choice = work + 4 * experts;
  const sums = choice + 4 * experts;
  for (; tokens; tokens--) {
    if (kind == SOFTMAX) softmax(scores, logits, experts, 1);
    else
      for (let e: usize = 0; e < experts; e++) {
        const x = load<f32>(logits + 4 * e);
        store<f32>(
          scores + 4 * e,
          kind == SIGMOID ? Functions.lane(Functions.sigmoid(f32x4.splat(x)), 0) : x,
        );
      }
    for (let e: usize = 0; e < experts; e++)
      store<f32>(choice + 4 * e, load<f32>(scores + 4 * e) + (bias ? load<f32>(bias + 4 * e) : 0));
    if (groups > 1) dropGroups(choice, experts, groups, chosenGroups, sums);
    let total: f32 = 0;
    for (let i: usize = 0; i < chosen; i++) {
      const best = takeBest(choice, experts);
      store<i32>(indices + 4 * i, <i32>best);
      const weight = load<f32>(scores + 4 * best);
      store<f32>(weights + 4 * i, weight);
      total += weight;
    }
    if (kind == SOFTMAX_OF_CHOSEN) softmax(weights, weights, chosen, 1);
    const scale = isNormalized ? factor / (total + <f32>1e-20) : factor;
    for (let i: usize = 0; i < chosen; i++) store<f32>(weights + 4 * i, load<f32>(weights + 4 * i) * scale);
    logits += 4 * experts;
    indices += 4 * chosen;
    weights += 4 * chosen;
  }
}

/** The index of the largest of n, which is then out: -Infinity. NaN is taken for the smallest. */
function takeBest(values: usize, n: usize): usize {
  let best: usize = 0;
  let most: f32 = -Infinity;
  for (let i: usize = 0; i < n; i++) {
    const value = load<f32>(values + 4 * i);
    if (value > most) {
      most = value;
      best = i;
    }
  }
  store<f32>(values + 4 * best, -Infinity);
  return best;
}

/** Sets the scores of experts in all groups but the best ones to 0, as the reference does. */
function dropGroups(choice: usize, experts: usize, groups: usize, kept: usize, sums: usize): void {
  const size = experts / groups;
  for (let g: usize = 0; g < groups; g++) {
    let first: f32 = -Infinity;
    let second: f32 = -Infinity;
    for (let e = g * size; e < (g + 1) * size; e++) {
      const score = load<f32>(choice + 4 * e);
      if (score > first) {
        second = first;
        first = score;
      } else if (score > second) second = score;
    }
    store<f32>(sums + 4 * g, first + second);
  }
  for (let i: usize = 0; i < kept; i++) takeBest(sums, groups);
  for (let g: usize = 0; g < groups; g++) {
    if (load<f32>(sums + 4 * g) != -Infinity) memory.fill(choice + 4 * g * size, 0, 4 * size);
  }
}
