import { Functions } from "../../lanes/functions";
import { softmax } from "./vectors";

/** How scores come from logits; ids of src/model/kernels.ts. */
const SOFTMAX: u32 = 0;
const SIGMOID: u32 = 1;
const SOFTMAX_OF_CHOSEN: u32 = 2;

/** The arguments of `route`: a RoutingCall of src/model/calls.ts, which says what they mean. */
@unmanaged
export class RoutingCall {
  kind: u32 = 0;
  indices: usize = 0;
  weights: usize = 0;
  logits: usize = 0;
  tokens: usize = 0;
  experts: usize = 0;
  chosen: usize = 0;
  bias: usize = 0;
  groups: usize = 0;
  chosenGroups: usize = 0;
  isNormalized: u32 = 0;
  factor: f32 = 0;
  work: usize = 0;
}

/**
 * Chooses experts: indices and weights [tokens, chosen] of logits [tokens, experts], the best first; of equal
 * ones the first.
 *
 * kind 0: weights are the softmax over all; 1: the sigmoid; 2: the softmax over the chosen ones. If `groups`
 * is above 1, the `chosenGroups` groups whose two best scores have the largest sum keep their scores, and all
 * others count as 0 in the choice (DeepSeek-V3).
 */
export function route(call: RoutingCall): void {
  const experts = call.experts;
  const chosen = call.chosen;
  let indices = call.indices;
  let weights = call.weights;
  let logits = call.logits;
  for (let token: usize = 0; token < call.tokens; token++) {
    routeToken(call, indices, weights, logits);
    logits += 4 * experts;
    indices += 4 * chosen;
    weights += 4 * chosen;
  }
}

/** Chooses the experts of one token. */
function routeToken(call: RoutingCall, indices: usize, weights: usize, logits: usize): void {
  const kind = call.kind;
  const experts = call.experts;
  const chosen = call.chosen;
  const bias = call.bias;
  const scores = call.work;
  const choice = scores + 4 * experts;
  const sums = choice + 4 * experts;
  if (kind == SOFTMAX) softmax(scores, logits, experts, 1);
  else
    for (let e: usize = 0; e < experts; e++) {
      const x = load<f32>(logits + 4 * e);
      store<f32>(scores + 4 * e, kind == SIGMOID ? Functions.lane(Functions.sigmoid(f32x4.splat(x)), 0) : x);
    }
  for (let e: usize = 0; e < experts; e++)
    store<f32>(choice + 4 * e, load<f32>(scores + 4 * e) + (bias ? load<f32>(bias + 4 * e) : 0));
  if (call.groups > 1) dropGroups(choice, experts, call.groups, call.chosenGroups, sums);
  let total: f32 = 0;
  for (let i: usize = 0; i < chosen; i++) {
    const best = takeBest(choice, experts);
    store<i32>(indices + 4 * i, <i32>best);
    const weight = load<f32>(scores + 4 * best);
    store<f32>(weights + 4 * i, weight);
    total += weight;
  }
  if (kind == SOFTMAX_OF_CHOSEN) softmax(weights, weights, chosen, 1);
  const scale = call.isNormalized ? call.factor / (total + <f32>1e-20) : call.factor;
  for (let i: usize = 0; i < chosen; i++) store<f32>(weights + 4 * i, load<f32>(weights + 4 * i) * scale);
}

/** The index of the largest of n, which then becomes -Infinity. NaN is taken for the smallest. */
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
